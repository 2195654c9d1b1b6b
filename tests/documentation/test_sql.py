"""SQL of the documentation runs, by DuckDB, and gives what stands below it."""

from pathlib import Path

import duckdb
import pytest

from tests.documentation.collecting import PAGES, Block, blocks, shows

TRIED = [
    (block, output)
    for page in PAGES
    for block, output in zip(blocks(page), [*blocks(page)[1:], None], strict=False)
    if block.language == "sql" and block.runs
]


@pytest.mark.parametrize(("block", "output"), TRIED, ids=str)
def test_queries_give_what_the_page_shows(
    block: Block, output: Block | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the records that the page names."""
    monkeypatch.chdir(folder)
    found = str(duckdb.sql(block.text))
    if output is not None and output.language == "text":
        assert shows(output.text, found), found
