"""The documentation agrees with the code: its examples run, its tables are complete."""

import ast
import inspect
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damon_csv.rows import ROW
from damon_damo.reader import LACKING
from damon_parquet.schema import FIELDS

from damon_core import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    COLUMNS,
    HookContext,
    PageMap,
    Plugins,
    RegionPolicy,
    check_config,
    hookspecs,
)
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "plugins").glob("*/README.md"))

#: Its blocks are put into a package: tests/test_thirdparty.py.
FIRST_PLUGIN = ROOT / "docs" / "first-plugin.md"
#: Its blocks are files, which its sessions run: tests/documentation/test_console.py.
TUTORIAL = ROOT / "docs" / "tutorial.md"


def _of_package(page: Path) -> bool:
    """Return whether a page is the README of a package, whose examples need what it is for."""
    return page.is_relative_to(ROOT / "plugins")


def _ids(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def _imports(block: str) -> list[ast.stmt]:
    return [node for node in ast.parse(block).body if isinstance(node, ast.ImportFrom)]


def _configurations(page: Path) -> list[dict[str, Any]]:
    """Return the complete configurations of a page: others are parts of some."""
    found = [tomllib.loads(block) for block in _blocks(page, "toml")]
    return [
        each
        for each in found
        if "context" in each and all("primitive" in context for context in each["context"])
    ]


def _links(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())


def _pages_with(what: Callable[[Path], Sequence[object]]) -> list[Path]:
    """Return the pages that have some of what a test is about: of others it would claim nothing."""
    return [page for page in PAGES if what(page)]


def test_every_hook_is_in_the_table_with_its_arguments() -> None:
    """docs/plugins.md lists exactly the hooks of hookspecs.py, in order."""
    specified = [
        f"{name}({', '.join(inspect.signature(function).parameters)})"
        for name, function in vars(hookspecs).items()
        if hasattr(function, "damon_spec")
    ]
    text = (ROOT / "docs/plugins.md").read_text()
    assert re.findall(r"^\| `(\w+\([^`]*\))` \|", text, re.MULTILINE) == specified


def test_the_methods_of_a_policy_are_in_the_table_in_their_order() -> None:
    """docs/plugins/policy.md has them with their arguments, which `help` sorts by name."""
    methods = [
        f"{name}({', '.join(list(inspect.signature(function).parameters)[1:])})"
        for name, function in vars(RegionPolicy).items()
        if inspect.isfunction(function) and not name.startswith("_")
    ]
    text = (ROOT / "docs/plugins/policy.md").read_text()
    # Of three columns; what `Regions` has for policies stands in a table of two.
    found = re.findall(r"^\| `(\w+\([^`]*\))` \|[^|]+\|[^|]+\|$", text, re.MULTILINE)
    assert found == methods


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        ("callback", "register_callbacks"),
        ("primitive", "register_primitives"),
        ("backend", "register_backends"),
        ("policy", "register_policies"),
        ("format", "register_formats"),
        ("command", "@click.command("),
    ],
)
def test_every_kind_has_a_page_with_a_whole_example(kind: str, hook: str) -> None:
    """Which registers it, and has a test."""
    (example, *_) = _blocks(ROOT / f"docs/plugins/{kind}.md", "python")
    assert hook in example
    assert "\n# Its test: " in example


def test_the_tests_that_show_what_is_promised_are_there() -> None:
    """docs/reliability.md names tests, modules or classes of tests, as pytest selects them."""
    promises = (ROOT / "docs/reliability.md").read_text()
    named = set(re.findall(r"`([Tt]est\w+)`", promises))
    files = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/test_*.py")]
    there = "\n".join(f"{file.stem}\n{file.read_text()}" for file in files)
    assert named
    assert {name for name in named if name not in there} == set()


def _column_rows(page: str) -> list[list[str]]:
    """Return the rows of a page's tables of columns, without backticks."""
    text = (ROOT / page).read_text()
    tables = re.findall(r"^\| column \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [line.strip("|").replace("`", "") for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_columns_of_records_are_documented_as_they_are() -> None:
    """Names and meanings, other names in Parquet, and whether CSV and damo have them."""
    in_csv = {column.name for column in ROW}
    found = [
        # The type in Parquet follows.
        [name, meaning, parquet.split(": ")[:-1], csv, damo]
        for name, meaning, parquet, csv, damo in _column_rows("docs/records.md")
    ]
    assert found == [
        [
            name,
            column.meaning,
            [] if field == name else [field],
            "yes" if name in in_csv else "no",
            "no" if name in LACKING else "yes",
        ]
        for (name, column), field in zip(COLUMNS.items(), FIELDS, strict=True)
    ]


def test_columns_of_csv_are_documented_as_they_are() -> None:
    """In the order of the fields."""
    assert _column_rows("plugins/csv/README.md") == [
        [column.name, column.meaning] for column in ROW
    ]


def test_columns_of_parquet_are_documented_as_they_are() -> None:
    """As the metadata of each file has them."""
    fields = [[name, meaning] for name, (_, meaning) in FIELDS.items()]
    assert _column_rows("plugins/parquet/README.md") == fields


@pytest.mark.parametrize(
    "page",
    [
        p
        for p in PAGES
        if _blocks(p, "python") and not _of_package(p) and p not in (FIRST_PLUGIN, TUTORIAL)
    ],
    ids=_ids,
)
def test_python_of_the_documentation_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every Python block runs as it is printed."""
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(_blocks(page, "python")):
        exec(compile(block, f"{page.name}[{number}]", "exec"), {"__name__": "documentation"})


def test_callback_of_the_documentation_that_asks_for_pages() -> None:
    """It finds what is hot in memory of which every page is known."""

    class Exact(ScriptedMemory):
        @hookspecs.hookimpl
        def describe_regions(self, context: HookContext) -> None:
            periods = np.zeros((1, BLOCK_PAGES), dtype=np.uint8)
            periods[0, 5:9] = 25, 13, 16, 17
            context.targets[0].page_map = PageMap.of_periods(
                np.array([BLOCK_BYTES]), periods, shortest=13, longest=20, watched_us=1
            )

    (block,) = [each for each in _blocks(ROOT / "docs/python.md", "python") if "HotPages" in each]
    names: dict[str, Any] = {}
    exec(block, names)
    callback = names["HotPages"]()
    memory = Exact({"t": [ScriptedRegion(BLOCK_BYTES, 2 * BLOCK_BYTES, heat=1.0)]})
    run_virtual(memory, callback, aggregations=1)
    assert callback.found == {"t": (2, [BLOCK_BYTES + 6 * 4096])}


@pytest.mark.parametrize(
    "page",
    _pages_with(
        lambda page: (
            [each for block in _blocks(page, "python") for each in _imports(block)]
            if _of_package(page)
            else []
        )
    ),
    ids=_ids,
)
def test_python_of_the_packages_imports_what_is_there(page: Path) -> None:
    """The imports in READMEs' blocks work; the rest would need a process, a cgroup or a server."""
    for block in _blocks(page, "python"):
        exec(compile(ast.Module(_imports(block), []), page.name, "exec"), {})


@pytest.mark.parametrize("page", _pages_with(_configurations), ids=_ids)
def test_configurations_of_the_documentation_are_valid(page: Path) -> None:
    """Every TOML block with a complete context passes the check."""
    for configuration in _configurations(page):
        check_config(configuration, Plugins.discover(), str(page))


@pytest.mark.parametrize("page", _pages_with(_links), ids=_ids)
def test_links_are_valid(page: Path) -> None:
    """Every relative link points to a file that exists."""
    for target in _links(page):
        assert (page.parent / target).exists(), target


def _anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as links call them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {each.replace(" ", "-") for each in words}


def _links_to_headings(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())


@pytest.mark.parametrize("page", _pages_with(_links_to_headings), ids=_ids)
def test_links_to_headings_are_valid(page: Path) -> None:
    """Every heading that a link names is on the page that it leads to."""
    for target, anchor in _links_to_headings(page):
        assert anchor in _anchors(page.parent / target if target else page), (target, anchor)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.toml")), ids=_ids)
def test_examples_are_valid(example: Path) -> None:
    """Every example passes `damon check`, and its first lines say what it is for."""
    check_config(tomllib.loads(example.read_text()), Plugins.discover(), str(example))
    assert example.read_text().startswith("# ")
