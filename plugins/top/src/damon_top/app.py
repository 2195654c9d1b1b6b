"""The screen of ``damon top``."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from damon_core import TARGET, TargetSnapshot, format_duration
from damon_top.lines import failures, head_lines, key_line, notes
from damon_top.messages import Messages
from damon_top.picture import Picture, Watcher
from damon_top.tables import (
    REGION_ORDERS,
    TARGET_ORDERS,
    RegionRow,
    TargetRow,
    region_heading,
    region_line,
    region_rows,
    target_heading,
    target_line,
    target_rows,
    working_sets,
)
from damon_top.widgets import HeatMap, Table

#: Sampling intervals that keys lead to: 1, 2 and 5 times these.
_POWERS_US = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
#: Lines of the messages at the lower end of the screen.
_MOST_NOTES = 4
#: For how long the last line shows what a key did.
_NOTE_S = 5.0

RowT = TypeVar("RowT", TargetRow, RegionRow)

# Lines of keys fit into 80 columns; paragraphs are one line each, and wrapped where they are shown.
_HELP = """\
damon top shows which memory is really used, as it is now.

up, down     select a target, or a region      tab      another table
left, right  the context before or after       s        another order
/            only lines with a text            p space  pause, go on
+  -         longer, shorter sampling interval a        alerts, messages
?            this help                         q        end

Keys for lines act on the table whose heading is marked.

""" + "\n".join(
    (
        "Working set: bytes accessed in the last aggregation. Idle: bytes that were not.",
        "Heat map: addresses up, time across. Each line has as many bytes of resident memory; what "
        "is not mapped or was never touched is left out. The colour or character is the share of "
        "checks that found an access; grey, or ~, where there was no memory then.",
        "Regions: how often each was accessed, and for how long that has been so.",
        "Intervals: sampling, aggregation, update; in brackets those that were asked for.",
        "CPU, slowdown: what monitoring costs, of what it may cost: itself, and the target. Stall: "
        "how long the target's memory map was locked at most. View: what this view costs.",
    )
)


class TextScreen(ModalScreen[None]):
    """A page of text above the view, left with any of the keys that end things."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark,a", "dismiss", "back")
    ]

    def __init__(self, text: Text) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Show the text, which may be longer than the screen."""
        with VerticalScroll():
            yield Static(self._text)
        yield Static(Text("escape: back"))


class TopApp(App[None]):
    """Shows contexts that run, until the user leaves.

    Args:
        watchers: The contexts, at least one.
        messages: Where log records are.
        refresh_us: Microseconds between two looks, and what a column of the heat map stands for.
        colour: Colours and block characters instead of shades by characters.
        by: The labels by which targets are added up to lines; ``target`` is the name.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "damon top"
    CSS = """
    #head { height: 2; }
    #keys { height: 1; }
    #heat { height: 1fr; }
    #failures, #notes { display: none; }
    #failures { max-height: 8; color: $error; text-style: bold; }
    #head, #notes, #keys { text-wrap: nowrap; text-overflow: ellipsis; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.shown { display: block; }
    TextScreen { background: $background; padding: 1 2; }
    .plain #head, .plain #notes, .plain #keys { text-overflow: clip; }
    .plain, .plain #filter, TextScreen.plain { background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True, show=False),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "unfilter", "all lines", show=False),
        Binding("p,space", "pause", "pause"),
        Binding("plus,equals_sign", "sampling(1)", "sample less often"),
        Binding("minus", "sampling(-1)", "sample more often"),
        Binding("left", "context(-1)", "context before"),
        Binding("right", "context(1)", "context after"),
        Binding("a", "messages", "alerts"),
        Binding("question_mark", "help", "help"),
    ]

    def __init__(
        self,
        watchers: Sequence[Watcher],
        messages: Messages,
        *,
        refresh_us: int,
        colour: bool,
        by: Sequence[str] = (TARGET,),
    ) -> None:
        # Without colours the terminal's own; Textual's NO_COLOR isn't enough for that.
        super().__init__(ansi_color=None if colour else True)
        self._watchers = watchers
        self._messages = messages
        self._refresh_us = refresh_us
        self._colour = colour
        self._by = by
        self._pictures: Sequence[Picture] = ()
        self._current = 0  # which context is shown
        self._selected: dict[str, str] = {}  # which target, of each context
        self._names: Sequence[str] = ()  # of the targets that are shown
        # The widgets themselves, as a query looks at the screen on top only.
        self._head = Static(id="head")
        self._tables = {name: Table(id=name, colour=colour) for name in ("targets", "regions")}
        self._heat = HeatMap(id="heat", column_us=refresh_us, colour=colour)
        self._failures = Static(Text(), id="failures")
        self._notes = Static(Text(), id="notes")
        self._entry = Input(id="filter", placeholder="only lines with this text", compact=True)
        self._keys = Static(id="keys")
        self._orders = {"targets": list(TARGET_ORDERS), "regions": list(REGION_ORDERS)}
        self._texts: dict[str, str] = {"targets": "", "regions": ""}
        self._filtered = "targets"  # whose filter is being written
        self._paused = False
        self._note, self._note_until_s = "", 0.0
        self._events: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._host = socket.gethostname()
        self._spent_s = time.monotonic(), time.thread_time()
        self._view_cpu = 0.0

    # -- life --------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield self._head
        yield self._tables["targets"]
        yield self._heat
        yield self._tables["regions"]
        yield self._failures
        yield self._notes
        yield self._entry
        yield self._keys

    def on_mount(self) -> None:
        """Begin to look."""
        self._events = asyncio.get_running_loop()
        if self._stopped:
            self.exit()
        self.set_class(not self._colour, "plain")
        self.screen.set_class(not self._colour, "plain")
        self._tables["targets"].focus()
        self.set_interval(self._refresh_us / 1e6, self.look)
        self.look()

    def on_resize(self) -> None:
        """Give the tables their shares of another screen."""
        if self._pictures:
            self._show()

    def stop(self) -> None:
        """End the view; for handlers of signals."""
        self._stopped = True
        if self._events is not None and not self._events.is_closed():
            self._events.call_soon_threadsafe(self.exit)

    def look(self) -> None:
        """Take new pictures and show them, unless paused."""
        before_s, now_s = self._spent_s, (time.monotonic(), time.thread_time())
        self._spent_s = now_s
        self._view_cpu = (now_s[1] - before_s[1]) / max(now_s[0] - before_s[0], 1e-3)
        if not (self._paused and self._pictures):
            self._pictures = [watcher.look() for watcher in self._watchers]
        self._show()

    # -- what is shown -----------------------------------------------------------------

    @property
    def picture(self) -> Picture:
        """The picture that is shown."""
        return self._pictures[self._current]

    def _show(self) -> None:
        """Show the pictures with orders, filters and selections as they are."""
        picture, several = self.picture, len(self._pictures) > 1
        rows = self._chosen("targets", target_rows(picture, self._by), TARGET_ORDERS)
        self._names = [row.name for row in rows]
        selected = self._selected.get(picture.name, "")
        index = self._names.index(selected) if selected in self._names else 0
        target = self._target(rows[index].members[0]) if rows else None
        regions = self._chosen(
            "regions", region_rows(target) if target is not None else [], REGION_ORDERS
        )
        targets, table = self._tables["targets"], self._tables["regions"]
        # The heat map has what the tables leave, which is a third of the screen or more.
        targets.styles.height = 1 + max(1, min(len(rows), self.size.height // 3 - 4))
        table.styles.height = 1 + max(1, min(len(regions), self.size.height // 3 - 2))
        targets.show(
            partial(target_heading, count=len(rows), by=self._by),
            [partial(self._target_line, row) for row in rows],
            index,
        )
        self._heat.show(picture, target)
        table.show(
            partial(region_heading, count=len(regions)),
            [partial(region_line, row, colour=self._colour) for row in regions],
            table.selected,
        )
        place = f" {self._current + 1}/{len(self._pictures)}" if several else ""
        self._head.update(
            head_lines(
                picture,
                self._watchers[self._current].wanted,
                host=self._host,
                place=place,
                paused=self._paused,
                view_cpu=self._view_cpu,
            ),
            layout=False,
        )
        for lines, text in (
            (self._failures, failures(self._pictures)),
            (self._notes, notes(self._pictures, self._messages.records, _MOST_NOTES)),
        ):
            if lines.content != text:
                lines.update(text)
                lines.display = bool(text)
        self._show_keys()

    def _show_keys(self) -> None:
        name = self._focused_name
        note = self._note if time.monotonic() < self._note_until_s else ""
        several = len(self._watchers) > 1
        self._keys.update(key_line(self._orders[name][0], self._texts[name], note, several))

    def _target(self, name: str) -> TargetSnapshot | None:
        snapshot = self.picture.snapshot
        targets = snapshot.targets if snapshot is not None else ()
        return next((target for target in targets if target.name == name), None)

    def _target_line(self, row: TargetRow, width: int) -> Text:
        sizes = working_sets(self.picture, row.members, width, self._refresh_us)
        return target_line(row, sizes, width, self._colour)

    def _chosen(
        self, table: str, rows: Sequence[RowT], orders: Mapping[str, Callable[[RowT], Any]]
    ) -> list[RowT]:
        """Return the rows that the filter of a table lets through, in its order."""
        text = self._texts[table].casefold()
        found = [row for row in rows if text in row.name.casefold()]
        return sorted(found, key=orders[self._orders[table][0]])

    @property
    def _focused_name(self) -> str:
        """The table that keys for lines act on."""
        return "regions" if self._tables["regions"].has_focus else "targets"

    # -- keys --------------------------------------------------------------------------

    @on(Table.Selected)
    def _select(self, event: Table.Selected) -> None:
        """Show the regions of the target that was selected."""
        if event.table.id == "targets":
            self._selected[self.picture.name] = self._names[event.index]
            self._tables["regions"].selected = 0
            self._act()

    def on_descendant_focus(self) -> None:
        """Show the order and the filter of the table that has the focus now."""
        if self._pictures:
            self._show_keys()

    def action_sort(self) -> None:
        """Put the table in the next order."""
        orders = self._orders[self._focused_name]
        orders.append(orders.pop(0))
        self._act()

    def action_pause(self) -> None:
        """Let the picture stand still, or go on."""
        self._paused = not self._paused
        self.look()
        self._act()

    def action_context(self, by: int) -> None:
        """Show another context."""
        self._current = (self._current + by) % len(self._watchers)
        self._tables["regions"].selected = 0
        self._act()

    def action_sampling(self, by: int) -> None:
        """Ask for another sampling interval, with as many checks in an aggregation."""
        watcher = self._watchers[self._current]
        sampling_us = stepped(self.picture.intervals.sampling_us, by)
        watcher.want(sampling_us)
        self._act(f"a sampling interval of {format_duration(sampling_us)} is wanted from now on")

    def action_filter(self) -> None:
        """Ask for a text that lines must have."""
        entry = self._entry
        self._filtered = self._focused_name
        entry.value = self._texts[self._filtered]
        entry.add_class("shown")
        entry.focus()

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        """Filter while the text is written."""
        self._texts[self._filtered] = event.value
        self._act()

    @on(Input.Submitted)
    def _filter_written(self) -> None:
        """Go back to the table."""
        self._entry.remove_class("shown")
        self._tables[self._filtered].focus()

    def action_unfilter(self) -> None:
        """Show all lines again."""
        entry = self._entry
        name = self._filtered if entry.has_focus else self._focused_name
        self._texts[name] = entry.value = ""
        entry.remove_class("shown")
        self._tables[name].focus()
        self._act()

    def action_messages(self) -> None:
        """Show all alerts and messages."""
        reported = [failures(self._pictures), notes(self._pictures, self._messages.records, None)]
        text = Text("\n").join(filter(None, reported))
        self.push_screen(TextScreen(text or Text("no alerts, no messages")))

    def action_help(self) -> None:
        """Show what keys and columns mean."""
        self.push_screen(TextScreen(Text(_HELP)))

    def _act(self, note: str = "") -> None:
        """Show what a key has done."""
        self._note, self._note_until_s = note, time.monotonic() + _NOTE_S
        self._show()


def stepped(sampling_us: int, by: int) -> int:
    """Return the next longer (1) or shorter (-1) sampling interval: 1, 2 or 5 times 10^n us."""
    steps = [step * power_us for power_us in _POWERS_US for step in (1, 2, 5)]
    if by > 0:
        return next((step for step in steps if step > sampling_us), steps[-1])
    return next((step for step in reversed(steps) if step < sampling_us), steps[0])
