"""Targets that an aggregation leaves out, where the budget doesn't allow looks at all of them.

On virtual time, in which a look at a target takes as long as its size says.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from damon_core import (
    AccumulatingSampling,
    Context,
    HookContext,
    Regions,
    Snapshot,
    Target,
    hookimpl,
    start,
)
from damon_core.loop.rotation import Rotation
from tests.cpu_clock import CpuClock

SECOND = 1_000_000
MIB = 1 << 20
#: What a look at a target costs: so much, and so much for each GiB. It is ten times what it is with
#: `referenced`: so a tenth of the targets takes as long.
LOOK_US, GIB_US = 5_000, 320_000


class Fleet:
    """Targets of given sizes; each look takes a while. The numbers are those of the look.

    Args:
        sizes: Their sizes, in MiB.
        until_us: When to end.
    """

    sampling = AccumulatingSampling
    leaves_resting_targets_alone = True

    def __init__(self, sizes: Sequence[int], until_us: int) -> None:
        self.snapshots: list[Snapshot] = []
        self.spent: list[tuple[int, int]] = []
        self._sizes, self._until_us = sizes, until_us
        self._looks: dict[Target, int] = {}

    @hookimpl
    def init(self, context: HookContext) -> None:
        for number, mib in enumerate(self._sizes):
            target = Target(f"{number}", Regions([0], [mib * MIB]))
            target.regions.touched_bytes = np.zeros(1, dtype=np.int64)
            context.targets.append(target)

    @hookimpl
    def target_valid(self, context: HookContext) -> bool:
        return context.clock.now_us() < self._until_us

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        assert isinstance(context.clock, CpuClock)
        for target in context.targets:
            if target.resting:
                continue
            gib = int(target.regions.size_bytes.sum()) / (1 << 30)
            context.clock.work(round(LOOK_US + gib * GIB_US))
            looks = self._looks[target] = self._looks.get(target, 0) + 1
            if looks % 2:
                target.regions.nr_accesses += 0.5
            target.regions.touched_bytes = target.regions.size_bytes // 2
        self.spent.append((context.clock.now_us(), context.clock.cpu_us()))

    @hookimpl
    def reset_aggregated(self, context: HookContext) -> None:
        assert context.snapshot is not None
        self.snapshots.append(context.snapshot)

    @property
    def settled(self) -> list[Snapshot]:
        """The snapshots of the second half of the time."""
        half_us = self.snapshots[0].time_us + self._until_us // 2
        return [each for each in self.snapshots if each.time_us > half_us]

    def oldest_us(self) -> dict[str, int]:
        """Return how old the values of each target got in the second half of the time."""
        ages: dict[str, int] = {}
        for each in self.settled:
            for target in each.targets:
                age_us = target.stale_us + each.elapsed_us
                ages[target.name] = max(ages.get(target.name, 0), age_us)
        return ages


def run(sizes: Sequence[int], until_s: int = 1_800, budget: float = 0.02) -> tuple[Fleet, Context]:
    """Run the monitoring of targets of these sizes in MiB."""
    fleet = Fleet(sizes, until_s * SECOND)
    context = Context(
        fleet, clock=CpuClock(), cpu_budget=budget, max_slowdown=None, max_stall_us=None
    )
    start(context)
    assert context.wait(60)
    assert context.error is None
    return fleet, context


@pytest.fixture(scope="module")
def crowd() -> Fleet:
    """Return 200 small targets, which would need 2 s a minute, of the 1.2 s that there are."""
    return run([4] * 200)[0]


class TestRotation:
    def test_what_fits_is_looked_at_in_time(self) -> None:
        """40 small targets need 0.4 s a minute, of the 1.2 s that there are."""
        fleet, context = run([4] * 40)
        assert max(fleet.oldest_us().values()) <= 60 * SECOND
        assert all(target.stale_us == 0 for target in fleet.snapshots[-1].targets)
        assert context.stats.resting == 0

    @pytest.mark.slow
    def test_the_budget_holds(self, crowd: Fleet) -> None:
        """However much there would be to do."""
        (begin_us, before_us), (end_us, after_us) = (
            crowd.spent[len(crowd.spent) // 2],
            crowd.spent[-1],
        )
        assert (after_us - before_us) / (end_us - begin_us) <= 0.022

    def test_the_budget_holds_from_the_first_half_minute_on(self) -> None:
        """The first looks at 200 targets are spread over the time that they need."""
        fleet, _ = run([4] * 200, until_s=120)
        early_us = max(cpu_us for now_us, cpu_us in fleet.spent if now_us <= 30 * SECOND)
        assert early_us <= 1.05 * 0.02 * 30 * SECOND

    @pytest.mark.slow
    def test_all_are_looked_at(self, crowd: Fleet) -> None:
        """200 small targets need the budget of 100 s: each has one of three aggregations."""
        ages = crowd.oldest_us()
        assert len(ages) == 200
        assert max(ages.values()) <= 185 * SECOND

    @pytest.mark.slow
    def test_the_biggest_are_looked_at_less_often(self) -> None:
        """10 small targets are looked at in time; two big ones, of 630 ms a look, are not."""
        fleet, context = run([4] * 10 + [2_000] * 2, until_s=3_600)
        ages = fleet.oldest_us()
        small, big = list(ages.values())[:10], list(ages.values())[10:]
        assert max(small) <= 65 * SECOND
        assert min(big) > 65 * SECOND
        assert context.stats.resting == 2

    @pytest.mark.slow
    def test_small_ones_stay_in_time_beside_big_ones(self) -> None:
        """300 small targets need 3 s a minute, 20 of 256 MiB 3.4 s, and 4.8 s are there."""
        fleet, context = run([2] * 300 + [256] * 20, until_s=2_400, budget=0.08)
        ages = list(fleet.oldest_us().values())
        small, big = ages[:300], ages[300:]
        assert max(small) <= 75 * SECOND
        assert min(big) > 75 * SECOND
        assert context.stats.resting == 20
        assert 0 < context.stats.late <= 20

    def test_what_is_late_is_counted(self) -> None:
        """Values older than 75 s, and targets that have none yet."""
        fleet, context = run([4] * 200, until_s=120)
        never = 200 - len(fleet.snapshots[-1].targets)
        assert never > 0
        assert context.stats.late >= never

    def test_nothing_is_late_where_the_budget_suffices(self) -> None:
        """Nor before the first aggregation has ended."""
        _, context = run([4] * 40, until_s=300)
        assert context.stats.late == 0

    @pytest.mark.slow
    def test_values_of_targets_that_rest_stay(self, crowd: Fleet) -> None:
        """They are those of the last look, with an age; never a new number that says nothing."""
        resting = [t for each in crowd.settled for t in each.targets if t.stale_us]
        assert resting
        assert {t.frequency.item() for t in resting} == {0.5}
        assert {int(t.touched_bytes.item()) for t in resting if t.touched_bytes is not None} == {
            2 * MIB
        }

    @pytest.mark.slow
    def test_what_was_never_looked_at_has_no_values(self, crowd: Fleet) -> None:
        """It isn't in the snapshot until then."""
        assert len(crowd.snapshots[0].targets) < 200
        assert len(crowd.snapshots[-1].targets) == 200

    def test_it_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        """In the log, once, with what to do, and in the counts."""
        with caplog.at_level(logging.WARNING):
            _, context = run([4] * 10 + [2_000] * 2)
        said = [
            each.getMessage() for each in caplog.records if "max_staleness" in each.getMessage()
        ]
        assert len(said) == 1
        assert "2 of 12 targets, the biggest, are looked at less often than every 1m" in said[0]
        assert "such as 10 every " in said[0]
        assert "a higher cpu_budget makes it shorter" in said[0]
        assert context.stats.staleness_us > 60 * SECOND

    def test_few_targets_are_looked_at_together(self) -> None:
        """The first aggregation has all of them, as long as they are few."""
        fleet, _ = run([4] * 10, until_s=10)
        assert len(fleet.snapshots[0].targets) == 10


def target(mib: int) -> Target:
    """Return a target of some size."""
    return Target(f"{mib}", Regions([0], [mib * MIB]))


def test_one_target_at_least_is_looked_at() -> None:
    """However little can be spent: otherwise nothing would ever be known."""
    rotation = Rotation(60e6)
    targets = [target(1_000), target(2_000)]
    rotation.plan(targets, 0.001, 60e6, 0)
    assert [each.resting for each in targets].count(False) == 1


def test_who_comes_while_others_rest_waits() -> None:
    """New targets are looked at from the next aggregation on."""
    rotation = Rotation(60e6)
    targets = [target(1_000), target(2_000)]
    rotation.plan(targets, 0.5, 60e6, 0)
    targets.append(target(3_000))
    rotation.admit(targets)
    assert targets[-1].resting


def test_who_comes_while_none_rests_does_not_wait() -> None:
    """As long as all are looked at, a new target is at once."""
    rotation = Rotation(60e6)
    targets = [target(1_000)]
    rotation.plan(targets, 1.0, 60e6, 0)
    targets.append(target(2_000))
    rotation.admit(targets)
    assert not targets[-1].resting


def test_what_can_be_spent_is_spent_while_values_are_too_old() -> None:
    """A tenth of them each minute, though each would have its turn only every ten minutes."""
    targets = [Target(f"{number}", Regions([0], [2 * MIB])) for number in range(100)]
    rotation, now_us = Rotation(60 * SECOND), 0
    rotation.looked(targets, now_us)
    for _ in range(3):
        now_us += 60 * SECOND
        rotation.plan(targets, 0.1, 60 * SECOND, now_us)
        assert sum(not each.resting for each in targets) == 10
        rotation.looked(targets, now_us)
    assert len({rotation.age_us(each, now_us) for each in targets}) == 4
