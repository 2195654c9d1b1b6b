"""Sessions in a terminal that the documentation shows are what happens."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.collecting import PAGES, ROOT, Block, blocks, shows
from tests.documentation.terminal import Terminal

#: The first line of a block that is a file: its name.
_FILE = re.compile(r"# (\w+\.(?:py|toml))\n")
#: Pages whose sessions start programs and watch them.
_SLOW = ("tutorial.md",)


def _is_tried(block: Block) -> bool:
    return block.language == "console" and block.runs


def _pages() -> list[Any]:
    return [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=[pytest.mark.slow] if page.name in _SLOW else [],
        )
        for page in PAGES
        if any(map(_is_tried, blocks(page)))
    ]


@pytest.mark.parametrize("page", _pages())
def test_sessions_print_what_the_page_shows(page: Path, folder: Path, terminal: Terminal) -> None:
    """Commands run one after the other, beside the files of the page."""
    wrong = []
    for block in blocks(page):
        if (name := _FILE.match(block.text)) and block.language in ("python", "toml"):
            (folder / name[1]).write_text(block.text)
        if not _is_tried(block):
            continue
        if before := block.marks.get("before"):
            prepared = terminal.run(before, folder, ROOT=str(ROOT))
            assert prepared.code == 0, prepared.output
        for session in re.split(r"(?m)^\$ ", block.text)[1:]:
            command, _, expected = session.partition("\n")
            found = terminal.run(command, folder).output
            if not shows(expected, found, "numbers" in block.marks):
                wrong.append(f"{block}\n$ {command}\n{found}")
    assert not wrong, "\n".join(wrong)
