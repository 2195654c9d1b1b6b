"""The documentation agrees with the code: its examples run, its tables are complete."""

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
    PageMap,
    Plugins,
    RegionPolicy,
    check_config,
    hookspecs,
)
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual
from tests.documentation.collecting import PAGES, ROOT


def _ids(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


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


def test_callback_of_the_documentation_that_asks_for_pages() -> None:
    """It finds what is hot in memory of which every page is known."""

    periods = np.zeros((1, BLOCK_PAGES), dtype=np.uint8)
    periods[0, 5:9] = 25, 13, 16, 17
    every_page = PageMap.of_periods(
        np.array([BLOCK_BYTES]), periods, shortest=13, longest=20, watched_us=1
    )
    (block,) = [each for each in _blocks(ROOT / "docs/python.md", "python") if "HotPages" in each]
    names: dict[str, Any] = {}
    exec(block, names)
    callback = names["HotPages"]()
    regions = [ScriptedRegion(BLOCK_BYTES, 2 * BLOCK_BYTES, heat=1.0)]
    memory = ScriptedMemory({"t": regions}, page_maps={"t": every_page})
    run_virtual(memory, callback, aggregations=1)
    assert callback.found == {"t": (2, [BLOCK_BYTES + 6 * 4096])}


@pytest.mark.checkout
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
