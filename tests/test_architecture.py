"""Who may know whom: checked in the source, module by module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import damon_core

ROOT = Path(__file__).parents[1]
CORE = ROOT / "damon_core"
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())

#: Names of plugins that are words of their own too: logging calls its messages records, memory is
#: idle, and the kernel has cgroups.
ALSO_WORDS = {"record", "idle", "cgroup"}
#: Modules that may know the tools for reading files and for talking to people.
OUTER = {"backends", "cli", "config", "options", "plugins"}
#: The loop and what it works on.
INNER = [
    "attributes",
    "clock",
    "context",
    "errors",
    "group",
    "hookspecs",
    "isolation",
    "kdamond",
    "pacing",
    "parts",
    "policies",
    "policy",
    "records",
    "regions",
    "samples",
    "snapshot",
    "stamps",
    "stats",
    "target",
    "units",
    "validation",
]


def modules(folder: Path) -> list[Path]:
    """Return the Python files below a folder."""
    return sorted(folder.rglob("*.py"))


def imported_by(module: str) -> set[str]:
    """Return the modules that a module of the core, or a folder of them, imports."""
    paths = modules(CORE / module) or [CORE / f"{module}.py"]
    return {found for path in paths for found, _ in imports(parsed(path))}


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Yield what is imported at run time: modules, and names from modules."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield "." * node.level + (node.module or ""), alias.name
        elif not _is_only_for_type_checking(node):
            yield from imports(node)


def _is_only_for_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def name(path: Path) -> str:
    """Return a path as tests show it."""
    return str(path.relative_to(ROOT))


def test_every_module_of_the_core_is_inner_or_outer() -> None:
    """A new module has to be put on one side."""
    found = {path.stem for path in CORE.glob("*.py")} | {
        path.parent.name for path in CORE.glob("*/__init__.py")
    }
    assert found - {"__init__"} == set(INNER) | OUTER


@pytest.mark.parametrize("module", INNER)
def test_the_loop_does_not_know_who_uses_it(module: str) -> None:
    """The inner modules import none of those that read files or talk to people."""
    used = {found.split(".")[1] for found in imported_by(module) if found.startswith("damon_core.")}
    assert used & OUTER == set()


@pytest.mark.parametrize("module", INNER)
def test_the_loop_needs_no_tools_for_files_or_people(module: str) -> None:
    """A program that monitors needs neither click, rich, cattrs nor tomllib."""
    used = {found.split(".")[0] for found in imported_by(module)}
    assert used & {"click", "rich", "cattrs", "tomllib"} == set()


@pytest.mark.parametrize("module", INNER)
def test_imports_of_the_core_are_whole(module: str) -> None:
    """No relative imports, so that the checks above see all of them."""
    assert [found for found in imported_by(module) if found[:1] == "."] == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_first_party_plugins_use_only_the_public_interface(plugin: str) -> None:
    """What they can do, any third party's can."""
    public = {"damon_core": set(damon_core.__all__)}
    private = []
    for path in modules(ROOT / "plugins" / plugin / "src"):
        # What is imported for type checking only counts as well.
        for node in ast.walk(parsed(path)):
            found: list[tuple[str, str]] = []
            if isinstance(node, ast.Import):
                found = [(alias.name, "*") for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found = [(node.module, alias.name) for alias in node.names]
            private += [
                f"{name(path)}: {module}: {used}"
                for module, used in found
                if module.split(".")[0] == "damon_core" and used not in public.get(module, set())
            ]
    assert private == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_first_party_plugins_do_not_know_each_other(plugin: str) -> None:
    """A package imports others only if it says that it depends on them."""
    requirements = (ROOT / "plugins" / plugin / "pyproject.toml").read_text(encoding="utf-8")
    others = {f"damon_{other}": f'"damon-{other}' for other in PLUGINS if other != plugin}
    undeclared = [
        f"{name(path)}: {used}"
        for path in modules(ROOT / "plugins" / plugin / "src")
        for used, _ in imports(parsed(path))
        if used.split(".")[0] in others and others[used.split(".")[0]] not in requirements
    ]
    assert undeclared == []


def words(tree: ast.Module) -> Iterator[tuple[int, str]]:
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
                    parts = set(identifier.split("."))
                    yield from ((line, part) for part in parts - ALSO_WORDS)


@pytest.mark.parametrize("path", modules(CORE), ids=name)
def test_the_core_names_no_first_party_plugin(path: Path) -> None:
    """The core knows plugins by what they register, never by their names."""
    names = {*PLUGINS, *(f"damon_{p}" for p in PLUGINS), *(f"damon-{p}" for p in PLUGINS)}
    found = [f"{name(path)}:{line}: {word}" for line, word in words(parsed(path)) if word in names]
    assert found == []
