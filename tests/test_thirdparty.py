"""A package of a third party: built as a wheel, installed, listed, used.

It is the documented example in examples/damon-example-plugin, which so stays right.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from damon_core import Plugins, check_config

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples" / "damon-example-plugin"
DAMON = Path(sys.executable).parent / "damon"


def call(*args: str | Path, site: Path | None = None, cwd: Path | None = None) -> str:
    """Run a program that succeeds and return what it prints."""
    environment = dict(os.environ)
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    result = subprocess.run(
        args, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel, built of a copy of the source, is installed."""
    folder = tmp_path_factory.mktemp("thirdparty")
    source, wheels, site = folder / "source", folder / "wheels", folder / "site"
    ignored = shutil.ignore_patterns("__pycache__", "dist", ".*")
    shutil.copytree(EXAMPLE, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels, source)
    (wheel,) = wheels.glob("damon_example-*.whl")
    call(*pip, "install", "--no-deps", "--no-index", "--target", site, wheel)
    return site


def test_listed(site: Path) -> None:
    """`damon plugins` lists what it offers."""
    infos = json.loads(call(DAMON, "plugins", "--json", site=site))
    plugin, command = (info for info in infos if info["package"] == "damon-example 0.1.0")
    assert plugin == {
        "name": "tally, tick, tick.random",
        "package": "damon-example 0.1.0",
        "skipped": "",
        "primitives": ["tick"],
        "backends": ["tick.random"],
        "policies": [],
        "callbacks": ["tally"],
        "formats": [],
        "commands": [],
        "contested": [],
    }
    assert (command["skipped"], command["commands"]) == ("", ["tick"])


def test_diagnosed(site: Path) -> None:
    """`damon doctor` lists its primitive, with its backend."""
    found = json.loads(call(DAMON, "doctor", "--json", site=site))
    (tick,) = (each for each in found if each["name"] == "tick")
    assert tick["works"] is True
    assert [backend["name"] for backend in tick["backends"]] == ["random"]


def test_used_by_run(site: Path, tmp_path: Path) -> None:
    """Its own example runs: the primitive with its backend, and the callback."""
    call(DAMON, "run", EXAMPLE / "example.toml", "--for", "1s", site=site, cwd=tmp_path)
    lines = (tmp_path / "tally.txt").read_text().splitlines()
    assert lines
    assert all(line.split()[0] == "example" for line in lines)
    assert all(0 < int(line.split()[2]) <= 16 << 20 for line in lines)


def test_its_command(site: Path) -> None:
    """Its command is listed and can be called."""
    assert "  tick " in call(DAMON, "--help", site=site)
    output = call(DAMON, "tick", "--size", "1MiB", "--for", "3s", site=site)
    assert output.endswith("bytes are in use\n")


def test_its_mistakes_are_told_like_any(site: Path, tmp_path: Path) -> None:
    """Its options are checked, and what its factories object to is reported, before it runs."""
    path = tmp_path / "wrong.toml"
    path.write_text(
        "[[context]]\n[context.primitive]\nuse = 'tick'\nbackend = 'none'\n"
        "[[context.callback]]\nuse = 'tally'\npath = '/nowhere/tally.txt'\n"
    )
    result = subprocess.run(
        [DAMON, "run", path],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr.splitlines()) == (
        2,
        [
            f"damon: {path}: context[0].primitive: there is no backend 'none'; known: random",
            f"damon: {path}: context[0].callback[0]: /nowhere/tally.txt can't be written: "
            "No such file or directory",
        ],
    )


def test_its_own_tests(site: Path) -> None:
    """The tests that it comes with pass with what is installed."""
    call(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests", site=site
    )


def test_its_readme(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    """The example in the README is the file beside it, and is right."""
    text = (EXAMPLE / "README.md").read_text().split("```toml\n")[1].split("```")[0]
    assert text == (EXAMPLE / "example.toml").read_text()
    monkeypatch.syspath_prepend(site)
    assert len(check_config(tomllib.loads(text), Plugins.discover()).contexts) == 1
