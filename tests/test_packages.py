"""What the packages of this repository declare: enough for their imports, and all of them alike."""

import ast
import functools
import re
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release.building import build, copy, tracked_files
from tests.release.checking import check
from tests.release.packages import (
    COMPILED,
    EVERYTHING,
    FOLDERS,
    ROOT,
    VERSION,
    development_requirements,
    project_file,
    requirements,
)

pytestmark = pytest.mark.checkout

MINOR = [int(part) for part in VERSION.split(".")[:2]]

#: What is the same everywhere.
SAME = [
    ("build-system", "build-backend"),
    ("project", "dynamic"),
    ("project", "readme"),
    ("project", "requires-python"),
    ("project", "license"),
    ("project", "license-files"),
    ("project", "classifiers"),
    ("project", "urls"),
    ("project", "authors"),
    ("tool", "hatch", "version", "pattern"),
]
#: Where a package needs another range of something than the rest.
OTHER_RANGES = {("damon-top", "rich"): "textual draws with newer ones only"}


def imported(sources: Iterable[str]) -> set[str]:
    """Return the top-level names that modules import, wherever they do, if only for types."""
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.split(".")[0])
    return found


@functools.cache
def distributions() -> dict[str, list[str]]:
    """Return which distributions have each top-level name: all their lists of files are read."""
    # Those of this repository are installed without a copy of their files, which nobody lists.
    ours = {name.replace("-", "_"): [name] for name in FOLDERS}
    return {**packages_distributions(), **ours}


def undeclared(sources: Iterable[str], declared: Iterable[str]) -> set[str]:
    """Return what modules import that isn't in the standard library and no declared package has."""
    allowed = {canonicalize_name(name) for name in declared}
    return {
        name
        for name in imported(sources) - sys.stdlib_module_names
        if not allowed & {canonicalize_name(each) for each in distributions().get(name, [])}
    }


def test_an_undeclared_import_is_found() -> None:
    """The check fails on what it is for: at any level, for types only, unknown modules."""
    source = """
import os, numpy.typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from rich.console import Console
def work():
    import nothing_of_this_name
"""
    assert undeclared([source], ["numpy"]) == {"rich", "nothing_of_this_name"}
    assert undeclared([source], ["NumPy", "Rich"]) == {"nothing_of_this_name"}


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_imported_is_declared(name: str) -> None:
    """A package that is installed alone, with its optional dependencies, can import all it does."""
    module = name.replace("-", "_")
    folder = ROOT / module if name == "damon-core" else FOLDERS[name] / "src" / module
    sources = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py")]
    assert sources
    assert undeclared(sources, [name, *(each.name for each in requirements(name))]) == set()


@pytest.mark.parametrize("path", SAME, ids=".".join)
def test_projects_agree(path: tuple[str, ...]) -> None:
    """What isn't of one package's own is the same in all pyproject.toml."""

    def value(name: str) -> object:
        found: Any = project_file(name)
        for key in path:
            found = found.get(key, {})
        return found

    assert {name for name in FOLDERS if value(name) != value("damon-core")} == set()


def test_only_what_is_compiled_needs_more_to_be_built() -> None:
    """Hatch, and for compiled modules what runs the compiler; a release builds with the same."""
    needed = {name: project_file(name)["build-system"]["requires"] for name in FOLDERS}
    common = needed["damon-core"]
    assert {name for name in FOLDERS if needed[name][: len(common)] != common} == set()
    assert {name for name in FOLDERS if len(needed[name]) > len(common)} == COMPILED
    assert {each for name in FOLDERS for each in needed[name]} <= set(development_requirements())


def test_keywords_begin_alike() -> None:
    """A package may add keywords to the core's."""
    common = project_file("damon-core")["project"]["keywords"]
    others = {name: project_file(name)["project"]["keywords"] for name in FOLDERS}
    assert {name for name, words in others.items() if words[: len(common)] != common} == set()


def test_the_version_is_read_from_one_file() -> None:
    """Every package has the version of the file VERSION."""
    paths = {
        name: (folder / project_file(name)["tool"]["hatch"]["version"]["path"]).resolve()
        for name, folder in FOLDERS.items()
    }
    assert set(paths.values()) == {ROOT / "VERSION"}


@pytest.mark.parametrize("name", FOLDERS)
def test_packages_of_this_repository_go_together(name: str) -> None:
    """The range that a package needs of another one is the current minor version."""
    wanted = f">={MINOR[0]}.{MINOR[1]},<{MINOR[0]}.{MINOR[1] + 1}"
    siblings = [each for each in requirements(name, everything=True) if each.name in FOLDERS]
    assert {
        str(each) for each in siblings if each.specifier != Requirement(f"x{wanted}").specifier
    } == set()


def test_ranges_of_other_packages_agree() -> None:
    """What several packages need, they need in the same range."""
    ranges: dict[str, set[str]] = {}
    for name in FOLDERS:
        for each in requirements(name):
            if (name, each.name) not in OTHER_RANGES:
                ranges.setdefault(each.name, set()).add(str(each.specifier))
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


def test_one_name_brings_all_packages() -> None:
    """`pip install "damon-cli[all]"`, without a list of packages to be read, or a compiler."""
    package, extra = EVERYTHING
    texts = project_file(package)["project"]["optional-dependencies"][extra]
    named = {Requirement(text).name for text in texts}
    assert named | {package, "damon-core"} == set(FOLDERS) - COMPILED


def test_uv_takes_all_packages_from_here() -> None:
    """A package that isn't in `tool.uv.sources` would come from an index."""
    sources = project_file("damon-core")["tool"]["uv"]["sources"]
    assert sources == {name: {"workspace": True} for name in FOLDERS}


def test_groups_of_dependencies_include_others() -> None:
    """What the documentation needs, tests need, too."""
    assert set(development_requirements("docs")) < set(development_requirements())


def test_the_core_needs_little() -> None:
    """Nothing that draws, and nothing of the command line."""
    assert {each.name for each in requirements("damon-core")} == {
        "attrs",
        "cattrs",
        "numpy",
        "packaging",
        "pluggy",
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows of the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    copy(tracked_files(), folder)
    return folder


def call(*args: str | Path, cwd: Path) -> str:
    """Run a program that succeeds and return what it prints."""
    done = subprocess.run(args, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.needs("idle-helper")
def test_distributions_pass_the_checks_of_a_release(checkout: Path, tmp_path: Path) -> None:
    """Of the core, a package, and a compiled one; `make release-check` does it with all of them."""
    names = ["damon-core", "damon-cli", *COMPILED]
    build(names, checkout, tmp_path)
    check(names, tmp_path)


@pytest.mark.slow
def test_the_core_alone_runs_a_context(checkout: Path, tmp_path: Path) -> None:
    """`pip install damon-core`, and the first example of docs/python.md prints working sets."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", checkout, cwd=tmp_path)
    page = (ROOT / "docs" / "python.md").read_text()
    example = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
    assert re.fullmatch(r"(\d: \S+ [KMGT]iB\n){3}", call(python, "-c", example, cwd=tmp_path))
