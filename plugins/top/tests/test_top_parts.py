"""What the view remembers, how addresses are folded, and how lines are written."""

from collections.abc import Callable

import numpy as np
import pytest
from damon_top.folding import HeatGrid, row_edges, still_fit
from damon_top.history import History
from damon_top.lines import head_lines
from damon_top.picture import Picture, Watcher
from damon_top.tables import (
    REGION_ORDERS,
    area_names,
    cut,
    padded,
    region_line,
    region_rows,
    sparkline,
    target_rows,
    working_sets,
)
from rich.cells import cell_len

from damon_core import (
    BLOCK_PAGES,
    Area,
    Context,
    Intervals,
    PageMap,
    TargetSnapshot,
    Toll,
)
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual

MIB = 1 << 20
PAGE = 4096
FAR = 0x7F00_0000_0000

Make = Callable[..., Context]


def cost_line(context: Context, history: History, wanted: Intervals | None = None) -> str:
    """Return the line of what monitoring costs."""
    picture = picture_of(context, history)
    lines = head_lines(
        picture, wanted or Intervals(), host="HOST", place="", paused=False, view_cpu=0.0
    ).plain.splitlines()
    return lines[1]


def picture_of(context: Context, history: History) -> Picture:
    """Return what the screen would show of a context."""
    return Watcher(context, history).look()


def test_spectrum_is_at_the_end_of_the_head() -> None:
    """Where every page is known: what is accessed within the shortest times."""
    periods = np.zeros((1, BLOCK_PAGES), dtype=np.uint8)
    periods[0, :8] = [13] * 3 + [18] * 5
    every_page = PageMap.of_periods(np.array([0]), periods, shortest=13, longest=19, watched_us=1)
    regions = [ScriptedRegion(0, 2 * MIB, heat=1.0)]
    memory = ScriptedMemory({"t": regions}, page_maps={"t": every_page})
    history = History()
    context = run_virtual(memory, history, aggregations=1)
    assert cost_line(context, history).endswith(
        "  within 8.2ms 12.0 KiB, 66ms 12.0 KiB, 520ms 32.0 KiB"
    )


def only_target(context: Context) -> TargetSnapshot:
    """Return the only target of a context's last aggregation."""
    assert context.snapshot is not None
    (target,) = context.snapshot.targets
    return target


def grid_of(
    context: Context, history: History, rows: int, columns: int, column_us: int
) -> np.ndarray:
    """Return the heat of a context's only target."""
    target = only_target(context)
    frames = history.frames(context)
    return HeatGrid(target.name, row_edges(target, rows)).draw(
        frames, now_us=frames[-1].whole.end_us - 1, columns=columns, column_us=column_us
    )


class TestHistory:
    def test_aggregations_are_remembered_target_by_target(
        self, ended: Make, history: History
    ) -> None:
        """A frame has each target's regions and working set."""
        context = ended({"a": [(0, MIB, 1.0), (MIB, MIB, 0.0)], "b": [(0, 3 * MIB, 0.5)]}, 4)
        frames = history.frames(context)
        assert len(frames) == 4
        assert frames[-1].working_set_bytes.tolist() == [MIB, 3 * MIB]
        b = frames[-1].of("b")
        assert b is not None
        assert (b.start.tolist(), b.end.tolist(), b.frequency.tolist()) == ([0], [3 * MIB], [0.5])
        assert frames[-1].of("c") is None

    def test_working_sets_are_those_of_the_snapshot(self, ended: Make, history: History) -> None:
        """Shares of whole mappings count in part, as in the snapshot's own answer."""
        context = ended({"a": [(0, MIB, 0.03), (MIB, MIB, 0.7)]})
        expected = only_target(context).working_set_bytes()
        assert history.frames(context)[-1].working_set_bytes[0] == pytest.approx(expected, abs=1)

    def test_aggregations_that_follow_too_closely_are_left_out(self, ended: Make) -> None:
        """One aggregation in three seconds is kept where they are three seconds apart at least."""
        sparse = History(frame_us=3_000_000)
        context = ended({"a": [(0, MIB, 1.0)]}, 10, callbacks=[sparse])
        assert len(sparse.frames(context)) == 4

    @pytest.mark.parametrize("limits", [{"most_frames": 5}, {"most_regions": 10}])
    def test_the_oldest_are_forgotten(self, ended: Make, limits: dict[str, int]) -> None:
        """Neither aggregations nor regions add up without end."""
        bounded = History(frame_us=1, **limits)
        context = ended({"a": [(0, MIB, 1.0), (MIB, MIB, 1.0)]}, 20, callbacks=[bounded])
        frames = bounded.frames(context)
        assert len(frames) == 5
        assert frames[-1].whole.end_us == 20_000_000

    def test_nothing_is_remembered_of_what_has_not_run(self, history: History) -> None:
        """A context that hasn't begun has no frames."""
        assert history.frames(Context(object(), [history])) == ()


class TestFolding:
    def test_gaps_take_no_room(self, ended: Make) -> None:
        """Two pieces of one size have half of the rows each, however far apart they are."""
        target = only_target(ended({"a": [(0, 4 * MIB, 1.0), (FAR, 4 * MIB, 0.0)]}))
        assert row_edges(target, 4).tolist() == [0, 2 * MIB, FAR, FAR + 2 * MIB, FAR + 4 * MIB]

    def test_memory_that_was_never_touched_takes_no_room(self, ended: Make) -> None:
        """What is mapped but not resident is left out, as gaps are."""
        target = only_target(ended({"a": [(0, MIB, 1.0), (MIB, 1 << 40, 0.0, 0), (FAR, MIB, 0.5)]}))
        assert row_edges(target, 2).tolist() == [0, FAR, FAR + MIB]

    @pytest.mark.parametrize(("pages", "rows"), [(1, 1), (2, 2), (3, 3), (100, 8)])
    def test_no_more_rows_than_pages(self, ended: Make, pages: int, rows: int) -> None:
        """A page is one row at most."""
        target = only_target(ended({"a": [(PAGE, pages * PAGE, 1.0)]}))
        edges = row_edges(target, 8)
        assert len(edges) - 1 == rows
        assert not (edges % PAGE).any()

    def test_nothing_resident_has_no_rows(self, ended: Make, history: History) -> None:
        """Without any memory there is no picture, and no failure."""
        context = ended({"a": [(0, MIB, 0.0, 0)]})
        assert len(row_edges(only_target(context), 8)) == 0
        assert grid_of(context, history, 8, 10, 1_000_000).shape == (0, 10)

    def test_the_largest_target(self, ended: Make) -> None:
        """Rows of 4 EiB are exact, without overflow."""
        target = only_target(ended({"a": [(0, 1 << 62, 1.0)]}))
        assert row_edges(target, 4).tolist() == [index << 60 for index in range(5)]

    def test_rows_are_kept_where_little_has_changed(self, ended: Make) -> None:
        """The picture stands still until rows differ much, or memory is outside of them."""
        edges = row_edges(only_target(ended({"a": [(0, 16 * MIB, 1.0)]})), 4)
        assert still_fit(only_target(ended({"a": [(0, 16 * MIB, 1.0, 15 * MIB)]})), edges)
        assert not still_fit(only_target(ended({"a": [(0, 6 * MIB, 1.0)]})), edges)
        assert not still_fit(only_target(ended({"a": [(0, 32 * MIB, 1.0)]})), edges)
        assert not still_fit(only_target(ended({"a": [(0, 16 * MIB, 1.0, 0)]})), edges)


class TestHeat:
    def test_the_highest_address_is_the_first_row(self, ended: Make, history: History) -> None:
        """Rows go from above to below, columns from then to now."""
        context = ended({"a": [(0, MIB, lambda n: float(n < 2)), (FAR, MIB, 0.5)]}, 4)
        assert grid_of(context, history, 2, 4, 1_000_000).tolist() == [
            [0.5, 0.5, 0.5, 0.5],
            [1.0, 1.0, 0.0, 0.0],
        ]

    def test_a_row_has_the_mean_of_its_bytes(self, ended: Make, history: History) -> None:
        """Regions in one row weigh by their resident bytes."""
        context = ended(
            {"a": [(0, MIB, 1.0), (MIB, 3 * MIB, 0.0), (FAR, 8 * MIB, 0.5, 4 * MIB)]}, 1
        )
        assert grid_of(context, history, 1, 1, 1_000_000) == pytest.approx((1 + 4 * 0.5) / 8)

    def test_a_column_has_the_mean_of_its_aggregations(self, ended: Make, history: History) -> None:
        """Several aggregations in one column are averaged."""
        context = ended({"a": [(0, MIB, lambda n: n % 2)]}, 4)
        assert grid_of(context, history, 1, 2, 2_000_000).tolist() == [[0.5, 0.5]]

    def test_an_aggregation_fills_all_its_columns(self, ended: Make, history: History) -> None:
        """Where columns are shorter than aggregations no column is left free."""
        context = ended({"a": [(0, MIB, lambda n: n)]}, 2)
        assert grid_of(context, history, 1, 4, 500_000).tolist() == [[0, 0, 1, 1]]

    def test_no_more_columns_than_are_remembered(self, ended: Make, history: History) -> None:
        """What was before the beginning is left out."""
        assert grid_of(ended({"a": [(0, MIB, 1)]}, 3), history, 1, 50, 1_000_000).shape == (1, 3)

    def test_what_is_drawn_again_is_the_same(self, ended: Make, history: History) -> None:
        """A grid that has been drawn before gives what a new one gives, later ones too."""
        context = ended({"a": [(0, MIB, lambda n: n / 10), (FAR, MIB, 0.5)]}, 10)
        frames, edges = history.frames(context), row_edges(only_target(context), 3)
        grid = HeatGrid("a", edges)
        for count in (4, 7, 7, 10):
            times = {"now_us": count * 1_000_000 - 1, "columns": 5, "column_us": 1_000_000}
            drawn = grid.draw(frames[:count], **times)
            assert np.array_equal(drawn, HeatGrid("a", edges).draw(frames[:count], **times))

    def test_what_was_not_there_is_not_cold(self, ended: Make, history: History) -> None:
        """Addresses that an aggregation knows nothing of are NaN."""
        context = ended({"a": [(0, MIB, 1.0)]}, 2)
        grid = HeatGrid("a", np.array([0, MIB, 2 * MIB])).draw(
            history.frames(context), now_us=1_999_999, columns=2, column_us=1_000_000
        )
        assert np.isnan(grid[0]).all()
        assert grid[1].tolist() == [1.0, 1.0]


class TestLines:
    def test_regions_tell_what_they_belong_to(self, ended: Make) -> None:
        """A region has the name of its area, and how many others it reaches into."""
        context = ended(
            {"a": [(0, MIB, 1.0, MIB, "[heap]"), (FAR, MIB, 0.0, MIB, "/usr/lib/libc.so.6")]}
        )
        assert [row.area for row in region_rows(only_target(context))] == [
            "[heap]",
            "/usr/lib/libc.so.6",
        ]

    def test_areas_that_do_not_begin_with_a_region(self) -> None:
        """Areas are found by overlap: inside, across, and in the gap between them."""
        name_of = area_names(
            (Area(0x1000, 0x3000, "a"), Area(0x3000, 0x4000, "b"), Area(0x8000, 0x9000, "c"))
        )
        assert name_of(0x2000, 0x3000) == "a"
        assert name_of(0x2000, 0x3001) == "a +1"
        assert name_of(0x2000, 0xA000) == "a +2"
        assert name_of(0x4000, 0x8000) == ""
        assert name_of(0x5000, 0x8800) == "c"
        assert name_of(0, 0x1000) == ""

    def test_age_is_a_time(self, ended: Make) -> None:
        """How long a frequency has stayed is reported in time."""
        (row,) = region_rows(only_target(ended({"a": [(0, MIB, 1.0)]}, 20)))
        assert region_line(row, 80, colour=False).plain.split()[-1] == "19s"

    @pytest.mark.parametrize(
        ("frequency", "shown"),
        [(0.0, "0 %"), (0.001, "1 %"), (0.5, "50 %"), (0.999, "99 %"), (1, "100 %")],
    )
    def test_only_never_and_always_are_told_so(
        self, ended: Make, frequency: float, shown: str
    ) -> None:
        """Rounding makes nothing 0 % or 100 % that isn't; a bar shows the slightest access."""
        (row,) = region_rows(only_target(ended({"a": [(0, MIB, frequency)]}, 2)))
        line = region_line(row, 80, colour=False).plain
        assert f" {shown} " in line
        assert ("#" in line) == (frequency > 0)

    def test_orders_of_regions(self, ended: Make) -> None:
        """Each order begins with what its name says."""
        regions = [(0, MIB, 0.1), (2 * MIB, 3 * MIB, 0.5), (FAR, MIB, 0.9)]
        rows = region_rows(only_target(ended({"a": regions})))
        first = {name: min(rows, key=key).start for name, key in REGION_ORDERS.items()}
        assert first == {"hottest": FAR, "coldest": 0, "size": 2 * MIB, "address": 0}

    def test_targets_have_the_answers_of_the_snapshot(self, ended: Make, history: History) -> None:
        """Working set, idle and resident bytes of each target."""
        context = ended({"a": [(0, MIB, 1.0), (MIB, 9 * MIB, 0.0, 4 * MIB)]})
        (row,) = target_rows(picture_of(context, history))
        assert (row.working_set, row.idle, row.resident) == (MIB, 4 * MIB, 5 * MIB)

    def test_trend(self, ended: Make, history: History) -> None:
        """The working set in each of the last columns of time."""
        context = ended({"a": [(0, MIB, lambda n: float(n >= 4)), (FAR, MIB, 1.0)]}, 6)
        sizes = working_sets(picture_of(context, history), ["a"], 4, 1_000_000)
        assert [size / MIB for size in sizes] == [1, 1, 2, 2]

    @pytest.mark.parametrize(("colour", "shown"), [(True, " ▁▄█"), (False, " .=@")])
    def test_sparkline(self, colour: bool, shown: str) -> None:
        """The largest value is the highest, nothing is nothing, the slightest is seen."""
        assert sparkline([0, 0.01, 5, 10], colour) == shown

    def test_sparkline_of_nothing(self) -> None:
        """No values, or none above 0, are no failure."""
        assert sparkline([], True) == ""
        assert sparkline([0, 0], True) == "  "

    def test_long_names_keep_their_end(self) -> None:
        """The end of a path says the most; what can't be printed doesn't reach the terminal."""
        assert cut("/usr/lib/x86_64-linux-gnu/libc.so.6", 11) == "..libc.so.6"
        assert cut("a\x1b[31mb\n", 20) == "a?[31mb?"

    def test_wide_characters_take_their_room(self) -> None:
        """Columns stay in line whatever a process is called."""
        assert padded("数据库", 8) == "数据库  "
        assert padded("数据库[1234]", 9) == ".." + "[1234] "
        assert cell_len(padded("数据库[1234]", 11)) == 11


class TestCost:
    def test_what_targets_lose(self, history: History) -> None:
        """The share of their time, of the limit, and the longest stall."""
        memory = ScriptedMemory(
            {"a": [ScriptedRegion(0, 4096)]}, checks=40, tolls={"a": Toll(500, 3_000)}
        )
        line = cost_line(run_virtual(memory, history), history)
        assert "  slowdown 0.5 of 1 %  stall 3ms  view " in line

    def test_nothing_where_that_is_unknown(self, ended: Make, history: History) -> None:
        """No 0 %, which would be a claim."""
        assert "slowdown" not in cost_line(ended({"a": [(0, MIB, 1.0)]}), history)

    def test_intervals_that_were_stretched(self, ended: Make, history: History) -> None:
        """Each beside the one that is wanted."""
        line = cost_line(ended({"a": [(0, MIB, 1.0)]}), history)
        assert line.startswith("intervals 100ms (5ms) 1s (100ms) 1s  ")

    def test_what_matters_fits_into_80_columns(self, history: History) -> None:
        """Where an aggregation was stretched, and all that it costs is known."""
        memory = ScriptedMemory(
            {"a": [ScriptedRegion(0, 4096)]}, checks=40, tolls={"a": Toll(900, 83_500)}
        )
        context = run_virtual(memory, history, intervals=Intervals(5_000, 22_300_000, 30_000_000))
        line = cost_line(context, history, wanted=Intervals(5_000, 100_000, 30_000_000))
        assert line.index("  view ") <= 80
