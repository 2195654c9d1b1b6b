"""The parts of the screen: a table whose lines are made when they are seen, and the heat map."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from damon_cli.heat import block_lines, heat_key, shade_lines
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from damon_core import TargetSnapshot, format_size
from damon_top.folding import HeatGrid, row_edges, still_fit
from damon_top.lines import why_nothing
from damon_top.picture import Picture
from damon_top.tables import area_names, cut, padded

#: What stands for memory that wasn't there at a time: less loud than where something is amiss.
_NOT_THERE, _NOT_THERE_COLOUR = "~", "#2a2a2a"
#: Room for what is at an address, below which it isn't worth its place.
_LEAST_NAME = 10

#: A line of a table, made for a width.
Line = Callable[[int], Text]


class Table(Widget, can_focus=True):
    """A heading and lines, of which one is selected and always seen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "move(-1000000)", "first", show=False),
        Binding("end,G", "move(1000000)", "last", show=False),
    ]

    class Selected(Message):
        """Another line was selected.

        Attributes:
            table: The table.
            index: The line.
        """

        def __init__(self, table: "Table", index: int) -> None:
            super().__init__()
            self.table = table
            self.index = index

        @property
        def control(self) -> "Table":
            """The table."""
            return self.table

    selected = reactive(0)

    def __init__(self, *, id: str, colour: bool) -> None:
        super().__init__(id=id)
        self._colour = colour
        self._heading: Callable[[int], str] = lambda _width: ""
        self._lines: Sequence[Line] = ()
        self._first = 0
        self._drawn: tuple[object, Text] | None = None

    def show(self, heading: Callable[[int], str], lines: Sequence[Line], selected: int) -> None:
        """Show other lines, one of them selected."""
        self._heading, self._lines = heading, lines
        self.set_reactive(Table.selected, max(0, min(selected, len(lines) - 1)))
        self._drawn = None
        self.refresh()

    def action_move(self, by: int) -> None:
        """Select another line."""
        index = max(0, min(self.selected + by, len(self._lines) - 1))
        if index != self.selected:
            self.selected = index
            self.post_message(self.Selected(self, index))

    def action_page(self, by: int) -> None:
        """Select a line a page further."""
        self.action_move(by * max(self._room - 1, 1))

    @property
    def _room(self) -> int:
        return max(self.size.height - 1, 0)

    def render(self) -> Text:
        """Return the heading and the lines that there is room for."""
        state = self.size, self.selected, self.has_focus
        if self._drawn is None or self._drawn[0] != state:
            self._drawn = state, self._draw(self.size.width, self._room)
        return self._drawn[1]

    def _draw(self, width: int, room: int) -> Text:
        # The selected line is seen, and no line is left free at the end.
        self._first = max(self._first, self.selected - room + 1)
        self._first = max(min(self._first, self.selected, len(self._lines) - room), 0)
        heading = self._heading(width)[:width].ljust(width)
        marked = "bold reverse" if self.has_focus else "bold on grey23" if self._colour else "bold"
        lines = [Text(heading, marked)]
        shown = self._lines[self._first : self._first + room]
        for index, line in enumerate(shown, self._first):
            chosen = index == self.selected
            text = Text("> " if chosen else "  ").append_text(line(width))
            text.truncate(width, pad=True)
            if chosen and self.has_focus:
                text.stylize("bold")
            lines.append(text)
        return Text("\n").join(lines)


class HeatMap(Widget):
    """The access frequency of a target's memory: time across, addresses up.

    Args:
        column_us: The time that a column stands for.
        colour: Colours instead of shades of characters.
    """

    def __init__(self, *, id: str, column_us: int, colour: bool) -> None:
        super().__init__(id=id)
        self._column_us = column_us
        self._colour = colour
        self._picture: Picture | None = None
        self._target: TargetSnapshot | None = None
        self._grid = HeatGrid("", np.zeros(0, np.int64))
        self._rows = 0  # lines that the grid was made for
        self._drawn: tuple[object, Text] | None = None

    def show(self, picture: Picture, target: TargetSnapshot | None) -> None:
        """Show a target of a picture, or nothing."""
        if picture is not self._picture or target is not self._target:
            self._picture, self._target, self._drawn = picture, target, None
            self.refresh()

    def render(self) -> Text:
        """Return the map with its heading, the addresses and the time."""
        target, picture, size = self._target, self._picture, self.size
        if picture is None or size.height < 3:
            return Text("")
        if target is None:
            return Text(why_nothing(picture))
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = size, self._draw(picture, target, *size)
        return self._drawn[1]

    def _draw(self, picture: Picture, target: TargetSnapshot, width: int, height: int) -> Text:
        self._fold(target, height - 2)
        edges = self._grid.edges
        halves = len(edges) - 1 > self._rows  # two rows in a line
        labels = self._labels(target, edges[:-1][:: 1 + halves].tolist(), width)
        left = max((len(label) for label in labels), default=0) + 1
        columns = max(width - left, 1)
        grid = self._grid.draw(
            picture.frames, now_us=picture.now_us, columns=columns, column_us=self._column_us
        )
        lines = [self._heading(target, width)]
        if self._colour:
            cells = block_lines(grid if halves else np.repeat(grid, 2, axis=0), _NOT_THERE_COLOUR)
        else:
            cells = [Text(line) for line in shade_lines(grid, _NOT_THERE)]
        indent = " " * (columns - grid.shape[1])
        for label, line in zip(reversed(labels), cells, strict=True):
            lines.append(Text(f"{label:<{left}}{indent}").append_text(line))
        lines.append(Text(" " * left + self._ruler(columns), "dim"))
        return Text("\n").join(lines)

    def _fold(self, target: TargetSnapshot, rows: int) -> None:
        """Divide the target's addresses into so many lines, unless they are as before."""
        grid = self._grid
        same = grid.target == target.name and self._rows == rows
        if same and still_fit(target, grid.edges):
            return
        edges = row_edges(target, 2 * rows) if self._colour else None
        if edges is None or len(edges) - 1 < 2 * rows:  # too few pages for half lines
            edges = row_edges(target, rows)
        if not (same and np.array_equal(edges, grid.edges)):
            self._grid, self._rows = HeatGrid(target.name, edges), rows

    def _heading(self, target: TargetSnapshot, width: int) -> Text:
        """Return the line above the map: whose memory it is, and what the shades mean."""
        spans = format_size(int(target.end[-1] - target.start[0])) if len(target) else "0 B"
        key = heat_key(self._colour)
        size = f": {format_size(target.total_bytes)} in {spans}"
        room = width - len(key) - 2
        left = Text(f"{cut(target.name, room - len(size))}{size}", "bold")
        left.truncate(room, pad=True)
        return left.append("  ").append_text(key)

    def _labels(self, target: TargetSnapshot, starts: Sequence[int], width: int) -> list[str]:
        """Return the first address of each line, and what is there if there is room."""
        addresses = [f"{start:012x}" for start in starts]
        room = min(24, (width - 80) // 3)
        if room < _LEAST_NAME or not target.areas:
            return addresses
        name_of = area_names(target.areas)
        names = [name_of(start, start + 1) for start in starts]
        # Each name once, at the highest of its lines.
        shown = [
            "" if name == above else name
            for name, above in zip(names, [*names[1:], ""], strict=True)
        ]
        return [
            f"{address} {padded(name, room)}"
            for address, name in zip(addresses, shown, strict=True)
        ]

    def _ruler(self, columns: int) -> str:
        """Return the line that says how long ago each column was."""
        line = "now".rjust(columns)
        step = 10 if columns < 100 else 20
        for ago in range(step, columns - 4, step):
            text = f"-{ago * self._column_us / 1e6:g}s"
            end = columns - ago
            if end >= len(text):
                line = line[: end - len(text)] + text + line[end:]
        return line
