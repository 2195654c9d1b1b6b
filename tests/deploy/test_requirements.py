"""What a host installs of others: exactly known packages."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PINNED = (ROOT / "deploy/requirements.txt").read_text()


def test_every_dependency_is_pinned_with_hashes() -> None:
    """All that the packages of the Debian package need, besides each other."""
    build = (ROOT / "deploy/debian/build").read_text()
    (names,) = re.findall(r"^packages=\(\. plugins/\{(.*)\}\)$", build, re.MULTILINE)
    needed = set()
    for folder in (ROOT, *(ROOT / "plugins" / name for name in names.split(","))):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        needed |= {Requirement(each).name for each in project["dependencies"]}
    pinned = set(re.findall(r"^([\w-]+)==\S+ \\\n    --hash=sha256:", PINNED, re.MULTILINE))
    assert {name for name in needed if not name.startswith("damon-")} <= pinned
