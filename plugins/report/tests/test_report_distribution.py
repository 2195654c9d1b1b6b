"""Percentiles by time: exact for few values, close for any number."""

import numpy as np
import pytest
from damon_report.distribution import Distribution
from hypothesis import given
from hypothesis import strategies as st

PERCENTS = (0, 25, 50, 75, 90, 95, 99, 100)


def of(*values: tuple[float, float]) -> Distribution:
    """Return the distribution of values with their weights."""
    distribution = Distribution()
    for value, weight in values:
        distribution.add(value, weight)
    return distribution


def test_values_count_by_time() -> None:
    """A value that held for nine tenths of the time is the median, and the 90th percentile."""
    distribution = of((10, 9), (20, 1))
    assert distribution.percentiles([0, 50, 90, 91, 100]) == [10, 10, 10, 20, 20]
    assert distribution.mean == 11


def test_nothing() -> None:
    """Without values everything is 0."""
    assert Distribution().percentiles([0, 50, 100]) == [0, 0, 0]
    assert Distribution().mean == 0


def test_a_time_of_0_adds_nothing() -> None:
    """A value that held for a time of 0 is ignored."""
    assert of((5, 0), (7, 1)).percentiles([0]) == [7]


@given(st.lists(st.tuples(st.integers(0, 1 << 45), st.integers(1, 1000)), min_size=1))
def test_as_if_each_value_were_repeated(values: list[tuple[int, int]]) -> None:
    """A weight of n is the same as n equal values."""
    repeated = np.sort(np.repeat(*np.array(values, dtype=np.int64).T))
    expected = [float(repeated[max(0, -(-each * len(repeated) // 100) - 1)]) for each in PERCENTS]
    assert of(*values).percentiles(PERCENTS) == expected


def test_many_values_are_kept_closely() -> None:
    """With a hundred thousand different values each percentile has an error below 0.1 %."""
    values = np.random.default_rng(1).lognormal(15, 3, 100_000)
    distribution = of(*((value, 1.0) for value in values.tolist()))
    found = distribution.percentiles(PERCENTS)
    expected = np.percentile(values, PERCENTS, method="inverted_cdf")
    assert found == pytest.approx(expected.tolist(), rel=1e-3)
    assert (found[0], found[-1]) == (values.min(), values.max())
    assert distribution.mean == pytest.approx(values.mean())
