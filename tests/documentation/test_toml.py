"""TOML of the documentation is right: configurations, parts of some, and projects."""

import re
import tomllib
from importlib.metadata import EntryPoint, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from damon_sim import plugin as sim
from packaging.requirements import Requirement

from damon_core import Plugins, check_config
from tests.documentation.collecting import PAGES, ROOT, Block, blocks

#: What a part of a configuration is checked with.
_PRIMITIVE = {"use": "sim", "size": "1GiB", "uniform": {"rate": 0.5}}


def _is_tried(block: Block) -> bool:
    return block.language == "toml" and block.runs


def _pages() -> list[Any]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if any(map(_is_tried, blocks(page)))
    ]


@pytest.mark.parametrize("page", _pages())
def test_toml_is_right(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a configuration is checked with the rest of one."""
    monkeypatch.chdir(folder)
    plugins = _plugins(page)
    for block in filter(_is_tried, blocks(page)):
        raw = tomllib.loads(block.text)
        if "project" in raw:
            _check_project(raw["project"])
        else:
            check_config(_whole(raw), plugins, str(block))


def _whole(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with what a part of it doesn't show."""
    contexts = raw["context"] if isinstance(raw["context"], list) else [raw["context"]]
    return {**raw, "context": [{"primitive": _PRIMITIVE, **each} for each in contexts]}


def _plugins(page: Path) -> Plugins:
    """Return what is installed, or what a page registers for its configurations."""
    registering = [
        block
        for block in blocks(page)
        if block.language == "python" and re.search(r"^def register_", block.text, re.MULTILINE)
    ]
    own = {}
    for number, block in enumerate(registering):
        names: dict[str, Any] = {}
        exec(compile(block.text, str(block), "exec"), names)
        own[f"own-{number}"] = ModuleType(f"own_{number}")
        vars(own[f"own-{number}"]).update(names)
    return Plugins({"sim": sim, **own}) if own else Plugins.discover()


def _check_project(project: dict[str, Any]) -> None:
    """Check what is required, and how entry points are named."""
    for each in map(Requirement, project.get("dependencies", ())):
        if each.name.startswith("damon"):
            assert version(each.name) in each.specifier
    for group, entries in project["entry-points"].items():
        assert group in ("damon", "damon.commands")
        for name, value in entries.items():
            assert EntryPoint(name, value, group).module.isidentifier() or "." in value
