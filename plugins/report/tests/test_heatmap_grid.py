"""Heat maps as numbers: cells computed by hand, and properties of all heat maps."""

import tracemalloc
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from damon_report.heatmap.folding import FloatGrid
from damon_report.heatmap.grid import Heat, heat_of
from damon_report.heatmap.layout import Room, lay_out, layout_of_ranges
from damon_report.heatmap.places import Place, Survey, TargetKey
from hypothesis import given
from hypothesis import strategies as st

from damon_core import Area, Snapshot
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20
SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US
KEY = TargetKey("main", "a")
FOUR_MIB = Place(0, 4 * MIB, "low")

Make = Callable[..., Snapshot]


def heat(snapshots: Sequence[Snapshot], columns: int, rows: int, *places: Place) -> Heat:
    """Return the cells of places, each with `rows` rows, over the time of the snapshots."""
    layout = layout_of_ranges(KEY, places or (FOUR_MIB,), rows, rows)
    return heat_of(snapshots, layout, BEGIN_US, snapshots[-1].time_us, columns)


def shown(cells: FloatGrid) -> list[list[float]]:
    """Return cells in drawing order: a list for each row of addresses, from the top."""
    return [[round(cell, 9) for cell in row] for row in cells.T.tolist()]


class TestCells:
    def test_time_across_addresses_up(self, snapshot: Make) -> None:
        """Columns follow time; the highest addresses are in the first row."""
        snapshots = [
            snapshot(1, {"a": [(0, 2, 10), (2, 4, 0)]}),
            snapshot(2, {"a": [(0, 2, 0), (2, 4, 5)]}),
        ]
        assert shown(heat(snapshots, 2, 2).frequency) == [[0, 0.5], [1, 0]]

    def test_a_cell_is_the_mean_over_bytes_and_time(self, snapshot: Make) -> None:
        """A quarter of the bytes, accessed half of the time, gives an eighth."""
        snapshots = [
            snapshot(1, {"a": [(0, 1, 10), (1, 4, 0)]}),
            snapshot(2, {"a": [(0, 4, 0)]}),
        ]
        assert shown(heat(snapshots, 1, 1).frequency) == [[0.125]]

    def test_an_aggregation_is_divided_among_its_columns(self, snapshot: Make) -> None:
        """An aggregation that spans several columns counts in each for its part of the time."""
        snapshots = [
            snapshot(1, {"a": [(0, 4, 10)]}),
            snapshot(2, {"a": [(0, 4, 0)]}),
            snapshot(3, {"a": [(0, 4, 4)]}),
        ]
        assert shown(heat(snapshots, 2, 1).frequency) == [[round(2 / 3, 9), round(0.8 / 3, 9)]]

    def test_what_no_region_covers_is_not_seen(self, snapshot: Make) -> None:
        """Memory without a region isn't cold, and doesn't count in means."""
        snapshots = [
            snapshot(1, {"a": [(0, 1, 10)]}),
            snapshot(2, {"a": [(0, 1, 10), (2, 3, 5)]}),
        ]
        cells = heat(snapshots, 1, 4).frequency.T[:, 0]
        assert np.isnan(cells).tolist() == [True, False, True, False]
        assert cells[[1, 3]].tolist() == [0.5, 1]

    def test_a_pause_of_the_recording_is_not_seen(self, snapshot: Make) -> None:
        """Without an aggregation cells are unknown, also their resident bytes."""
        made = heat([snapshot(1, {"a": [(0, 4, 1)]}), snapshot(4, {"a": [(0, 4, 1)]})], 4, 1)
        assert np.isnan(made.frequency.T[0]).tolist() == [False, True, True, False]
        assert np.isnan(made.working_set_bytes()).tolist() == [False, True, True, False]

    def test_the_monitors_own_time_is_no_pause(self, snapshot: Make) -> None:
        """A gap that is shorter than the second aggregation belongs to it."""
        second = snapshot(2, {"a": [(0, 4, 5)]}, elapsed_us=600_000)
        made = heat([snapshot(1, {"a": [(0, 4, 0)]}), second], 8, 1)
        assert shown(made.frequency) == [[0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5]]

    def test_never_accessed_is_exactly_0(self, snapshot: Make) -> None:
        """Sums over regions of odd frequencies leave no rounding errors in rows between them."""
        regions = [(i, i + 1, 3 / 7 if i % 2 else 0) for i in range(64)]
        made = heat([snapshot(1, {"a": regions})], 1, 64, Place(0, 64 * MIB, ""))
        assert (made.frequency.T[:, 0] == 0).tolist() == [False, True] * 32


class TestBytes:
    def test_working_set(self, snapshot: Make) -> None:
        """The working set is the bytes accessed in an aggregation; counts below 1 count in part."""
        snapshots = [snapshot(1, {"a": [(0, 1, 10), (1, 3, 0.25), (3, 4, 0)]}, resident=0.5)]
        made = heat(snapshots, 1, 4)
        assert made.working_set_bytes().tolist() == [0.75 * MIB]
        assert made.total_bytes().tolist() == [2 * MIB]
        assert made.working_set_bytes(3, 1).tolist() == [0.5 * MIB]

    def test_bytes_in_memory_lie_where_something_is_mapped(self, snapshot: Make) -> None:
        """A region over a hole has no resident bytes in the hole."""
        areas = {"a": (Area(0, MIB, "low"), Area(3 * MIB, 4 * MIB, "high"))}
        one = snapshot(1, {"a": [(0, 4, 10)]}, areas=areas, resident=0.25)
        made = heat([one], 1, 1, Place(0, MIB, "low"), Place(3 * MIB, 4 * MIB, "high"))
        assert made.resident_bytes.T[:, 0].tolist() == [MIB / 2, MIB / 2]

    def test_what_has_no_name_yet_is_shown(self, snapshot: Make) -> None:
        """Regions outside of all areas are memory that was mapped since names were read."""
        first = snapshot(1, {"a": [(0, 1, 0), (2, 4, 5)]}, areas={"a": (Area(0, MIB, "low"),)})
        areas = {"a": (Area(0, MIB, "low"), Area(2 * MIB, 4 * MIB, "new"))}
        second = snapshot(2, {"a": [(0, 1, 0), (2, 4, 5)]}, areas=areas)
        made = heat([first, second], 2, 1, Place(0, MIB, "low"), Place(2 * MIB, 4 * MIB, "new"))
        assert made.working_set_bytes().tolist() == [2 * MIB, 2 * MIB]
        assert shown(made.frequency) == [[0.5, 0.5], [0, 0]]

    def test_a_target_without_regions_has_no_bytes(self, snapshot: Make) -> None:
        """While its context is recorded, a target without regions has a working set of 0."""
        snapshots = [snapshot(1, {"b": [(0, 4, 10)]}), snapshot(2, {"a": [(0, 4, 10)]})]
        assert heat(snapshots, 2, 1).working_set_bytes().tolist() == [0, 4 * MIB]


@pytest.mark.slow
def test_memory_depends_on_the_picture_only(snapshot: Make) -> None:
    """A record fifty times as long needs no more memory."""
    peaks = []
    for count in (20, 1_000):

        def read(count: int = count) -> Iterator[Snapshot]:
            for number in range(1, count + 1):
                yield snapshot(number, {"a": [(i, i + 1, number % 11) for i in range(50)]})

        tracemalloc.start()
        survey = Survey(count * SECOND_US)
        for each in read():
            survey.add(each)
        layout = lay_out(survey.places(), Room(400, 17, 30))
        heat_of(read(), layout, BEGIN_US, BEGIN_US + count * SECOND_US, 200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@st.composite
def records(draw: st.DrawFn) -> list[Snapshot]:
    """Return a few aggregations of up to three targets, with regions and areas anywhere."""
    time_us = BEGIN_US
    snapshots = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        elapsed_us = draw(st.integers(1, 2 * SECOND_US))
        time_us += elapsed_us
        targets, areas = {}, {}
        for name in draw(st.sets(st.sampled_from("abc"))):
            pages = sorted(draw(st.sets(st.integers(0, 1 << 30), max_size=12)))
            ranges = [(a << 12, b << 12) for a, b in zip(pages[::2], pages[1::2], strict=False)]
            if draw(st.booleans()):
                areas[name] = [
                    Area(*each, draw(st.sampled_from(["x", "y", "[anon]"]))) for each in ranges
                ]
            targets[name] = [
                RegionRow(
                    start,
                    end,
                    draw(st.integers(0, 20)),
                    resident_bytes=int((end - start) * draw(st.floats(0, 1))),
                )
                for start, end in ranges
            ]
        snapshots.append(
            make_snapshot(
                targets, number=number, time_us=time_us, elapsed_us=elapsed_us, areas=areas
            )
        )
    return snapshots


@given(records(), st.integers(1, 9), st.integers(1, 6))
def test_bytes_times_time_are_kept(snapshots: list[Snapshot], columns: int, bands: int) -> None:
    """With any folding and cutting, a map has all resident bytes and all accessed ones."""
    end_us = snapshots[-1].time_us
    survey = Survey(end_us - BEGIN_US)
    for each in snapshots:
        survey.add(each)
    places = survey.places()
    if not places:
        assert all(len(each) == 0 for each in snapshots)
        return
    layout = lay_out(places, Room(40, 2, 1, rows=2, bands=bands))
    borders = [BEGIN_US + (end_us - BEGIN_US) * i // columns for i in range(columns + 1)]
    share_us = np.diff(borders)
    made = heat_of(snapshots, layout, BEGIN_US, end_us, columns)
    for cells, expected in (
        (made.total_bytes(), [each.total_bytes for each in snapshots]),
        (made.working_set_bytes(), [each.working_set_bytes() for each in snapshots]),
    ):
        whole = sum(size * each.elapsed_us for size, each in zip(expected, snapshots, strict=True))
        known = ~np.isnan(cells)
        # Snapshots round working sets to whole bytes.
        rounding = end_us - BEGIN_US
        found = (cells[known] * share_us[known]).sum()
        assert found == pytest.approx(whole, rel=1e-9, abs=rounding)
    known = ~np.isnan(made.frequency)
    assert ((made.frequency[known] >= 0) & (made.frequency[known] <= 1 + 1e-12)).all()
