"""Snapshots: immutable columns, and the figures computed from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    IDLE_SPANS,
    Area,
    AttributeValueError,
    IdleAges,
    IdleSpan,
    Intervals,
    Owner,
    Regions,
    Snapshot,
    Target,
)
from damon_core.memory.snapshot import region_mistake, take_snapshot
from damon_core.testing import RegionRow, make_snapshot

CHECKS = 20
SECOND_US = 1_000_000
COLUMNS = ["start", "end", "nr_accesses", "age", "idle_us", "resident_bytes"]

#: One region: size in bytes, bytes in memory, nr_accesses, age, idle time.
Row = tuple[int, int, float, int, int]


def target(name: str, rows: Sequence[Row]) -> Target:
    """Return a target with these regions and a gap before each."""
    ends = np.cumsum([size + 1 for size, *_ in rows], dtype=np.int64)
    regions = Regions([end - size for end, (size, *_) in zip(ends, rows, strict=True)], ends)
    for column, values in zip(
        COLUMNS[5:] + COLUMNS[2:5], list(zip(*rows, strict=True))[1:], strict=False
    ):
        getattr(regions, column)[:] = values
    return Target(name, regions)


def snapshot_of(*targets: Target, checks: int = CHECKS) -> Snapshot:
    """Return a snapshot of targets."""
    return take_snapshot(
        targets,
        context="c",
        number=1,
        time_us=2,
        elapsed_us=3,
        intervals=Intervals(),
        max_nr_accesses=checks,
    )


def rows(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[Row]]:
    """Regions whose nr_accesses are drawn from `values`."""
    sizes = st.integers(1, 1 << 40)
    row = st.tuples(sizes, sizes, values, st.integers(0, 99), st.integers(0, 10**12))
    return st.lists(row.map(lambda r: (r[0], min(r[1], r[0]), *r[2:])), max_size=8)


whole = rows(st.integers(0, CHECKS).map(float))
shares = rows(st.floats(0, CHECKS))


# -- columns -------------------------------------------------------------------------------


@pytest.mark.parametrize("column", COLUMNS)
def test_columns_can_not_be_written(column: str) -> None:
    """This holds for the whole snapshot's columns and for a target's."""
    snapshot = snapshot_of(target("t", [(10, 10, 1.0, 1, 0)]))
    for part in (snapshot, *snapshot.targets):
        with pytest.raises(ValueError, match="read-only"):
            getattr(part, column)[0] = 1


def test_attributes_can_not_be_set() -> None:
    """A snapshot is an immutable value."""
    with pytest.raises(AttributeError):
        snapshot_of().number = 5  # type: ignore[misc]


def test_a_snapshot_is_a_copy() -> None:
    """Further monitoring doesn't change a published snapshot."""
    live = target("t", [(10, 10, 1.0, 1, 0)])
    snapshot = snapshot_of(live)
    live.regions.nr_accesses[:] = 9
    live.regions.age += 1
    assert (snapshot.nr_accesses.tolist(), snapshot.age.tolist()) == ([1.0], [1])


def test_a_snapshot_holds_targets_together_and_one_by_one() -> None:
    """The columns of the whole are those of the targets, one after the other."""
    snapshot = snapshot_of(
        target("a", [(10, 10, 1.0, 1, 0), (20, 20, 2.0, 1, 0)]),
        target("none", []),
        target("b", [(30, 30, 3.0, 1, 0)]),
    )
    assert [part.name for part in snapshot.targets] == ["a", "none", "b"]
    assert [part.nr_accesses.tolist() for part in snapshot.targets] == [[1.0, 2.0], [], [3.0]]
    assert snapshot.nr_accesses.tolist() == [1.0, 2.0, 3.0]
    assert (len(snapshot), len(snapshot.targets[0])) == (3, 2)


def test_a_target_has_the_owners_of_its_memory() -> None:
    """Owners are kept as the primitive reported them, for each target."""
    owner = Owner("cgroup", "/web", 300, 200, 100)
    owned = target("a", [(300, 300, 0, 0, 0)])
    owned.owners = [owner]
    snapshot = snapshot_of(owned, target("b", [(5, 5, 0, 0, 0)]))
    assert [each.owners for each in snapshot.targets] == [(owner,), ()]


def test_all_figures_of_a_snapshot_without_targets_are_zero() -> None:
    """Nothing is monitored: nothing is accessed, nothing is idle."""
    snapshot = snapshot_of(checks=0)
    assert (len(snapshot), snapshot.total_bytes, snapshot.accessed_bytes()) == (0, 0, 0)
    assert (snapshot.working_set_bytes(), snapshot.idle_bytes(), snapshot.hottest()) == (0, 0, [])
    assert snapshot.bytes_by_frequency(4) == [0] * 5


# -- working set -----------------------------------------------------------------------------


def test_working_set_is_what_was_accessed_often_enough() -> None:
    """Often enough is at least 1 check by default, at least n on request."""
    snapshot = snapshot_of(
        target("t", [(10, 10, 0, 0, 0), (200, 200, 1, 0, 0), (3_000, 3_000, 20, 0, 0)])
    )
    assert snapshot.working_set_bytes() == 3_200
    assert snapshot.working_set_bytes(at_least=2) == 3_000
    assert snapshot.working_set_bytes(at_least=20) == 3_000
    assert snapshot.working_set_bytes(at_least=21) == 0
    assert snapshot.working_set_bytes(at_least=0) == 3_210


def test_working_set_counts_bytes_in_memory() -> None:
    """Address space without memory behind it isn't a working set."""
    assert snapshot_of(target("t", [(1_000, 400, 5, 0, 0)])).working_set_bytes() == 400


def test_shares_count_in_part() -> None:
    """0.4 accesses count as 40 % of the bytes once; 1.5 as all of them once and half twice."""
    snapshot = snapshot_of(target("t", [(1_000, 1_000, 0.4, 0, 0), (100, 100, 1.5, 0, 0)]))
    assert snapshot.working_set_bytes() == 500
    assert snapshot.working_set_bytes(at_least=2) == 50


@given(shares)
def test_working_set_shrinks_with_at_least(regions: list[Row]) -> None:
    """It never grows with `at_least`, and never exceeds all bytes."""
    snapshot = snapshot_of(target("t", regions))
    sizes = [snapshot.working_set_bytes(n) for n in range(CHECKS + 2)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (snapshot.total_bytes, 0)


@given(whole)
def test_working_set_and_idle_bytes_are_all_bytes(regions: list[Row]) -> None:
    """Each byte was either accessed in this aggregation or not."""
    snapshot = snapshot_of(target("t", regions))
    assert snapshot.working_set_bytes() + snapshot.idle_bytes() == snapshot.total_bytes


class TestWhatWasTouched:
    @staticmethod
    def snapshot(nr_accesses: float, touched_bytes: int, idle_us: int = 0) -> Snapshot:
        """Return a snapshot of 1,000 bytes of which some were touched, after 20 checks."""
        live = target("t", [(1_000, 1_000, nr_accesses, 0, idle_us)])
        live.regions.touched_bytes = np.array([touched_bytes])
        return snapshot_of(live)

    @pytest.mark.parametrize("nr_accesses", [0.0, 0.1, 2.0, 20.0])
    def test_the_working_set_is_what_was_touched(self, nr_accesses: float) -> None:
        """However many checks found how much of it accessed."""
        assert self.snapshot(nr_accesses, 100).working_set_bytes() == 100

    @pytest.mark.parametrize(
        ("nr_accesses", "at_least", "working"),
        # A tenth in all checks; a tenth in half of them; half of the tenth in one.
        [(2.0, 20, 100), (1.0, 10, 100), (1.0, 11, 0), (0.15, 2, 50)],
    )
    def test_only_touched_bytes_were_accessed_several_times(
        self, nr_accesses: float, at_least: int, working: int
    ) -> None:
        """Accesses of a region are those of its touched bytes."""
        assert self.snapshot(nr_accesses, 100).working_set_bytes(at_least) == working

    def test_all_bytes_were_accessed_in_no_check_or_more(self) -> None:
        """Touched or not."""
        assert self.snapshot(2.0, 100).working_set_bytes(at_least=0) == 1_000

    def test_the_rest_is_idle(self) -> None:
        """In this aggregation."""
        assert self.snapshot(2.0, 100).idle_bytes() == 900

    def test_it_is_unknown_unless_every_target_knows(self) -> None:
        """Then working sets are estimated for all of them in the same way."""
        knows = target("a", [(1_000, 1_000, 20, 0, 0)])
        knows.regions.touched_bytes = np.array([100])
        snapshot = snapshot_of(knows, target("b", [(1_000, 1_000, 20, 0, 0)]))
        assert [each.touched_bytes for each in (snapshot, *snapshot.targets)] == [None] * 3


# -- idle ------------------------------------------------------------------------------------


def test_idle_bytes_are_those_without_access_for_long_enough() -> None:
    """A region accessed in this aggregation isn't idle."""
    snapshot = snapshot_of(
        target("t", [(1, 1, 0, 0, 100), (20, 20, 0, 0, 200), (300, 300, 1, 0, 0)])
    )
    assert [snapshot.idle_bytes(us) for us in (0, 100, 101, 200, 201)] == [21, 21, 20, 20, 0]


class TestIdleFor:
    """Snapshots of 1,000 bytes of which 100 were touched in an aggregation of 0.1 s."""

    @staticmethod
    def snapshot(
        idle_us: int = 0, touched_bytes: int = 100, aggregation_us: int = 100_000, **known: Any
    ) -> Snapshot:
        """Return a snapshot; `known` are bytes idle for spans."""
        row = RegionRow(0, 1_000, 0, 0, idle_us, touched_bytes=touched_bytes, **known)
        ages = IdleAges(5_000_000, 7_000_000, None)
        intervals = Intervals(5_000, aggregation_us, aggregation_us)
        return make_snapshot({"t": [row]}, idle_ages={"t": ages}, intervals=intervals)

    @pytest.mark.parametrize("span", IDLE_SPANS)
    def test_a_span_that_was_measured_is_known(self, span: IdleSpan) -> None:
        """To the byte."""
        assert self.snapshot(**{span.column: 700}).idle_bytes(span.us) == 700

    def test_a_span_that_was_not_measured_is_not_known(self) -> None:
        """It isn't 0: there are bounds."""
        idle = self.snapshot().idle(10 * SECOND_US)
        assert (idle.bytes, idle.low_bytes, idle.high_bytes) == (None, 0, 900)

    def test_spans_are_bounds_for_what_is_between_them(self) -> None:
        """The longer one is a lower bound, the shorter an upper one."""
        idle = self.snapshot(idle_10s_bytes=700, idle_1m_bytes=600).idle(30 * SECOND_US)
        assert (idle.bytes, idle.low_bytes, idle.high_bytes) == (None, 600, 700)

    def test_equal_bounds_are_a_number(self) -> None:
        """As much was idle for 10 s as for a minute, so for 30 s as well."""
        snapshot = self.snapshot(idle_10s_bytes=700, idle_1m_bytes=700)
        assert snapshot.idle_bytes(30 * SECOND_US) == 700

    def test_whole_regions_are_known_without_a_measurement(self) -> None:
        """Not a byte of them was touched for so long."""
        snapshot = self.snapshot(idle_us=30 * SECOND_US, touched_bytes=0)
        assert [snapshot.idle(us * SECOND_US).low_bytes for us in (10, 30, 31)] == [1_000, 1_000, 0]

    def test_what_was_touched_in_this_aggregation_is_not_idle_for_longer(self) -> None:
        """Whatever was measured before."""
        assert self.snapshot(idle_10s_bytes=950).idle(10 * SECOND_US).high_bytes == 900

    def test_a_longer_aggregation_gives_a_lower_bound(self) -> None:
        """What was touched in a minute may have been idle for the last 10 s of it."""
        idle = self.snapshot(aggregation_us=60 * SECOND_US).idle(10 * SECOND_US)
        assert (idle.low_bytes, idle.high_bytes) == (900, 1_000)

    def test_an_aggregation_as_long_says_it_exactly(self) -> None:
        """It is a measurement itself."""
        snapshot = self.snapshot(aggregation_us=60 * SECOND_US)
        assert snapshot.idle_bytes(60 * SECOND_US) == 900

    def test_the_age_is_that_of_the_oldest_number_used(self) -> None:
        """Of bounds, both are used; those of this aggregation have none."""
        snapshot = self.snapshot(idle_10s_bytes=700, idle_1m_bytes=600)
        ages = [snapshot.idle(us * SECOND_US).age_us // SECOND_US for us in (0, 10, 30, 60)]
        assert ages == [0, 5, 7, 7]

    def test_regions_whose_number_is_not_known_have_bounds(self) -> None:
        """Those of other regions are known all the same."""
        rows = [
            RegionRow(0, 1_000, touched_bytes=100, idle_us=0, idle_10s_bytes=700),
            RegionRow(2_000, 2_010, touched_bytes=2, idle_us=0),
        ]
        idle = make_snapshot({"t": rows}).idle(10 * SECOND_US)
        assert (idle.low.tolist(), idle.high.tolist()) == ([700, 0], [700, 8])

    def test_targets_without_a_number_leave_those_of_others(self) -> None:
        """Of all together there are bounds."""
        known, unknown = target("a", [(1_000, 1_000, 0, 0, 0)]), target("b", [(9, 9, 0, 0, 0)])
        for each in (known, unknown):
            each.regions.touched_bytes = np.zeros(1, dtype=np.int64)
        known.regions.idle_10s_bytes = np.array([700])
        snapshot = snapshot_of(known, unknown)
        idle = snapshot.idle(10 * SECOND_US)
        assert (idle.low_bytes, idle.high_bytes) == (700, 709)
        assert [each.idle_bytes(10 * SECOND_US) for each in snapshot.targets] == [700, None]

    def test_the_ages_of_all_targets_are_the_oldest(self) -> None:
        """Of those that have any."""
        ages = {"a": IdleAges(1, None, 3), "b": IdleAges(2, None, None)}
        snapshot = make_snapshot({"a": [], "b": []}, idle_ages=ages)
        assert snapshot.idle_ages == IdleAges(2, None, 3)


# -- frequency -------------------------------------------------------------------------------


def test_bytes_by_frequency_puts_borders_into_the_lower_bucket() -> None:
    """Of 20 checks: none, up to 2 (a tenth), up to 4, …, up to all."""
    regions: list[Row] = [(10**n, 10**n, a, 0, 0) for n, a in enumerate([0, 1, 2, 3, 18, 19, 20])]
    sums = snapshot_of(target("t", regions)).bytes_by_frequency()
    assert sums == [1, 110, 1_000, 0, 0, 0, 0, 0, 0, 10_000, 1_100_000]


def test_bytes_by_frequency_are_exact_at_the_borders() -> None:
    """With as many buckets as checks, each count has its own bucket."""
    regions: list[Row] = [(n, n, n, 0, 0) for n in range(1, 101)]
    sums = snapshot_of(target("t", regions), checks=100).bytes_by_frequency(100)
    assert sums == list(range(101))


@given(shares, st.integers(1, 30))
def test_bytes_by_frequency_are_all_bytes(regions: list[Row], buckets: int) -> None:
    """Every byte is in exactly one bucket."""
    snapshot = snapshot_of(target("t", regions))
    sums = snapshot.bytes_by_frequency(buckets)
    assert (len(sums), sum(sums)) == (buckets + 1, snapshot.total_bytes)


@given(shares, shares)
def test_figures_add_up_over_targets(a: list[Row], b: list[Row]) -> None:
    """A figure of the whole is the sum of the targets' figures."""
    snapshot = snapshot_of(target("a", a), target("b", b))
    parts = snapshot.targets
    assert snapshot.total_bytes == sum(part.total_bytes for part in parts)
    assert snapshot.idle_bytes() == sum(part.idle_bytes() for part in parts)
    assert abs(snapshot.working_set_bytes(3) - sum(p.working_set_bytes(3) for p in parts)) <= 1


def test_accessed_bytes_are_bytes_times_frequency() -> None:
    """Each check saw, on average, half of 100 bytes and all of 10."""
    snapshot = snapshot_of(target("t", [(100, 100, 10, 0, 0), (10, 10, 20, 0, 0)]))
    assert snapshot.accessed_bytes() == 60
    assert snapshot.frequency.tolist() == [0.5, 1.0]


def test_accessed_bytes_where_pages_are_checked() -> None:
    """Absent pages were checked too: of 1 000 bytes a tenth, of which 400 are in memory."""
    snapshot = snapshot_of(target("t", [(1_000, 400, 2, 0, 0), (1_000, 400, 10, 0, 0)]))
    assert snapshot.accessed().tolist() == [100.0, 400.0]


def test_accessed_bytes_where_all_that_is_in_memory_is_looked_at() -> None:
    """A tenth of what is in memory."""
    looked_at = target("t", [(1_000, 400, 2, 0, 0)])
    looked_at.regions.touched_bytes = np.array([50])
    assert snapshot_of(looked_at).accessed_bytes() == 40


# -- areas -------------------------------------------------------------------------------


def test_areas_stay_one_object_while_they_do_not_change() -> None:
    """Code that keeps snapshots detects a changed address space by identity."""
    one = target("a", [(10, 10, 1, 1, 0)])
    one.areas = (Area(1, 11, "[heap]"),)
    snapshots = [snapshot_of(one), snapshot_of(one)]
    assert snapshots[0].targets[0].areas == ((1, 11, "[heap]"),)
    assert snapshots[0].targets[0].areas is snapshots[1].targets[0].areas


# -- names -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\ud800", "", " "])
def test_names_of_targets_are_printable(name: str) -> None:
    """So that no output has to change one, and no two become the same."""
    with pytest.raises(AttributeValueError, match="name"):
        Target(name)


def test_a_target_is_not_renamed_to_what_cannot_be_printed() -> None:
    """As at its beginning."""
    one = Target("a")
    with pytest.raises(AttributeValueError, match="name"):
        one.name = "a\nb"
    assert one.name == "a"


def test_names_in_records_of_others_are_escaped() -> None:
    """They may be anything."""
    owner = Owner("a\tb", "/x\x1b", 0, 0, 0)
    snapshot = make_snapshot({"a\nb": []}, context="\ud800", owners={"a\nb": [owner]})
    assert (snapshot.context, snapshot.targets[0].name) == ("\\ud800", "a\\nb")
    assert (owner.kind, owner.name) == ("a\\tb", "/x\\x1b")


# -- records of others -------------------------------------------------------------------


@pytest.mark.parametrize(("ends", "sizes"), [([3, 4], [2, 0]), ([], [0, 0])])
def test_a_last_target_without_regions_hides_no_mistake(ends: list[int], sizes: list[int]) -> None:
    """The region before it is still compared with the one before that."""
    columns = {name: np.zeros(len(ends), np.int64) for name in COLUMNS}
    columns |= {"start": np.arange(len(ends)), "end": np.array(ends, np.int64)}
    found = region_mistake(columns, sizes, 20)
    assert (found and found[0]) == (1 if ends else None)


# -- hottest ---------------------------------------------------------------------------------


def test_hottest_are_the_most_accessed_then_the_oldest() -> None:
    """This holds over all targets and in one; ties go to higher age, then to lower address."""
    snapshot = snapshot_of(
        target("a", [(10, 7, 3, 1, 0), (10, 10, 5, 1, 0), (10, 10, 5, 2, 0)]),
        target("b", [(10, 10, 4, 0, 0), (10, 10, 4, 0, 0)]),
    )
    ranked = [(view.target, view.nr_accesses, view.age) for view in snapshot.hottest(4)]
    assert ranked == [("a", 5, 2), ("a", 5, 1), ("b", 4, 0), ("b", 4, 0)]
    assert [view.start for view in snapshot.targets[1].hottest()] == [1, 12]
    assert snapshot.hottest(99)[-1] == ("a", 1, 11, 3.0, 1, 7)
