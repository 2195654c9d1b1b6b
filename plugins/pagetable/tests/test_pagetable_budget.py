"""How many blocks a look may take."""

import math
import os

import pytest
from damon_pagetable.budget import LookBudget
from damon_vaddr import PidSource, ProcessMemory, Referenced

from damon_core import Context, Intervals

INTERVALS = Intervals(100_000, 2_000_000, 2_000_000)
#: A look, and the end of an aggregation, which counts as two.
PARTS = 3


def context(cpu_budget: float | None, intervals: Intervals = INTERVALS) -> Context:
    """Return a context with a budget; it doesn't run."""
    memory = ProcessMemory(PidSource([os.getpid()]), Referenced())
    return Context(memory, intervals=intervals, cpu_budget=cpu_budget)


def measured(block_us: float) -> LookBudget:
    """Return a budget that knows what a block costs."""
    budget = LookBudget()
    for _ in range(100):
        budget.looked(1_000 * block_us, 1_000)
    return budget


def test_without_a_budget_everything_is_looked_at() -> None:
    """However long it takes."""
    assert LookBudget().most_blocks(context(None)) == math.inf


def test_looks_take_half_of_the_budget() -> None:
    """2 % of 5 seconds are 100 ms."""
    most = measured(2.0).most_blocks(context(0.02))
    assert most * 2.0 * PARTS == pytest.approx(50_000, rel=0.01)


def test_longer_aggregations_have_room_for_more() -> None:
    """Such as those that the clearing has stretched."""
    long = Intervals(100_000, 20_000_000, 20_000_000)
    assert measured(2.0).most_blocks(context(0.02, long)) > 2 * measured(2.0).most_blocks(
        context(0.02)
    )


def test_what_blocks_cost_is_measured() -> None:
    """A slow machine looks at fewer."""
    ratio = measured(1.0).most_blocks(context(0.02)) / measured(4.0).most_blocks(context(0.02))
    assert ratio == pytest.approx(4, rel=0.01)


def test_some_are_always_looked_at() -> None:
    """With next to no budget."""
    assert measured(1_000.0).most_blocks(context(0.000_1)) == 64


def test_small_looks_say_nothing_about_the_cost() -> None:
    """Most of what they take isn't for blocks."""
    budget, before = measured(2.0), measured(2.0).most_blocks(context(0.02))
    budget.looked(1_000.0, 3)
    assert budget.most_blocks(context(0.02)) == before
