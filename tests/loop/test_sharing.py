"""The CPU budget of a group: who gets how much of it, and who begins when."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import AccumulatingSampling, Context, HookContext, Regions, Target, hookimpl
from damon_core.loop.sharing import SharedBudget
from tests.cpu_clock import CpuClock

SECOND = 1_000_000


class TestShares:
    def test_first_comes_what_is_needed_in_time(self) -> None:
        """Who needs 1 % for values that aren't too old has it, however many want more."""
        shared = SharedBudget(0.02)
        for member in range(4):
            shared.allowance(member, 1.0, 0.001)
        assert shared.allowance(4, 1.0, 0.01) == pytest.approx(0.01)
        assert shared.allowance(0, 1.0, 0.001) == pytest.approx(0.0025)

    def test_the_biggest_go_short_first(self) -> None:
        """Where it isn't enough for all, the small ones have what they need."""
        shared = SharedBudget(0.02)
        for member, least in enumerate([0.001, 0.002, 0.02, 0.04]):
            shared.allowance(member, 1.0, least)
        needs = [0.001, 0.002, 0.02, 0.04]
        given = [shared.allowance(member, 1.0, least) for member, least in enumerate(needs)]
        assert given == pytest.approx([0.001, 0.002, 0.0085, 0.0085])

    def test_one_alone_has_all(self) -> None:
        """However much more it would take."""
        assert SharedBudget(0.02).allowance(1, 1.0, 0.01) == pytest.approx(0.02)

    @given(st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.01, 1.0)), min_size=1))
    def test_never_more_than_there_is(self, needs: list[tuple[float, float]]) -> None:
        """Together, those who take what they may have the budget at most."""
        shared = SharedBudget(0.02)
        for _ in range(2):
            for member, (demand, part) in enumerate(needs):
                shared.allowance(member, demand, demand * part)
            for member in (-1, -2):  # so that shares are those of all needs
                shared.allowance(member, 0.0)
                shared.leave(member)
        total = sum(
            min(demand, shared.allowance(member, demand, demand * part))
            for member, (demand, part) in enumerate(needs)
        )
        assert total <= 0.02 * (1 + 1e-6)


class TestTurns:
    def test_a_few_begin_at_once(self) -> None:
        """Those that take less than the budget of two seconds together."""
        shared = SharedBudget(0.02)
        assert [shared.turn(member, 0) for member in range(12)] == [0] * 12

    def test_many_begin_one_after_the_other(self) -> None:
        """Each takes 2 ms, as far as is known, of 1.2 % of the time."""
        shared = SharedBudget(0.02)
        due_us = [shared.turn(member, 0) for member in range(500)]
        assert due_us[-1] - due_us[-2] == pytest.approx(SECOND / 6, abs=1)

    def test_what_takes_longer_delays_those_that_wait(self) -> None:
        """One that took 14 ms instead of 2 delays the others by a second."""
        shared = SharedBudget(0.02)
        due_us = [shared.turn(member, 0) for member in range(100)][-1]
        shared.has_begun(0, 14_000)
        assert shared.turn(99, due_us) == pytest.approx(due_us + SECOND, abs=1)

    def test_whose_turn_it_is_begins(self) -> None:
        """When the time has come, and from then on."""
        shared = SharedBudget(0.02)
        due_us = [shared.turn(member, 0) for member in range(100)][-1]
        assert shared.turn(99, due_us) == due_us
        assert shared.turn(99, due_us + SECOND) == due_us + SECOND

    def test_without_a_limit_nobody_waits(self) -> None:
        """There is nothing to keep within."""
        shared = SharedBudget(math.inf)
        assert [shared.turn(member, 0) for member in range(500)] == [0] * 500


class TestMaking:
    def test_there_is_room_for_one_at_a_time(self) -> None:
        """36 ms are 1.2 % of 3 s, of which 2 s may be spent at once."""
        shared = SharedBudget(0.02)
        shared.spent(36_000, 0)
        assert not shared.has_room(SECOND - 1)
        assert shared.has_room(SECOND)

    def test_there_is_no_room_while_others_wait(self) -> None:
        """They were made before."""
        shared = SharedBudget(0.02)
        due_us = [shared.turn(member, 0) for member in range(20)][-1]
        assert not shared.has_room(due_us + SECOND)

    def test_what_making_took_delays_those_that_wait(self) -> None:
        """By a second for 12 ms."""
        shared = SharedBudget(0.02)
        due_us = [shared.turn(member, 0) for member in range(20)][-1]
        shared.spent(12_000, 0)
        assert shared.turn(19, due_us) == pytest.approx(due_us + SECOND, abs=1)

    def test_what_is_still_to_be_made_keeps_its_part(self) -> None:
        """What runs has 35 % of the budget meanwhile."""
        shared = SharedBudget(0.02)
        shared.expected = 3
        assert shared.allowance(0, 1.0) == pytest.approx(0.35 * 0.02)

    def test_without_a_limit_there_is_always_room(self) -> None:
        """Whatever it took."""
        shared = SharedBudget(math.inf)
        shared.spent(36_000_000, 0)
        assert shared.has_room(0)


class Small:
    """A target whose looks take 2 ms each; nothing else takes any time."""

    sampling = AccumulatingSampling

    def __init__(self, until_us: int) -> None:
        self._until_us = until_us

    @hookimpl
    def init(self, context: HookContext) -> None:
        context.targets.append(Target("small", Regions([0], [1 << 20])))

    @hookimpl
    def target_valid(self, context: HookContext) -> bool:
        return context.clock.now_us() < self._until_us

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        assert isinstance(context.clock, CpuClock)
        context.clock.work(2_000)


def test_what_begins_in_the_first_half_minute_leaves_something_to_what_runs() -> None:
    """Of 300 that take 2 ms each, as many begin as 65 % of the budget allow."""
    shared = SharedBudget(0.02)
    due_us = [shared.turn(number, 0) for number in range(300)]
    begun = [each for each in due_us if each <= 30 * SECOND]
    assert 0.6 * 0.6 <= len(begun) * 0.002 <= 0.65 * 0.6


def test_contexts_wait_for_their_turn() -> None:
    """The worker sleeps until then, before anything is opened."""
    shared = SharedBudget(0.02)
    for other in range(40):
        shared.turn(other, 0)
    began_us: list[int] = []

    class Begins(Small):
        @hookimpl
        def init(self, context: HookContext) -> None:
            began_us.append(context.clock.now_us())

    context = Context(Begins(0), clock=CpuClock(), cpu_budget=0.02)
    context.worker.start("kdamond.0", shared, context.worker.ended)
    assert context.wait(60)
    assert began_us == [pytest.approx(40 * SECOND / 6 - 2 * SECOND, abs=SECOND / 6)]
