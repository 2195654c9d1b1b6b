"""Tables that fit a terminal of any width; in a pipe, complete lines for grep."""

import re
from collections.abc import Sequence

from attrs import frozen
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

#: The width of a console without a terminal, so that no line is broken.
_UNBROKEN = 100_000
_GAP = 2
_NUMBER = re.compile(r"\[\d+\]$")
#: The rank of columns such as bars, which only illustrate a number.
DECORATION = 9


@frozen
class Column:
    """A column of a table.

    Attributes:
        title: The title above the column.
        right: Whether cells are aligned to the right, as numbers are.
        least: Minimum width on a narrow terminal; None if cells must not be shortened.
        rank: The order in which a narrow terminal leaves out columns: the highest rank first, 0
            never. A note names the missing columns, except those with rank `DECORATION`.
    """

    title: str
    right: bool = False
    least: int | None = None
    rank: int = 0


def new_console(*, stderr: bool = False) -> Console:
    """Return the console of a report: as wide as the terminal, or unlimited in a pipe."""
    console = Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console


def show_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Text | str]],
    total: Sequence[Text | str] = (),
) -> None:
    """Print a table, with a last row of totals if given.

    On a terminal that is too narrow, cells are shortened as far as their columns allow, and then
    columns are left out; a line below the table names them.
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
        names = ", ".join(missing)
        console.print(Text(f"(no room for {names}; in a pipe all columns are shown)", "dim"))


def _fit(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text | str]]
) -> tuple[list[int], list[int]]:
    """Return the indices of the columns to show, and the widths of all columns."""
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
        # Decoration goes before names are shortened.
        chosen = [i for i in chosen if columns[i].rank < DECORATION]
    while chosen and sum(least[i] + _GAP for i in chosen) - _GAP > console.width:
        worst = max(chosen, key=lambda i: (columns[i].rank, i))
        if columns[worst].rank == 0:
            break
        chosen.remove(worst)
    natural = list(widths)
    surplus = sum(widths[i] + _GAP for i in chosen) - _GAP - console.width
    # The column that can shrink most shrinks first.
    while surplus > 0:
        shrinkable = [i for i in chosen if widths[i] > least[i]]
        if not shrinkable:
            break
        widths[max(shrinkable, key=lambda i: widths[i] - least[i])] -= 1
        surplus -= 1
    # A path that was cut to its end may be shorter than its column: other columns get the room.
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
    # The end of a path is its most specific part.
    end = next(fitting, None)
    if end is not None:
        return Text(ellipsis + end)
    head, plain = ("", plain) if not folders else (ellipsis, plain[folders[-1] :])
    return Text(head + _without_middle(plain, width - len(head), ellipsis))


def _without_middle(text: str, width: int, ellipsis: str) -> str:
    tail = max((width - 1) // 3, 0)
    if (number := _NUMBER.search(text)) is not None and len(number[0]) < width - 3:
        tail = len(number[0])  # The pid distinguishes processes of the same name.
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    return set_cell_size(text, max(width - 1 - cell_len(end), 0)) + ellipsis + end


def bar(share: float, characters: int = 8, *, ascii_only: bool = False) -> str:
    """Return a share, 0.0 to 1.0, as a bar; a bar above 0 is never empty."""
    if ascii_only:
        return "#" * max(round(share * characters), int(share > 0))
    eighths = max(round(share * characters * 8), int(share > 0))
    whole, part = divmod(eighths, 8)
    return ("█" * whole + " ▏▎▍▌▋▊▉"[part]).rstrip()
