"""What monitoring may cost."""

import numpy as np
import pytest
from damon_vaddr.budget import Budget


def _run(budget: Budget, costs: list[float], sampling_us: int = 5_000) -> tuple[int, list[int]]:
    """Let checks of given costs pass; return the time at the end and the intervals."""
    now_us, intervals = 0, []
    for cost_us in costs:
        now_us += max(sampling_us, budget.sampling_us(now_us, 1_000_000))
        budget.checked(cost_us)
        intervals.append(budget.sampling_us(now_us, 1_000_000))
    return now_us, intervals


def test_cheap_checks_need_no_longer_interval() -> None:
    """At 50 us a check, 5 ms are allowed by 2 %."""
    _, intervals = _run(Budget(0.02, 0), [50.0] * 100)
    assert max(intervals) <= 5_000


@pytest.mark.parametrize("share", [0.005, 0.02, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_no_more_is_spent_than_the_share_and_one_check(share: float, seed: int) -> None:
    """With noisy costs that grow a thousandfold the whole run stays within its share."""
    rng = np.random.default_rng(seed)
    costs = (np.geomspace(100, 100_000, 400) * rng.uniform(0.5, 2, 400)).tolist()
    now_us, _ = _run(Budget(share, 0), costs)
    assert sum(costs) <= share * now_us + max(costs)


def test_the_interval_shrinks_with_the_target() -> None:
    """When checks become cheap again they become frequent again."""
    _, intervals = _run(Budget(0.02, 0), [10_000.0] * 50 + [100.0] * 500)
    assert intervals[49] >= 500_000
    assert intervals[-1] <= 10_000


def test_the_interval_does_not_flap() -> None:
    """With costs that vary by a third the interval settles and stays."""
    rng = np.random.default_rng(1)
    _, intervals = _run(Budget(0.02, 0), rng.uniform(1_000, 1_300, 1_000).tolist())
    changes = np.count_nonzero(np.diff(intervals))
    assert changes <= 3


def test_intervals_are_round_numbers() -> None:
    """An interval in force is read by people."""
    _, intervals = _run(Budget(0.02, 0), [1_234.5])
    assert intervals == [80_000]


def test_updates_take_at_most_half_of_the_share() -> None:
    """An update that cost 30 ms is followed by the next after 3 s at 2 %."""
    budget = Budget(0.02, 0)
    assert budget.update_due(0)
    budget.updated(30_000, 1_000_000)
    assert not budget.update_due(3_900_000)
    assert budget.update_due(4_000_000)


def test_updates_leave_less_for_checks() -> None:
    """What following costs isn't there to be spent on checks."""
    without, withal = Budget(0.02, 0), Budget(0.02, 0)
    withal.updated(10_000, 1_000_000)
    for budget in (without, withal):
        budget.checked(1_000)
    now_us = 10_000_000
    assert without.sampling_us(now_us, 1_000_000) == 50_000
    assert withal.sampling_us(now_us, 1_000_000) == 100_000
