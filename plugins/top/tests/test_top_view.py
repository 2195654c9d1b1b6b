"""The screen, drawn from contexts that have run on virtual time, or that run."""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from attrs import frozen
from damon_top.app import TopApp, stepped
from damon_top.history import History
from damon_top.messages import Messages
from damon_top.picture import Watcher
from textual.pilot import Pilot

from damon_core import Context, DamonError, HookContext, Intervals, hookimpl, start
from damon_core.testing import ScriptedMemory, ScriptedRegion, eventually

MIB = 1 << 20
HEAP = 0x5555_0000_0000
STACK = 0x7FFC_0000_0000
SHORT = Intervals(50_000, 100_000, 1_000_000)

Make = Callable[..., Context]
Show = Callable[..., TopApp]
Use = Callable[[Pilot[None]], Coroutine[Any, Any, None]]


@pytest.fixture
def show(history: History) -> Show:
    """Return a maker of views of contexts."""

    def make(
        *contexts: Context,
        colour: bool = False,
        messages: Messages | None = None,
        by: tuple[str, ...] = ("target",),
    ) -> TopApp:
        return TopApp(
            [Watcher(context, history) for context in contexts],
            messages or Messages(),
            refresh_us=1_000_000,
            colour=colour,
            by=by,
        )

    return make


class Labelled:
    """A callback that labels each target with the first letter of its name, but c."""

    @hookimpl
    def label_targets(self, context: HookContext) -> None:
        for target in context.targets:
            letter = target.name[0]
            target.labels = {} if letter == "c" else {"unit": f"{letter}.service"}


def use(app: TopApp, act: Use, size: tuple[int, int] = (80, 24)) -> None:
    """Run a view without a terminal, act on it, and leave it."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await act(pilot)

    asyncio.run(run())


async def press(pilot: Pilot[None], *keys: str) -> str:
    """Press keys and return the screen."""
    await pilot.press(*keys)
    await pilot.pause()
    return text(pilot.app)


def text(app: Any) -> str:
    """Return what is on the screen."""
    strips = app.screen._compositor.render_strips()  # noqa: SLF001  # Textual has no public way
    return "\n".join(strip.text.rstrip() for strip in strips)


def after(app: TopApp, *keys: str, size: tuple[int, int] = (80, 24)) -> str:
    """Return the screen after some keys."""
    found: list[str] = []

    async def act(pilot: Pilot[None]) -> None:
        found.append(await press(pilot, *keys))

    use(app, act, size)
    return found[0]


def process(heat: float | Callable[[int], float] = 1.0) -> list[Any]:
    """Return the memory of a small process."""
    return [
        (HEAP, 6 * MIB, heat, 6 * MIB, "[heap]"),
        (HEAP + 6 * MIB, 2 * MIB, 0.3, 2 * MIB, "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        (HEAP + 64 * MIB, 64 * MIB, 0.0, 0, "[anon]"),
        (STACK, MIB, 0.9, MIB, "[stack]"),
    ]


class TestScreen:
    def test_80_columns_without_colour(self, ended: Make, show: Show) -> None:
        """The whole screen, character by character, but what the machine itself adds."""
        app = show(ended({"redis[12]": process(lambda n: float(n % 4 == 0))}, name="db"))
        shown = re.sub(r"damon top  \S+", "damon top  HOST", after(app))
        shown = re.sub(r"view \d+\.\d %", "view 0.0 %", shown)
        assert shown == SCREEN
        assert shown.isascii()

    @pytest.mark.parametrize("colour", [True, False])
    @pytest.mark.parametrize("size", [(80, 24), (200, 50), (60, 15), (20, 6), (1, 1)])
    def test_any_size(self, ended: Make, show: Show, colour: bool, size: tuple[int, int]) -> None:
        """No line is longer than the screen, however small or large that is."""
        app = show(ended({"a": process()}), colour=colour)
        lines = after(app, size=size).split("\n")
        assert len(lines) == size[1]
        assert max(map(len, lines)) <= size[0]

    def test_colours(self, ended: Make, show: Show) -> None:
        """With colours the map has half blocks, and bars instead of shades."""
        shown = after(show(ended({"a": process()}), colour=True))
        assert "▀" in shown
        assert "█" in shown

    def test_names_on_wide_screens(self, ended: Make, show: Show) -> None:
        """Where there is room, the map shows what lies at its addresses."""
        shown = after(show(ended({"a": process()})), size=(160, 40))
        assert re.search(r"^7ffc[0-9a-f]{8} \[stack\] +[.:=+*#%@-]", shown, re.MULTILINE)

    def test_many_targets(self, ended: Make, show: Show) -> None:
        """Of 300 targets those with the largest working sets are seen, and their number."""
        app = show(ended({f"worker[{n}]": [(HEAP, n * MIB, 1.0)] for n in range(1, 301)}, 3))
        lines = after(app).splitlines()
        assert "TARGET (300)" in lines[2]
        assert [line[:36].split()[-2:] for line in lines[3:6]] == [
            ["worker[300]", "300"],
            ["worker[299]", "299"],
            ["worker[298]", "298"],
        ]

    def test_a_page(self, ended: Make, show: Show) -> None:
        """A target of one page is one line of the map."""
        shown = after(show(ended({"a": [(HEAP, 4096, 0.5)]}))).splitlines()
        assert len([line for line in shown if line.startswith("5555")]) == 1

    def test_nothing_resident(self, ended: Make, show: Show) -> None:
        """Memory that was never touched leaves the map empty."""
        shown = after(show(ended({"a": [(HEAP, MIB, 0.0, 0)]})))
        assert "a: 0 B in 1.0 MiB" in shown

    def test_before_the_first_aggregation(self, show: Show, history: History) -> None:
        """A context that has reported nothing yet is shown with its headings."""
        shown = after(show(Context(object(), [history], name="waiting")))
        assert "waiting (object)" in shown
        assert "TARGET (0)" in shown

    def test_while_the_first_aggregation_lasts(self, show: Show, history: History) -> None:
        """The view says what it waits for, and how long that may take."""
        memory = ScriptedMemory({"memory": [ScriptedRegion(0, 1 << 30)]})
        intervals = Intervals(1_000_000, 3_600_000_000, 3_600_000_000)
        with Context(memory, [history], intervals=intervals) as context:
            start(context, exclusive=False)
            shown = after(show(context))
        assert "No results yet: the first aggregation has to end; the interval is 1h." in shown

    def test_while_there_is_nothing(self, show: Show, history: History) -> None:
        """Aggregations without any target are said to be that."""
        with Context(ScriptedMemory({}), [history], intervals=SHORT) as context:
            start(context, exclusive=False)
            eventually(lambda: context.snapshot is not None)
            shown = after(show(context))
        assert "There is nothing to monitor now." in shown


class TestKeys:
    def test_targets_are_selected_with_arrows(self, ended: Make, show: Show) -> None:
        """The map and the regions are those of the selected target."""
        context = ended({"a": [(HEAP, 2 * MIB, 1.0)], "b": [(STACK, MIB, 0.5)]})
        assert "\na: 2.0 MiB" in after(show(context))
        shown = after(show(context), "down")
        assert "\nb: 1.0 MiB" in shown
        assert "\n> b " in shown
        assert "7ffc00000000      1.0 MiB" in re.sub(" +", lambda m: m[0][-6:], shown)

    def test_sort(self, ended: Make, show: Show) -> None:
        """Each press puts the targets in the next order, and the last line says which."""
        app = show(ended({"big": [(0, 9 * MIB, 0.0), (STACK, MIB, 1.0)], "a": [(0, 5 * MIB, 1.0)]}))
        seen = []

        async def act(pilot: Pilot[None]) -> None:
            shown = text(pilot.app)
            for _ in range(4):
                order = re.findall(r"sort: (working set|idle|resident|name)", shown)[0]
                first = shown.splitlines()[3].split()
                seen.append((order, first[1] if first[0] == ">" else first[0]))
                shown = await press(pilot, "s")

        use(app, act)
        assert seen == [
            ("working set", "a"),
            ("idle", "big"),
            ("resident", "big"),
            ("name", "a"),
        ]

    def test_the_selected_target_stays_selected_when_the_order_changes(
        self, ended: Make, show: Show
    ) -> None:
        """It is the target that is selected, not its line."""
        app = show(ended({"a": [(0, 2 * MIB, 1.0)], "b": [(STACK, 3 * MIB, 0.0)]}))
        shown = after(app, "down", "s")
        assert "\nb: 3.0 MiB" in shown
        assert shown.splitlines()[3].startswith("> b")

    def test_keys_act_on_the_table_in_focus(self, ended: Make, show: Show) -> None:
        """After tab, sorting is that of the regions."""
        shown = after(show(ended({"a": process()})), "tab", "s", "s", "s")
        assert "sort: address" in shown
        region = shown.splitlines()[shown.splitlines().index(_line(shown, "REGION")) + 1]
        assert region.split()[1] == f"{HEAP:x}"

    def test_filter(self, ended: Make, show: Show) -> None:
        """Only targets whose name has the text are shown, while it is written already."""
        app = show(ended({"redis[1]": process(), "nginx[2]": process(0.5)}))
        shown = after(app, "slash", "N", "g", "i")
        assert "TARGET (1)" in shown
        assert "nginx" in shown
        assert "redis" not in shown

    def test_filter_of_regions(self, ended: Make, show: Show) -> None:
        """Regions are found by what they belong to; enter goes back to the keys."""
        shown = after(show(ended({"a": process()})), "tab", "slash", *"libc", "enter", "s")
        assert "REGION (1)" in shown
        assert "filter: libc" in shown
        assert "sort: coldest" in shown

    def test_escape_ends_a_filter(self, ended: Make, show: Show) -> None:
        """All lines are there again."""
        app = show(ended({"redis[1]": process(), "nginx[2]": process(0.5)}))
        shown = after(app, "slash", "x", "y", "escape")
        assert "TARGET (2)" in shown
        assert "filter:" not in shown

    def test_a_filter_that_nothing_passes(self, ended: Make, show: Show) -> None:
        """No lines at all are no failure."""
        shown = after(show(ended({"a": process()})), "slash", "x", "y")
        assert "TARGET (0)" in shown

    def test_contexts(self, ended: Make, show: Show) -> None:
        """Left and right go from context to context, around the end."""
        app = show(ended({"a": process()}, name="one"), ended({"b": process()}, name="two"))
        seen = []

        async def act(pilot: Pilot[None]) -> None:
            for key in ("right", "right", "left"):
                seen.extend(re.findall(r"(one|two) ./2", await press(pilot, key)))

        use(app, act)
        assert seen == ["two", "one", "two"]

    @pytest.mark.parametrize("key", ["p", "space"])
    def test_pause(self, key: str, show: Show, running: Context) -> None:
        """The picture stands still while monitoring goes on, until the next press."""
        app = show(running)

        async def act(pilot: Pilot[None]) -> None:
            assert "paused" in await press(pilot, key)
            number = shown_number(app)
            await until(lambda: running.stats.aggregations > number + 3)
            app.look()
            assert shown_number(app) == number
            assert "paused" not in await press(pilot, key)
            assert shown_number(app) > number

        use(app, act)

    def test_sampling(self, show: Show, running: Context) -> None:
        """Plus and minus commit the next interval, and the aggregation keeps its checks."""
        app = show(running)

        async def act(pilot: Pilot[None]) -> None:
            shown = await press(pilot, "plus")
            assert "a sampling interval of 100ms is wanted from now on" in shown
            await until(lambda: running.intervals.sampling_us == 100_000)
            assert running.intervals.aggregation_us == 200_000
            app.look()
            await press(pilot, "minus")
            await until(lambda: running.intervals.sampling_us == 50_000)

        use(app, act)

    def test_help(self, ended: Make, show: Show) -> None:
        """The question mark explains, and escape leads back; the view goes on below."""
        app = show(ended({"a": process()}))

        async def act(pilot: Pilot[None]) -> None:
            shown = await press(pilot, "question_mark")
            assert "longer, shorter sampling interval" in shown
            app.look()
            assert "TARGET" in await press(pilot, "escape")

        use(app, act)

    @pytest.mark.parametrize("key", ["q", "ctrl+c"])
    def test_quit(self, ended: Make, show: Show, key: str) -> None:
        """Both end the view as a success, also from within the filter's line."""
        app = show(ended({"a": process()}))

        async def act(pilot: Pilot[None]) -> None:
            await pilot.press(*(["slash"] if key == "ctrl+c" else []), key)

        use(app, act)
        assert app.return_code == 0
        assert app._exit  # noqa: SLF001  # Textual has no public way

    def test_stop_from_another_thread(self, ended: Make, show: Show) -> None:
        """What signals do: the view ends, even if it has only just begun."""
        app = show(ended({"a": process()}))
        app.stop()

        async def act(pilot: Pilot[None]) -> None:
            await until(lambda: app._exit)  # noqa: SLF001  # Textual has no public way

        use(app, act)


@frozen
class Firing:
    name: str
    severity: str = "warning"
    summary: str = "idle memory of redis: 80.0 %, above 50.0 %"


class Watches:
    """A third party's callback that reports what fires."""

    def __init__(self, *alerts: Firing) -> None:
        self.alerts = alerts

    def firing(self, context: Context) -> tuple[Firing, ...]:
        return self.alerts


class TestAttention:
    def test_alerts_of_any_callback(self, ended: Make, show: Show) -> None:
        """What callbacks report in `firing` is shown with name, severity and summary."""
        app = show(ended({"a": process()}, callbacks=[Watches(Firing("mostly-cold"))]))
        assert "ALERT mostly-cold (warning): idle memory of redis: 80.0 %, above 50.0 %" in after(
            app
        )

    def test_more_alerts_than_lines(self, ended: Make, show: Show) -> None:
        """The last line says how many others there are; a key shows them all."""
        alerts = Watches(*(Firing(f"alert-{n}") for n in range(9)))
        context = ended({"a": process()}, callbacks=[alerts])
        shown = after(show(context))
        assert "alert-2" in shown
        assert "alert-3" not in shown
        assert "and 6 more alerts: press a" in shown
        assert "alert-8" in after(show(context), "a")

    def test_log_messages(self, ended: Make, show: Show) -> None:
        """Records are lines of the view, and reach the usual handlers afterwards."""
        messages = Messages()
        usual = Messages()
        root = logging.getLogger()
        root.addHandler(usual)
        try:
            with messages.in_place_of_others():
                logging.getLogger("somebody").warning("the disk is %s", "full")
                shown = after(show(ended({"a": process()}), messages=messages))
                assert not usual.records
        finally:
            root.removeHandler(usual)
        assert re.search(r"^\d\d:\d\d:\d\d warning: the disk is full", shown, re.MULTILINE)
        assert [record.getMessage() for record in usual.records] == ["the disk is full"]

    def test_a_failure_is_told_whole(self, show: Show, history: History) -> None:
        """The error of a primitive is wrapped, not cut off."""
        reason = "the memory can't be read: " + "so it is " * 20 + "in the end"

        class Fails:
            name = "fails"

            @hookimpl
            def init(self) -> None:
                raise DamonError(reason)

        context = Context(Fails(), [history], name="broken")
        start(context, exclusive=False)
        assert context.wait(60)
        shown = after(show(context))
        assert "ended" in shown.splitlines()[0]
        assert f"context 'broken' failed: {reason}" in " ".join(shown.split())

    def test_the_last_picture_stays(self, ended: Make, show: Show) -> None:
        """What has ended is shown as it was at last."""
        shown = after(show(ended({"a": process()})))
        assert "ended" in shown.splitlines()[0]
        assert "a: 9.0 MiB" in shown


@pytest.fixture
def running(history: History) -> Any:
    """A context on the machine's clock, of memory that costs little to watch.

    The view's pilot waits, a second each time, for a process that doesn't work all the time.
    """
    memory = ScriptedMemory({"memory": [ScriptedRegion(0, 1 << 30, heat=0.5)]})
    with Context(memory, [history], intervals=SHORT, cpu_budget=None) as context:
        start(context, exclusive=False)
        yield context


def shown_number(app: TopApp) -> int:
    """Return the number of the aggregation that is shown."""
    snapshot = app.picture.snapshot
    return 0 if snapshot is None else snapshot.number


async def until(happens: Callable[[], bool]) -> None:
    """Wait for something, but not for ever."""
    async with asyncio.timeout(60):
        while not happens():
            await asyncio.sleep(0.01)


def _line(shown: str, part: str) -> str:
    return next(line for line in shown.splitlines() if part in line)


@pytest.mark.parametrize(
    ("sampling_us", "longer", "shorter"),
    [(5_000, 10_000, 2_000), (242_000, 500_000, 200_000), (100, 200, 100)],
)
def test_steps_of_the_sampling_interval(sampling_us: int, longer: int, shorter: int) -> None:
    """Keys lead to 1, 2 and 5 times powers of ten, whatever was in force before."""
    assert stepped(sampling_us, 1) == longer
    assert stepped(sampling_us, -1) == shorter


SCREEN = """\
damon top  HOST  db (scripted)  ended  working set 3.0 MiB of 9.0 MiB  regions 4
intervals 100ms 1s 1s  CPU 0.0 %  view 0.0 %  missed 0
  TARGET (1)                WORKING SET       IDLE   RESIDENT              TREND
> redis[12]                     3.0 MiB    6.0 MiB    9.0 MiB  -@---@---@---@---
redis[12]: 9.0 MiB in 42.7 TiB        never accessed [ .:-=+*#%@] in every check
7ffc00040000                                                %%%%%%%%%%%%%%%%%%%%
555500780000                                                ====================
5555006c0000                                                --------------------
555500600000                                                --------------------
555500540000                                                @   @   @   @   @
555500480000                                                @   @   @   @   @
5555003c0000                                                @   @   @   @   @
555500300000                                                @   @   @   @   @
555500240000                                                @   @   @   @   @
555500180000                                                @   @   @   @   @
5555000c0000                                                @   @   @   @   @
555500000000                                                @   @   @   @   @
                -60s      -50s      -40s      -30s      -20s      -10s       now
  REGION (4)           SIZE  ACCESSED             FOR  BELONGS TO
> 7ffc00000000      1.0 MiB  #########   90 %     19s  [stack]
  555500600000      2.0 MiB  ###         30 %     19s  .._64-linux-gnu/libc.so.6
  555504000000     64.0 MiB               0 %     20s  [anon]
  555500000000      6.0 MiB               0 %      2s  [heap]
q quit  ? help  s sort: working set  / filter  p pause  + - sampling  tab table"""


def test_lines_by_a_label(ended: Make, show: Show) -> None:
    """What targets of one value use is added up; what has no such label, too."""
    targets = {name: [(HEAP, size * MIB, 1.0)] for name, size in (("a1", 1), ("a2", 2), ("c1", 4))}
    screen = after(show(ended(targets, callbacks=[Labelled()]), by=("unit",)))
    assert re.search(r"UNIT \(2\)", screen)
    assert re.search(r"a\.service +3\.0 MiB", screen)
    assert re.search(r"\(no label\) +4\.0 MiB", screen)


def test_regions_of_a_line_by_a_label(ended: Make, show: Show) -> None:
    """They are those of its target with the largest working set."""
    targets = {"a1": [(HEAP, MIB, 1.0)], "a2": [(STACK, 2 * MIB, 1.0)]}
    screen = after(show(ended(targets, callbacks=[Labelled()]), by=("unit",)))
    assert f"{STACK:x}" in screen
    assert f"{HEAP:x}" not in screen
