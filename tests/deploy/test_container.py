"""The container image: how it is defined, and that the manifests of Kubernetes run it."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/container/Dockerfile"
TEXT = DOCKERFILE.read_text().replace("\\\n", "")
IGNORED = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text()


def words(instruction: str) -> list[list[str]]:
    """Return the arguments of an instruction, each time that it is used."""
    return [line.split() for line in re.findall(rf"^{instruction} +(.*)$", TEXT, re.MULTILINE)]


def test_the_linter_has_no_complaint() -> None:
    """Hadolint's rules, and those of ShellCheck."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_images_that_it_stands_on_are_pinned() -> None:
    """By the digest of the image, whatever a tag means by then."""
    images = dict(each[0].split("=", 1) for each in words("ARG"))
    assert [each[0] for each in words("FROM")] == [f"${{{name}}}" for name in images]
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images.values())


def test_both_images_have_the_same_python() -> None:
    """Compiled modules of one version are of no use to another: 3.13 is that of Debian 13."""
    builder, base = (each[0] for each in words("ARG"))
    assert "python:3.13-slim-trixie@" in builder
    assert "python3-debian13:" in base


def test_it_has_no_privileges_by_itself() -> None:
    """Who runs it gives it a user and capabilities."""
    assert words("USER")[-1] == ["65532:65532"]


def test_the_manifests_call_it_as_it_is_made() -> None:
    """Its program takes the arguments of the DaemonSet, which has the image's name and version."""
    assert [json.loads(" ".join(each)) for each in words("ENTRYPOINT")] == [["/usr/bin/damon"]]
    manifests = ROOT / "deploy/kubernetes"
    daemon = yaml.safe_load((manifests / "daemonset.yaml").read_text())
    (container,) = daemon["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == json.loads(" ".join(words("CMD")[0]))[0] == "run"
    (image,) = yaml.safe_load((manifests / "kustomization.yaml").read_text())["images"]
    assert image["name"] == container["image"]
    assert image["newTag"] == (ROOT / "VERSION").read_text().strip()


@pytest.mark.checkout
def test_only_what_is_installed_is_sent_to_the_builder() -> None:
    """No tests, nothing of git, no virtual environment."""
    first, *rules = [each for each in IGNORED.splitlines() if not each.startswith("#")]
    assert first == "**"
    taken = {each.removeprefix("!") for each in rules if each.startswith("!")}
    assert all((ROOT / name).exists() for name in taken)
    assert not {".git", ".venv", "tests", "docs"} & taken
    assert any(fnmatchcase("plugins/vaddr/tests", each) for each in rules)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt", "install"])
def test_what_it_installs_is_there(name: str) -> None:
    """What the script reads isn't ignored."""
    assert f"!deploy/{name}" in IGNORED.splitlines()
