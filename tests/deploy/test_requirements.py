"""What a host installs of others: exactly known packages."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PINNED = (ROOT / "deploy/requirements.txt").read_text()
BUILDING = (ROOT / "deploy/requirements-build.txt").read_text()
_PIN = re.compile(r"^([\w-]+)==\S+ \\\n    --hash=sha256:", re.MULTILINE)


def test_every_dependency_is_pinned_with_hashes() -> None:
    """All that the packages need, besides each other."""
    build = (ROOT / "deploy/install").read_text()
    (names,) = re.findall(r"^packages=\(\. plugins/\{(.*)\}\)$", build, re.MULTILINE)
    needed = set()
    for folder in (ROOT, *(ROOT / "plugins" / name for name in names.split(","))):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        needed |= {Requirement(each).name for each in project["dependencies"]}
    pinned = set(_PIN.findall(PINNED))
    assert {name for name in needed if not name.startswith("damon-")} <= pinned


def test_what_builds_them_is_pinned_with_hashes() -> None:
    """As the build system of all packages says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {Requirement(each).name for each in project["build-system"]["requires"]}
    assert needed <= set(_PIN.findall(BUILDING))
