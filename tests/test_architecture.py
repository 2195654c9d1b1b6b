"""What import-linter can't check: public names, names of plugins in the core, and the docs.

Which module may import which is in pyproject.toml (`[tool.importlinter]`); `make lint` checks it.
"""

import ast
import importlib
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

import damon_core
from tests.api.interface import public_modules, public_names

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
CORE = ROOT / "damon_core"
PLUGINS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml"))

#: Names of plugins that are words of the field, or of English, as well: the core may use these,
#: but not with "damon-" before them.
ALSO_WORDS = {"alert", "cgroup", "demo", "idle", "record", "report", "top"}


def name(path: Path) -> str:
    """Return a path as tests show it."""
    return str(path.relative_to(ROOT))


# -- public names ----------------------------------------------------------------------


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Yield what a module imports, if only for types: a module, and a name of it or ""."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((module, alias.name) for alias in node.names)


def private(source: str, package: str) -> list[str]:
    """Return what a module imports of `damon_core` or `damon_cli` that isn't public."""
    modules = public_modules(package)
    found = []
    for module, used in imported(source):
        if module.split(".")[0] != package or f"{module}.{used}" in modules:
            continue
        if module not in {package, *modules} or used not in public_names(module):
            found.append(f"{module}: {used}")
    return found


def test_what_is_private_is_found() -> None:
    """The check fails on what it is for: other modules, other names, whole modules."""
    source = """
from damon_core import Context, take_snapshot
from damon_core.loop.context import Context
import damon_core.units
from damon_core import hookspecs
from damon_core.testing import ScriptedMemory
def work():
    from damon_cli.heat import SHADES, PALETTE
    from damon_cli.commands import installed_commands
    from damon_cli.main import main
"""
    assert private(source, "damon_core") == [
        "damon_core: take_snapshot",
        "damon_core.loop.context: Context",
        "damon_core.units: ",
    ]
    assert private(source, "damon_cli") == [
        "damon_cli.heat: PALETTE",
        "damon_cli.commands: installed_commands",
    ]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_packages_use_only_public_names(plugin: str) -> None:
    """What first-party packages can do, any third party's can."""
    paths = sorted((ROOT / "plugins" / plugin / "src").rglob("*.py"))
    assert paths
    packages = ["damon_core"] if plugin == "cli" else ["damon_core", "damon_cli"]
    found = {
        name(path): names
        for path in paths
        for package in packages
        if (names := private(path.read_text(encoding="utf-8"), package))
    }
    assert found == {}


@pytest.mark.parametrize("module", sorted(public_modules("damon_cli")))
def test_public_names_of_damon_cli_are_documented(module: str) -> None:
    """Each is in the README of damon-cli, with its module."""
    text = (ROOT / "plugins" / "cli" / "README.md").read_text()
    names = importlib.import_module(module).__all__
    assert [each for each in (module, *names) if f"`{each}`" not in text] == []


def test_what_is_imported_later_is_what_type_checkers_see() -> None:
    """A name of the core that is imported when it is used is the one of the import for types."""
    for_types = [
        (str(each.module), name.name)
        for node in ast.parse((CORE / "__init__.py").read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for each in node.body
        if isinstance(each, ast.ImportFrom)
        for name in each.names
    ]
    assert ("damon_core.loop.context", "Context") in for_types
    found = [getattr(damon_core, name) for _, name in for_types]
    assert found == [getattr(importlib.import_module(module), name) for module, name in for_types]


def test_what_the_core_does_not_have() -> None:
    """It says so, as any module does."""
    with pytest.raises(AttributeError, match="module 'damon_core' has no attribute 'Contexts'"):
        _ = damon_core.Contexts  # type: ignore[attr-defined]


# -- the core knows no plugin ----------------------------------------------------------


def named(source: str, plugins: Collection[str]) -> list[tuple[int, str]]:
    """Return where a module of the core names plugins, with lines.

    Distributions and modules of theirs count anywhere, comments and docstrings included; other
    names in identifiers and strings, also within longer ones, but not in docstrings, which may
    have examples.
    """
    packages = re.compile(rf"damon[-_](?:{'|'.join(plugins)})(?![a-z])")
    parts = re.compile(rf"(?<![a-z])(?:{'|'.join(set(plugins) - ALSO_WORDS)})(?![a-z])")
    found = [
        (number, match[0])
        for number, line in enumerate(source.splitlines(), 1)
        for match in packages.finditer(line)
    ]
    for line, text in _words(ast.parse(source)):
        found += [(line, match[0]) for match in parts.finditer(text.lower())]
    return sorted(set(found))


def _words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the identifiers and strings of a module, but not its docstrings, with their lines."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and id(node) not in docstrings:
                yield line, node.value
        else:
            for field in ("id", "attr", "arg", "name", "module"):
                identifier = getattr(node, field, None)
                if isinstance(identifier, str):
                    yield line, identifier


def test_names_of_plugins_are_found() -> None:
    """The check fails on what it is for: within strings, identifiers, comments and docstrings."""
    source = '''"""For example Primitive("vaddr", ...); not damon-vaddr."""
HINT = "begin with: pip install damon-vaddr"
import damon_record
def read_csv(record):  # as damon-csv does
    return "a vaddr", record, "vaddress", "damon"
'''
    assert named(source, ["csv", "damo", "record", "vaddr"]) == [
        (1, "damon-vaddr"),
        (2, "damon-vaddr"),
        (2, "vaddr"),
        (3, "damon_record"),
        (4, "csv"),
        (4, "damon-csv"),
        (5, "vaddr"),
    ]


def test_the_core_names_no_plugin() -> None:
    """The core knows plugins by what they register, never by their names."""
    paths = sorted(CORE.rglob("*.py"))
    assert paths
    found = {name(path): named(path.read_text(encoding="utf-8"), PLUGINS) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


# -- the docs --------------------------------------------------------------------------


def documented_layers() -> list[tuple[str, set[str]]]:
    """Return the table of docs/architecture.md: layers from the top, with their modules."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| \*\*(\w+)\*\* \| (.*?) \|", text, re.MULTILINE)
    return [(layer, set(re.findall(r"`(\w+)`", modules))) for layer, modules in rows]


def modules_of(layer: str) -> set[str]:
    """Return the modules of a layer of the core as pyproject.toml has it."""
    found = set()
    for each in map(str.strip, layer.split(":")):
        if (CORE / each).is_dir():
            found |= {path.stem for path in (CORE / each).iterdir() if path.suffix == ".py"}
            found |= {path.parent.name for path in (CORE / each).glob("*/__init__.py")}
        else:
            found.add(each)
    return found - {"__init__"}


def test_the_table_of_layers_is_the_checked_one() -> None:
    """docs/architecture.md has the layers that import-linter checks, with all their modules."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["damon_core"])
    documented = documented_layers()
    assert [modules for _, modules in documented] == [modules_of(layer) for layer in layers]


def test_what_is_listed_as_public_exists() -> None:
    """Every name of `damon_core.__all__` can be imported."""
    assert [each for each in damon_core.__all__ if not hasattr(damon_core, each)] == []
