"""Kinds of memory: columns under names of the primitive, and what follows from them."""

import numpy as np
import pytest

from damon_core import UNKNOWN, AttributeValueError, Regions, Target, kind_columns
from damon_core.attributes import Intervals
from damon_core.memory.kinds import join_kinds
from damon_core.memory.snapshot import region_mistake, take_snapshot
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20


def a_target(name: str, **kinds: int) -> Target:
    """Return a target of one region of 1 MiB."""
    target = Target(name, Regions([0], [MIB]))
    if kinds:
        target.regions.kinds = kind_columns(1, {each: np.array([kinds[each]]) for each in kinds})
    return target


def test_a_name_is_a_word() -> None:
    """So that any format can write it."""
    with pytest.raises(AttributeValueError, match="must be of a-z"):
        kind_columns(1, {"on node 0": np.array([1])})


def test_what_is_not_known_of_one_table_is_unknown() -> None:
    """And doesn't hide what is known of the other."""
    one, other = (kind_columns(1, {name: np.array([7])}) for name in ("huge", "file"))
    joined = join_kinds([(1, one), (2, None), (1, other)])
    assert joined is not None
    assert joined["huge"].tolist() == [7, UNKNOWN, UNKNOWN, UNKNOWN]
    assert joined["file"].tolist() == [UNKNOWN, UNKNOWN, UNKNOWN, 7]


def test_a_snapshot_has_the_kinds_of_its_regions() -> None:
    """Of all targets, and of each."""
    snapshot = take_snapshot(
        [a_target("a", huge=4096), a_target("b")],
        context="c",
        number=1,
        time_us=1,
        elapsed_us=1,
        intervals=Intervals(),
        max_nr_accesses=20,
    )
    assert snapshot.kind_bytes() == {"huge": 4096}
    assert [each.kind_bytes() for each in snapshot.targets] == [{"huge": 4096}, {}]


def test_a_kind_has_its_share_of_what_is_idle() -> None:
    """Of each region; what is swapped isn't in memory."""
    rows = [
        RegionRow(0, MIB, 20, touched_bytes=MIB // 2, kinds={"huge": MIB // 4, "swapped": 0}),
        RegionRow(MIB, 2 * MIB, touched_bytes=0, kinds={"huge": MIB, "swapped": 9}),
    ]
    snapshot = make_snapshot({"t": rows})
    idle = snapshot.kinds_of(snapshot.idle().low)
    assert {name: column.tolist() for name, column in idle.items()} == {"huge": [MIB / 8, MIB]}


def test_more_than_a_region_has_is_a_mistake() -> None:
    """For readers of what others have written."""
    columns = make_snapshot({"t": [RegionRow(0, 4096, kinds={"huge": 4097})]}).columns()
    assert region_mistake(columns, [1], 20) == (
        0,
        "its bytes of kind 'huge' are negative, or more than it has",
    )
