"""Aggregations put together: what adds up to the same, and what is that of the end."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    UNKNOWN,
    Area,
    IdleAges,
    Intervals,
    RecordTotals,
    Snapshot,
    SnapshotMerger,
)
from damon_core.memory import merging
from damon_core.memory.merging import merged
from damon_core.testing import RegionRow, assert_possible, make_snapshot

PAGE = 4096
SECOND_US = 1_000_000
#: Whole checks of 5 ms.
CHECKS = Intervals().checks


def regions(borders: list[int], counts: list[float], shares: list[float]) -> list[RegionRow]:
    """Return regions between pages, each with accesses and the share of it that is in memory."""
    pairs = zip(borders, borders[1:], counts, shares, strict=False)
    return [
        RegionRow(
            start * PAGE, end * PAGE, count, 1, resident_bytes=round((end - start) * share) * PAGE
        )
        for start, end, count, share in pairs
    ]


@st.composite
def snapshots(draw: st.DrawFn) -> list[Snapshot]:
    """Draw aggregations with other borders, counts, targets and numbers of checks each."""
    touched = draw(st.booleans())
    count = draw(st.integers(1, 6))
    found = []
    for number in range(1, count + 1):
        checks = draw(st.integers(1, CHECKS))
        names = draw(st.sets(st.sampled_from(["a", "b"]), max_size=2))
        targets = {}
        for name in sorted(names):
            borders = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=8)))
            accesses = [draw(st.integers(0, checks)) for _ in borders]
            shares = [draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in borders]
            rows = regions(borders, [float(each) for each in accesses], shares)
            if touched:
                rows = [
                    each._replace(touched_bytes=(each.resident_bytes or 0) // 2) for each in rows
                ]
            targets[name] = rows
        if touched and not any(targets.values()):
            continue
        found.append(make_snapshot(targets, number=number, max_nr_accesses=checks))
    return found or [make_snapshot({}, number=1)]


class TestTotals:
    @given(snapshots())
    def test_checks_times_and_accesses_add_up_to_the_same(self, parts: list[Snapshot]) -> None:
        """Whatever borders, targets and numbers of checks they have."""
        whole = merged(parts, 1, most_regions=1_000)
        assert_possible(whole)
        assert whole.elapsed_us == sum(each.elapsed_us for each in parts)
        assert whole.max_nr_accesses == sum(each.max_nr_accesses for each in parts)
        # `RecordTotals` leaves out aggregations without regions, as formats do.
        before, after = RecordTotals.of(parts), RecordTotals.of([whole])
        assert after.byte_checks == pytest.approx(before.byte_checks, rel=1e-9)

    @given(snapshots())
    def test_resident_bytes_are_kept_to_a_byte_a_region(self, parts: list[Snapshot]) -> None:
        """Their mean over checks is rounded up."""
        whole = merged(parts, 1, most_regions=1_000)
        before = sum(int(each.resident_bytes.sum()) * each.max_nr_accesses for each in parts)
        after = int(whole.resident_bytes.sum()) * whole.max_nr_accesses
        assert 0 <= after - before <= len(whole) * whole.max_nr_accesses

    @given(snapshots(), st.integers(1, 5))
    def test_joined_regions_keep_them(self, parts: list[Snapshot], most: int) -> None:
        """Neighbours become one with their mean, until there are few enough or no neighbours."""
        whole, fewer = merged(parts, 1, most_regions=1_000), merged(parts, 1, most_regions=most)
        assert_possible(fewer)
        assert RecordTotals.of([fewer]).byte_checks == pytest.approx(
            RecordTotals.of([whole]).byte_checks, rel=1e-9, abs=1e-6
        )
        touching = any(
            (target.start[1:] == target.end[:-1]).any() for target in fewer.targets if len(target)
        )
        assert len(fewer) <= most or not touching

    @given(snapshots())
    def test_whole_counts_stay_whole(self, parts: list[Snapshot]) -> None:
        """Where single pages are checked, no digit is added that files would have to keep."""
        if any(each.touched_bytes is not None for each in parts):
            return
        counts = merged(parts, 1, most_regions=1_000).nr_accesses
        np.testing.assert_array_equal(counts, counts.round())


def test_the_most_similar_are_joined_first() -> None:
    """Of three alike and another, the three become one: no border between others is lost for it."""
    rows = [RegionRow(page * PAGE, (page + 1) * PAGE, 20, page) for page in range(3)]
    rows.append(RegionRow(3 * PAGE, 4 * PAGE, 0))
    parts = [make_snapshot({"a": rows}, number=number) for number in (1, 2)]
    whole = merged(parts, 1, most_regions=2)
    assert (whole.start // PAGE).tolist() == [0, 3]
    assert whole.nr_accesses.tolist() == [40, 0]


def test_a_byte_has_the_sum_of_its_accesses() -> None:
    """Of regions with other borders, between all of these."""
    parts = [
        make_snapshot({"a": [RegionRow(0, 2 * PAGE, 20), RegionRow(2 * PAGE, 4 * PAGE, 0)]}),
        make_snapshot({"a": [RegionRow(0, PAGE, 3), RegionRow(PAGE, 4 * PAGE, 5)]}, number=2),
    ]
    whole = merged(parts, 1, most_regions=10)
    assert (whole.start // PAGE).tolist() == [0, 1, 2]
    assert whole.nr_accesses.tolist() == [23, 25, 5]
    assert whole.max_nr_accesses == 2 * CHECKS


def test_ages_and_idle_times_are_those_of_the_end() -> None:
    """In the new aggregations, and later by what has passed since."""
    parts = [
        make_snapshot({"a": [RegionRow(0, PAGE, 0, 7)], "b": [RegionRow(0, PAGE, 0, 7)]}, number=8),
        make_snapshot({"a": [RegionRow(0, PAGE, 0, 8)]}, number=9),
    ]
    whole = merged(parts, 1)
    assert whole.age.tolist() == [4, 3]
    assert whole.idle_us.tolist() == [900_000, 900_000]


def test_what_was_accessed_is_not_idle() -> None:
    """Even if it was long ago in the longer aggregation."""
    parts = [
        make_snapshot({"a": [RegionRow(0, PAGE, 1)]}),
        make_snapshot({"a": [RegionRow(0, PAGE, 0, 3)]}, number=2),
    ]
    assert merged(parts, 1).idle_us.tolist() == [0]


def test_touched_bytes_are_the_most_of_an_aggregation() -> None:
    """Whether it was other memory in another isn't known."""
    parts = [
        make_snapshot({"a": [RegionRow(0, 4 * PAGE, 1, touched_bytes=each * PAGE)]}, number=each)
        for each in (1, 3, 2)
    ]
    found = merged(parts, 1).touched_bytes
    assert found is not None
    assert found.tolist() == [3 * PAGE]


def test_names_of_mappings_that_have_gone_stay() -> None:
    """Beside those that are there at the end; what they had is still in it."""
    first = {"a": [Area(0, PAGE, "gone"), Area(PAGE, 2 * PAGE, "old")]}
    last = {"a": [Area(PAGE, 3 * PAGE, "new")]}
    rows = {"a": [RegionRow(0, 3 * PAGE, 1)]}
    parts = [make_snapshot(rows, areas=first), make_snapshot(rows, number=2, areas=last)]
    (target,) = merged(parts, 1).targets
    assert [area.name for area in target.areas] == ["gone", "new"]


def test_idle_bytes_are_as_old_as_they_are() -> None:
    """The last ones that were measured, later by what has passed since."""
    rows = [RegionRow(0, 2 * PAGE, 1, touched_bytes=PAGE, idle_10s_bytes=PAGE)]
    parts = [
        make_snapshot({"a": rows}, idle_ages={"a": IdleAges(5)}),
        make_snapshot({"b": [RegionRow(0, PAGE, 1, touched_bytes=PAGE)]}, number=2),
    ]
    target, _ = merged(parts, 1).targets
    assert target.idle_10s_bytes is not None
    assert target.idle_10s_bytes.tolist() == [PAGE]
    assert target.idle_ages == IdleAges(100_005)


class TestIntervals:
    def test_they_begin_at_whole_multiples(self) -> None:
        """So that those of several records are the same; the end of one belongs to it."""
        merger = SnapshotMerger(SECOND_US)
        begin_us = 1_700_000_000 * SECOND_US
        done: list[Snapshot] = []
        for number in range(1, 31):
            time_us = begin_us + number * 100_000
            done += merger.add(make_snapshot({"a": [RegionRow(0, PAGE, 1)]}, time_us=time_us))
        done += merger.rest()
        assert [each.time_us - begin_us for each in done] == [
            SECOND_US,
            2 * SECOND_US,
            3 * SECOND_US,
        ]
        assert [each.number for each in done] == [1, 2, 3]

    def test_checks_of_other_lengths_are_not_added_up(self) -> None:
        """What stands for four times the time would count as little as the others."""
        merger = SnapshotMerger(60 * SECOND_US)
        slow = Intervals(20_000, 400_000, SECOND_US)
        rows = {"a": [RegionRow(0, PAGE, 1)]}
        parts = [make_snapshot(rows, number=1), make_snapshot(rows, number=2)]
        parts += [
            make_snapshot(rows, number=3, intervals=slow, time_us=parts[-1].time_us + 400_000)
        ]
        done = [found for each in parts for found in merger.add(each)]
        done += merger.rest()
        assert [each.max_nr_accesses for each in done] == [2 * CHECKS, CHECKS]
        assert [each.intervals.sampling_us for each in done] == [5_000, 20_000]

    def test_contexts_stay_apart_and_in_order(self) -> None:
        """An interval ends for all of them at once."""
        merger = SnapshotMerger(SECOND_US)
        rows = {"a": [RegionRow(0, PAGE, 1)]}
        begin_us = 1_700_000_000 * SECOND_US
        done: list[Snapshot] = []
        for step in range(1, 25):
            context = "db" if step % 3 else "web"
            done += merger.add(
                make_snapshot(rows, context=context, time_us=begin_us + step * 100_000)
            )
        done += merger.rest()
        assert [each.time_us for each in done] == sorted(each.time_us for each in done)
        assert [each.context for each in done] == ["web", "db", "web", "db", "db", "web"]

    @pytest.mark.parametrize("most", [2, 3])
    def test_long_ones_are_put_together_as_they_come(
        self, monkeypatch: pytest.MonkeyPatch, most: int
    ) -> None:
        """So that memory is bounded; it adds up to the same as all at once."""
        monkeypatch.setattr(merging, "_MOST_PENDING", most)
        merger = SnapshotMerger(3600 * SECOND_US)
        rng = np.random.default_rng(1)
        parts = [
            make_snapshot(
                {"a": [RegionRow(0, PAGE, int(rng.integers(20))), RegionRow(PAGE, 3 * PAGE, 7)]},
                number=number,
                time_us=1_700_002_800 * SECOND_US + number * 100_000,
            )
            for number in range(1, 30)
        ]
        assert not [found for each in parts for found in merger.add(each)]
        (whole,) = merger.rest()
        once = merged(parts, 1)
        assert whole.elapsed_us == once.elapsed_us
        assert whole.max_nr_accesses == once.max_nr_accesses
        assert whole.nr_accesses.tolist() == once.nr_accesses.tolist()
        assert whole.age.tolist() == once.age.tolist()


class TestKinds:
    def test_they_are_the_mean_over_checks(self) -> None:
        """As what is resident is, of which they are parts; what isn't there has none."""
        parts = [
            make_snapshot(
                {"a": [RegionRow(0, 4 * PAGE, 1, kinds={"anonymous": 4 * PAGE, "huge": 0})]}
            ),
            make_snapshot(
                {"a": [RegionRow(0, 4 * PAGE, 1, kinds={"anonymous": 2 * PAGE, "huge": PAGE})]},
                number=2,
            ),
            make_snapshot({}, number=3),
        ]
        whole = merged(parts, 1)
        assert whole.kind_bytes() == {"anonymous": 2 * PAGE, "huge": math.ceil(PAGE / 3)}

    def test_those_that_are_not_known_at_times_are_the_mean_of_when_they_are(self) -> None:
        """Unknown isn't nothing."""
        parts = [
            make_snapshot({"a": [RegionRow(0, 4 * PAGE, 1, kinds={"anonymous": 4 * PAGE})]}),
            make_snapshot({"a": [RegionRow(0, 4 * PAGE, 1)]}, number=2),
        ]
        assert merged(parts, 1).kind_bytes() == {"anonymous": 4 * PAGE}

    def test_those_that_were_never_known_stay_unknown(self) -> None:
        """Of another target."""
        rows = {
            "a": [RegionRow(0, PAGE, 1, kinds={"anonymous": PAGE})],
            "b": [RegionRow(0, PAGE, 1)],
        }
        whole = merged([make_snapshot(rows), make_snapshot(rows, number=2)], 1)
        assert whole.kinds is not None
        assert whole.kinds["anonymous"].tolist() == [PAGE, UNKNOWN]
