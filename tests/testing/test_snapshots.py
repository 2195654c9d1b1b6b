"""Snapshots made by hand, and compared."""

from typing import Any

import numpy as np
import pytest

from damon_core import Area, Intervals, Owner, VirtualClock
from damon_core.testing import RegionRow, assert_same_snapshot, make_snapshot

ROWS = {"a": [RegionRow(0, 10, 3), RegionRow(10, 30, 0, 2)], "b": [RegionRow(5, 6)]}


def test_what_is_not_given_follows_from_the_rest() -> None:
    """Idle times from ages, resident bytes from sizes, times from numbers."""
    snapshot = make_snapshot(ROWS, number=3)
    assert snapshot.idle_us.tolist() == [0, 300_000, 100_000]
    assert snapshot.resident_bytes.tolist() == [10, 20, 1]
    assert snapshot.time_us == VirtualClock().unix_us() + 300_000
    assert (snapshot.elapsed_us, snapshot.max_nr_accesses) == (100_000, 20)
    assert [len(target) for target in snapshot.targets] == [2, 1]


def test_what_is_given_is_taken() -> None:
    """Even zeros."""
    area, owner = Area(0, 10, "[heap]"), Owner("cgroup", "/web", 3, 2, 1)
    snapshot = make_snapshot(
        {"a": [RegionRow(0, 10, 0, 5, idle_us=0, resident_bytes=0)]},
        time_us=0,
        elapsed_us=0,
        max_nr_accesses=0,
        areas={"a": [area]},
        owners={"a": [owner]},
    )
    assert (snapshot.idle_us.tolist(), snapshot.total_bytes) == ([0], 0)
    assert (snapshot.time_us, snapshot.elapsed_us, snapshot.max_nr_accesses) == (0, 0, 0)
    assert (snapshot.targets[0].areas, snapshot.targets[0].owners) == ((area,), (owner,))


def test_a_snapshot_without_targets() -> None:
    """Has no rows."""
    assert len(make_snapshot({})) == 0


def test_equal_snapshots_are_the_same() -> None:
    """Made twice, a snapshot is the same."""
    assert_same_snapshot(make_snapshot(ROWS), make_snapshot(ROWS))


@pytest.mark.parametrize(
    ("targets", "others", "match"),
    [
        (ROWS, {"context": "other"}, "context: 'other' is not 'context'"),
        (ROWS, {"number": 2}, "number: 2 is not 1"),
        (ROWS, {"time_us": 7}, "time_us: 7 is not"),
        (ROWS, {"elapsed_us": 20, "time_us": 1_700_000_000_100_000}, "elapsed_us: 20 is not"),
        (ROWS, {"intervals": Intervals(1, 100_000, 100_000)}, "intervals"),
        (ROWS, {"max_nr_accesses": 5}, "max_nr_accesses"),
        (ROWS, {"areas": {"a": [Area(0, 1, "x")]}}, "the targets' areas"),
        (ROWS, {"owners": {"b": [Owner("x", "y", 1, 1, 1)]}}, "the targets' owners"),
        ({"a": ROWS["a"]}, {}, "the targets' name"),
        ({"a": ROWS["a"], "b": [RegionRow(5, 7)]}, {}, "end"),
        ({"a": ROWS["a"], "b": [RegionRow(4, 6)]}, {}, "start"),
        ({"a": ROWS["a"], "b": [RegionRow(5, 6, 0, 1, 100_000)]}, {}, "age"),
        ({"a": ROWS["a"], "b": [RegionRow(5, 6, idle_us=7)]}, {}, "idle_us"),
        ({"a": ROWS["a"], "b": [RegionRow(5, 6, resident_bytes=0)]}, {}, "resident_bytes"),
        ({"a": ROWS["a"], "b": [RegionRow(5, 6, 0.1, idle_us=100_000)]}, {}, "nr_accesses"),
    ],
)
def test_any_difference_is_found(
    targets: dict[str, list[RegionRow]], others: dict[str, Any], match: str
) -> None:
    """And named."""
    with pytest.raises(AssertionError, match=match):
        assert_same_snapshot(make_snapshot(targets, **others), make_snapshot(ROWS))


def test_regions_divided_among_targets_in_another_way() -> None:
    """The same rows of other targets are a difference."""
    one = make_snapshot({"a": [RegionRow(0, 1), RegionRow(1, 2)], "b": []})
    other = make_snapshot({"a": [RegionRow(0, 1)], "b": [RegionRow(1, 2)]})
    with pytest.raises(AssertionError, match="start"):
        assert_same_snapshot(one, other)


def test_counts_may_be_rounded() -> None:
    """Fractions by the share allowed, whole numbers not at all."""
    expected = make_snapshot({"a": [RegionRow(0, 1, 2.5), RegionRow(1, 2, 4)]})
    assert_same_snapshot(
        make_snapshot({"a": [RegionRow(0, 1, 2.51), RegionRow(1, 2, 4)]}), expected, rtol=0.01
    )
    with pytest.raises(AssertionError, match="nr_accesses"):
        assert_same_snapshot(
            make_snapshot({"a": [RegionRow(0, 1, 2.51), RegionRow(1, 2, 4)]}), expected
        )
    with pytest.raises(AssertionError, match="whole nr_accesses"):
        assert_same_snapshot(
            make_snapshot({"a": [RegionRow(0, 1, 2.5), RegionRow(1, 2, np.nextafter(4.0, 5))]}),
            expected,
            rtol=0.01,
        )
