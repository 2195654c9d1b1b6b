"""Tables on a terminal of any width; elsewhere whole lines, for grep."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import click
from attrs import frozen
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

#: Characters of a line that isn't broken.
_UNBROKEN = 100_000
_GAP = 2
_NUMBER = re.compile(r"\[\d+\]$")
#: The rank of columns that only please the eye.
DECORATION = 9


@frozen
class Column:
    """A column of a table.

    Attributes:
        title: What stands above it.
        right: Whether its cells end at its right side, as numbers do.
        least: How far it may be shortened on narrow terminals; None not at all.
        rank: On terminals that are narrower still the highest are left out first; 0 never. Of
            those with rank `DECORATION` nothing is said then.
    """

    title: str
    right: bool = False
    least: int | None = None
    rank: int = 0


def new_console(*, stderr: bool = False) -> Console:
    """Return the console of a report: as wide as the terminal, or without end elsewhere."""
    console = Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console


def limited(usual: int, rows: str = "rows") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add ``--limit`` and ``--json`` to a command, which gets `limit`, None for all, and `as_json`.

    Args:
        usual: So many rows on a terminal, where nobody says otherwise.
        rows: What is limited.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--limit",
            type=click.IntRange(min=0),
            metavar="N",
            help=f"At most N {rows}, 0 for all [default: {usual} on a terminal, elsewhere all].",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
        @functools.wraps(command)
        def with_limit(*args: Any, limit: int | None, as_json: bool, **values: Any) -> None:
            if limit is None and new_console().is_terminal and not as_json:
                limit = usual
            command(*args, limit=limit or None, as_json=as_json, **values)

        return with_limit

    return decorate


def show_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Text | str]],
    total: Sequence[Text | str] = (),
) -> None:
    """Print a table; below it a last row, if there is one.

    On a terminal that is too narrow, cells are shortened where that is allowed, and then columns
    left out; a line below says which.
    """
    everything = [*rows, total] if total else rows
    chosen, widths = _fit(console, columns, everything)
    ellipsis = "…" if console.encoding.startswith("utf") else "~"

    def line(cells: Sequence[Text | str], style: str = "") -> Text:
        text = Text(style=style)
        for number, index in enumerate(chosen):
            cell = _shortened(cells[index], widths[index], ellipsis)
            blank = " " * (widths[index] - cell.cell_len)
            text.append(" " * _GAP if number else "")
            text.append_text(Text(blank) + cell if columns[index].right else cell + Text(blank))
        text.rstrip()
        return text

    console.print(line([column.title for column in columns], "bold"))
    for row in rows:
        console.print(line(row))
    if total:
        console.print(line(total, "bold"))
    missing = [
        column.title
        for i, column in enumerate(columns)
        if i not in chosen and column.rank < DECORATION
    ]
    if missing:
        told = ", ".join(missing)
        console.print(Text(f"(no room for {told}; in a pipe everything is there)", "dim"))


def _fit(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text | str]]
) -> tuple[list[int], list[int]]:
    """Return which columns to show, and how wide."""
    widths = [
        max([cell_len(column.title), *(cell_len(str(row[i])) for row in rows)])
        for i, column in enumerate(columns)
    ]
    chosen = list(range(len(columns)))
    least = [
        width if column.least is None else min(width, max(column.least, cell_len(column.title)))
        for column, width in zip(columns, widths, strict=True)
    ]
    if sum(width + _GAP for width in widths) - _GAP > console.width:
        # Before names are cut for it.
        chosen = [i for i in chosen if columns[i].rank < DECORATION]
    while chosen and sum(least[i] + _GAP for i in chosen) - _GAP > console.width:
        worst = max(chosen, key=lambda i: (columns[i].rank, i))
        if columns[worst].rank == 0:
            break
        chosen.remove(worst)
    natural = list(widths)
    surplus = sum(widths[i] + _GAP for i in chosen) - _GAP - console.width
    # What can give most gives first.
    while surplus > 0:
        giving = [i for i in chosen if widths[i] > least[i]]
        if not giving:
            break
        widths[max(giving, key=lambda i: widths[i] - least[i])] -= 1
        surplus -= 1
    # A path that was cut to its end may be shorter than it had to be: others get the room.
    spare = 0
    for i in [*chosen, *chosen]:
        room = min(widths[i] + spare, natural[i])
        cells = [_shortened(row[i], room, "~").cell_len for row in rows]
        spare += widths[i]
        widths[i] = max([cell_len(columns[i].title), *cells])
        spare -= widths[i]
    return chosen, widths


def _shortened(cell: Text | str, width: int, ellipsis: str) -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(cell)
    if text.cell_len <= width:
        return text
    plain = text.plain
    folders = [place for place, each in enumerate(plain) if each == "/"]
    fitting = (plain[place:] for place in folders if cell_len(plain[place:]) < width)
    # Of a path the end tells most.
    end = next(fitting, None)
    if end is not None:
        return Text(ellipsis + end)
    head, plain = ("", plain) if not folders else (ellipsis, plain[folders[-1] :])
    return Text(head + _without_middle(plain, width - len(head), ellipsis))


def _without_middle(text: str, width: int, ellipsis: str) -> str:
    tail = max((width - 1) // 3, 0)
    if (number := _NUMBER.search(text)) is not None and len(number[0]) < width - 3:
        tail = len(number[0])  # It tells a process from others of its name.
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    return set_cell_size(text, max(width - 1 - cell_len(end), 0)) + ellipsis + end


def bar(share: float, characters: int = 8, *, ascii_only: bool = False) -> str:
    """Return a share, 0.0 to 1.0, as a bar; what isn't nothing is seen."""
    if ascii_only:
        return "#" * max(round(share * characters), int(share > 0))
    eighths = max(round(share * characters * 8), int(share > 0))
    whole, part = divmod(eighths, 8)
    return ("█" * whole + " ▏▎▍▌▋▊▉"[part]).rstrip()
