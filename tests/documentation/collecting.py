"""What the documentation has to be compared with the code: blocks, commands, names."""

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]

_FENCED = re.compile(
    r"^(?P<comment><!-- not run: (?P<reason>.+?) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_INDENTED = re.compile(r"(?:(?<=\n\n)|(?<=:\n))((?: {4}.*\n|\n(?= {4}))+)")
_INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


@frozen
class Block:
    """A block of code of a page.

    Attributes:
        page: The page.
        language: What stands after the backticks; empty if nothing does, or it is indented.
        text: Its lines, without indentation.
        not_run: Why it isn't run, where the page says so.
        line: The number of its first line.
    """

    page: Path
    language: str
    text: str
    not_run: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of code of a page, fenced and indented."""
    text = page.read_text()
    found = []
    for match in _FENCED.finditer(text):
        indent = len(match["indent"])
        lines = [line[indent:] for line in match["text"].splitlines(keepends=True)]
        line = text.count("\n", 0, match.start("text")) + 1
        found.append(Block(page, match["language"], "".join(lines), match["reason"] or "", line))
    # What is within fences is no indented block.
    rest = _FENCED.sub(lambda match: re.sub(r"[^\n]", "-", match[0]), text)
    for match in _INDENTED.finditer(rest):
        lines = [line[4:] or "\n" for line in match[1].splitlines(keepends=True)]
        line = rest.count("\n", 0, match.start(1)) + 1
        found.append(Block(page, "", "".join(lines), "", line))
    return sorted(found, key=lambda block: block.line)


def inline_codes(page: Path) -> Iterator[str]:
    """Yield what stands between backticks in the prose of a page."""
    text = _FENCED.sub("", page.read_text())
    for match in _INLINE.finditer(text):
        yield re.sub(r"\s+", " ", match[1])
