"""What the governor of intervals is expected to do with costs that are known beforehand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    AccumulatingSampling,
    AttributeValueError,
    Costs,
    DelegatedSampling,
    Intervals,
    Limits,
    PageSampling,
    Toll,
)
from damon_core.loop.forecast import expect, expect_idle

SECOND = 1_000_000
#: A gibibyte whose walks take 15 ms each, and all of whose accessed bits cost 100 ms.
GIBIBYTE = Costs(sampling=AccumulatingSampling, check_us=22_500, toll=Toll(100_000, 45_000, 15_000))


def accumulating(check_us: float, toll: Toll | None = None, update_us: int = 0) -> Costs:
    """Return costs of something that is looked at twice an aggregation."""
    return Costs(
        sampling=AccumulatingSampling,
        check_us=check_us,
        toll=toll or Toll(),
        update_us=update_us,
    )


def test_what_fits_is_not_stretched() -> None:
    """Two checks of 100 us each 100 ms: less than 1 % of a processor."""
    found = expect(accumulating(100), Intervals(), Limits())
    assert (found.intervals, found.limit) == (Intervals(), "")
    assert 0.002 < found.cpu_share < 0.02


@pytest.mark.parametrize(
    ("costs", "limits", "limit", "least_us"),
    [
        # Two checks of 10 ms take 2 % of a second.
        (accumulating(10_000), Limits(), "cpu_budget", SECOND),
        (accumulating(10_000), Limits(cpu_budget=0.1), "cpu_budget", SECOND // 5),
        # 50 ms lost are 1 % of 5 seconds.
        (accumulating(100, Toll(50_000)), Limits(), "max_slowdown", 5 * SECOND),
        (accumulating(100, Toll(50_000)), Limits(max_slowdown=0.1), "max_slowdown", SECOND // 2),
        # 100 ms at once, 200 ms in all, are a thousandth of 200 seconds.
        (accumulating(100, Toll(0, 200_000, 100_000)), Limits(), "max_stall", 200 * SECOND),
    ],
)
def test_the_tightest_limit_decides(
    costs: Costs, limits: Limits, limit: str, least_us: int
) -> None:
    """The interval is what that limit needs, with the governor's room."""
    found = expect(costs, Intervals(), limits)
    assert found.limit == limit
    assert least_us <= found.intervals.aggregation_us <= 1.5 * least_us


def test_long_stalls_are_rarer() -> None:
    """Three walks of 50 ms take 0.4 % of the time, three of 25 ms 1.6 %."""
    found = [
        expect(accumulating(100, Toll(0, 3 * us, us)), Intervals(), Limits()).intervals
        for us in (50_000, 25_000)
    ]
    shares = [150_000 / found[0].aggregation_us, 75_000 / found[1].aggregation_us]
    assert 0.7 * 0.004 <= shares[0] <= 0.004
    assert 0.7 * 0.016 <= shares[1] <= 0.016


def test_none_is_no_limit() -> None:
    """Without limits the configured intervals stay, whatever it costs."""
    none = Limits(cpu_budget=None, max_slowdown=None, max_stall_us=None)
    found = expect(accumulating(SECOND, Toll(SECOND, SECOND, SECOND)), Intervals(), none)
    assert (found.intervals, found.limit) == (Intervals(), "")


@pytest.mark.parametrize("name", ["cpu_budget", "max_slowdown", "max_stall_us"])
def test_limits_out_of_range(name: str) -> None:
    """They are those of a context, and named in errors."""
    with pytest.raises(AttributeValueError, match=f"^{name} is 0"):
        Limits(**{name: 0})


def test_shares_are_those_of_the_settled_interval() -> None:
    """The slow-down, and what the worker spends, keep within the limits."""
    found = expect(GIBIBYTE, Intervals(), Limits())
    assert found.slowdown == 100_000 / found.intervals.aggregation_us <= 0.01
    assert 45_000 / found.intervals.aggregation_us < found.cpu_share < 0.02


@pytest.mark.parametrize("sampling", [PageSampling, DelegatedSampling])
def test_other_ways_of_sampling(sampling: type[PageSampling]) -> None:
    """What is stretched is the way's: here both intervals."""
    costs = Costs(sampling=sampling, check_us=20_000)
    intervals = expect(costs, Intervals(), Limits()).intervals
    assert intervals.sampling_us > 5_000
    assert intervals.checks == 20


def test_updates_count() -> None:
    """Updates of 100 ms are made every 10 seconds, with half of the budget."""
    found = expect(accumulating(0, update_us=100_000), Intervals(), Limits())
    assert 10 * SECOND <= found.intervals.update_us <= 12 * SECOND


def test_who_accesses_nothing_loses_nothing() -> None:
    """Then the monitor's own budget decides."""
    found = expect_idle(GIBIBYTE, Intervals(), Limits())
    assert (found.limit, found.slowdown) == ("cpu_budget", 0.0)
    assert found.intervals.aggregation_us < 4 * SECOND


@given(st.integers(1_000, 1_000_000), st.sampled_from([20_000, 50_000, 200_000]))
def test_a_little_more_memory_is_no_leap(walk_us: int, max_stall_us: int) -> None:
    """A walk that takes 1 % longer changes aggregations by no more than a step of the governor."""

    def aggregation_us(us: int) -> int:
        costs = accumulating(1.5 * us, Toll(2 * us, 3 * us, us))
        return expect(
            costs, Intervals(), Limits(max_stall_us=max_stall_us)
        ).intervals.aggregation_us

    before_us, after_us = aggregation_us(walk_us), aggregation_us(round(1.01 * walk_us))
    # It leaves intervals as they are within its headroom of 15 %.
    assert before_us / 1.16 <= after_us <= 1.16 * 1.04 * before_us
