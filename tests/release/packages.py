"""The packages of this repository, as their project files describe them."""

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
#: Where each package is; the core comes first.
FOLDERS = {"damon-core": ROOT} | {
    f"damon-{path.parent.name}": path.parent
    for path in sorted((ROOT / "plugins").glob("*/pyproject.toml"))
}
VERSION = (ROOT / "VERSION").read_text().strip()
#: Those with compiled modules.
COMPILED = {name for name, folder in FOLDERS.items() if (folder / "hatch_build.py").exists()}
#: The package and its extra that bring all others, but those that are compiled.
EVERYTHING = ("damon-cli", "all")
#: Packages and their extras that bring these.
OPTIONAL = (("damon-idle", "native"),)


def project_file(name: str) -> dict[str, Any]:
    """Return the pyproject.toml of a package."""
    return tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())


def requirements(name: str, *, everything: bool = False) -> list[Requirement]:
    """Return what a package declares, optional things included.

    Args:
        name: The package.
        everything: With what its extra requires that brings all packages.
    """
    project = project_file(name)["project"]
    optional = {
        extra: texts
        for extra, texts in project.get("optional-dependencies", {}).items()
        if everything or (name, extra) != EVERYTHING
    }
    return [
        Requirement(text)
        for texts in (project["dependencies"], *optional.values())
        for text in texts
    ]


def modules(name: str) -> list[Path]:
    """Return the folders of a package that its wheel has."""
    wheel = project_file(name)["tool"]["hatch"]["build"]["targets"]["wheel"]
    return [FOLDERS[name] / folder for folder in wheel["packages"]]


def development_requirements(group: str = "dev") -> list[str]:
    """Return what tests need besides the packages: a group, with those that it includes."""
    groups: dict[str, list[str | dict[str, str]]] = project_file("damon-core")["dependency-groups"]
    found = []
    for each in groups[group]:
        if isinstance(each, str):
            found.append(each)
        else:
            found += development_requirements(each["include-group"])
    return found
