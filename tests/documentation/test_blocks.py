"""No block of the documentation is forgotten: each is tried, or the page says why not."""

from pathlib import Path

import pytest

from tests.documentation.collecting import PAGES, ROOT, Block, blocks

#: What is tried by the tests beside this one.
TRIED = ("python", "toml", "yaml", "sql", "console", "sh")


def what_is_missing(block: Block) -> str:
    """Return what a page has to say of a block; an empty text if nothing."""
    if "not run" in block.marks:
        return "" if len(block.marks["not run"].split()) > 2 else "why it isn't run"
    if "run by" in block.marks:
        test = ROOT / block.marks["run by"]
        if not test.is_file():
            return f"{block.marks['run by']} isn't there"
        named = block.page.name if block.page.name != "README.md" else block.page.parent.name
        return "" if named in test.read_text() else f"{block.marks['run by']} doesn't name it"
    if block.language in TRIED or block.indented:
        return ""
    if (
        block.language == "text"
        and block.follows is not None
        and block.follows.language in ("python", "sql")
    ):
        return ""
    return "what runs it (docs/testing.md)"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_tried_or_says_why_not(page: Path) -> None:
    """As docs/testing.md describes."""
    assert [f"{each}: {reason}" for each in blocks(page) if (reason := what_is_missing(each))] == []
