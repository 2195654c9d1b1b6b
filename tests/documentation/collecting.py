"""What the documentation has to be compared with the code: blocks, commands, names.

docs/testing.md says what becomes of a block, and by which marks a page says so.
"""

import doctest
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).parents[2]
#: What the site has.
SITE_PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
#: All that people read.
PAGES = [
    *SITE_PAGES,
    *sorted(path for path in ROOT.glob("*.md") if path.name != "README.md"),
    *sorted(ROOT.glob("deploy/**/README.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
    *sorted(ROOT.glob("tests/*/README.md")),
    ROOT / "changelog.d/README.md",
]

#: Comments in front of a block that say what becomes of it.
MARKS = ("not run", "run by", "needs", "before", "numbers")

_MARK = re.compile(rf"<!-- ({'|'.join(MARKS)}):\s*(.*?)\s*-->", re.DOTALL)
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<language>\w*)\s*$")
_COMMENT = re.compile(r"^ *<!-- .*?-->[^\S\n]*$", re.MULTILINE | re.DOTALL)
#: A number with its unit, or one that is at least or at most so much.
_NUMBER = re.compile(r"[≥≤]?\b\d+(?:[.,:]\d+)*(?: ?(?:[KMGT]?iB|B|%|us|ms|s|m|h)(?![a-zA-Z]))?")
_SPARKS = re.compile("[ ▁▂▃▄▅▆▇█]+(?=\\|)|(?<=\\|)[ ▁▂▃▄▅▆▇█]+")
_WARNING = re.compile(
    r"^.*(?:: one aggregation every |kernel's own DAMON is running).*\n", re.MULTILINE
)
_INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


@frozen(eq=False)
class Block:
    """A block of code of a page.

    Attributes:
        page: The page.
        line: The number of its first line.
        language: What stands after the backticks; empty if nothing does, or it is indented.
        text: Its lines, without indentation.
        indented: Whether it is marked by its indentation alone: commands of a shell.
        marks: What the page says of it in comments, by the name of the mark.
        follows: The block before, if nothing stands between the two.
    """

    page: Path
    line: int
    language: str
    text: str = field(repr=False)
    indented: bool = False
    marks: Mapping[str, str] = field(factory=dict)
    follows: "Block | None" = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether it is tried by the tests of its language."""
        return "not run" not in self.marks and "run by" not in self.marks

    @property
    def needs(self) -> list[str]:
        """What it needs of the machine, as tests say it."""
        return [each.strip() for each in self.marks.get("needs", "").split(",") if each.strip()]

    @property
    def is_shell(self) -> bool:
        """Whether it consists of commands, without what they print."""
        return self.indented or self.language == "sh"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of code of a page, fenced and indented."""
    text = page.read_text()
    comments = {match.start(): match for match in _COMMENT.finditer(text)}
    lines = text.splitlines(keepends=True)
    found: list[Block] = []
    marks: dict[str, str] = {}
    before: Block | None = None  # as long as only comments and empty lines follow
    blank = True
    place = number = 0
    while number < len(lines):
        line = lines[number]
        if place in comments:
            comment = comments[place][0]
            if mark := _MARK.search(comment):
                marks[mark[1]] = mark[2]
            count = comment.count("\n") + 1
            blank = True
        elif not line.strip():
            count, blank = 1, True
        elif fence := _FENCE.match(line):
            count = 1
            while lines[number + count].strip() != fence["ticks"]:
                count += 1
            inside = lines[number + 1 : number + count]
            indent = len(fence["indent"])
            code = "".join(each[indent:] if each.strip() else "\n" for each in inside)
            before = Block(
                page, number + 2, fence["language"], code, marks=dict(marks), follows=before
            )
            found.append(before)
            marks.clear()
            count, blank = count + 1, False
        elif line.startswith("    ") and blank:
            count = 1
            while number + count < len(lines) and (
                lines[number + count].startswith("    ") or not lines[number + count].strip()
            ):
                count += 1
            while not lines[number + count - 1].strip():
                count -= 1
            code = "".join(each[4:] or "\n" for each in lines[number : number + count])
            before = Block(page, number + 1, "", code, True, dict(marks), before)
            found.append(before)
            marks.clear()
            blank = False
        else:
            count, blank, before = 1, False, None
            marks.clear()
        place += sum(map(len, lines[number : number + count]))
        number += count
    return found


def shows(expected: str, found: str, numbers_vary: bool = False) -> bool:
    """Return whether what was found is what a page shows: `...` is any text, space any space.

    Args:
        expected: What the page shows.
        found: What was printed.
        numbers_vary: Whether a number, with its unit, is any other, and warnings don't count that
            only a busy machine, or one whose kernel monitors too, gives.
    """
    if numbers_vary:
        found = _WARNING.sub("", found)
        expected, found = (_SPARKS.sub("▁", text) for text in (expected, found))
        expected, found = (_NUMBER.sub("#", text) for text in (expected, found))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, found, flags)


def inline_codes(page: Path) -> Iterator[str]:
    """Yield what stands between backticks in the prose of a page."""
    kept = page.read_text().splitlines()
    for block in blocks(page):
        for number in range(block.line - 1, block.line - 1 + block.text.count("\n")):
            kept[number] = ""
    text = re.sub(r"^ *```.*$", "", "\n".join(kept), flags=re.MULTILINE)
    for match in _INLINE.finditer(_COMMENT.sub("", text)):
        yield re.sub(r"\s+", " ", match[1])
