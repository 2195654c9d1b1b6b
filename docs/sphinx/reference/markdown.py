"""Pieces of Markdown."""

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, with cells that may have any character."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Return a text as code, also one with backticks."""
    return f"``{text}``" if "`" in str(text) else f"`{text}`"


def rst(lines: Iterable[str]) -> str:
    """Return directives of Sphinx for Python as a block of a page."""
    return "\n".join(("```{eval-rst}", *lines, "```")) + "\n"
