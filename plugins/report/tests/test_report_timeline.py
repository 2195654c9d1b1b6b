"""Exact means of pieces of time."""

import math

import numpy as np
import pytest
from damon_report.timeline import Timeline, coarser, sparkline
from hypothesis import given
from hypothesis import strategies as st


def test_a_value_counts_for_its_time() -> None:
    """A piece that two values share has their mean by time."""
    line = Timeline(0, 40, 2)
    line.add(10, 0, 5)
    line.add(50, 5, 30)
    assert line.mean.tolist() == [40, 50]
    assert line.least.tolist() == [10, 50]
    assert line.greatest.tolist() == [50, 50]


def test_pieces_without_a_value_are_unknown() -> None:
    """A piece without any value is NaN, not 0."""
    line = Timeline(0, 30, 3)
    line.add(1, 10, 20)
    assert np.isnan(line.mean).tolist() == [True, False, True]
    assert np.isnan(line.greatest).tolist() == [True, False, True]


def test_time_outside_is_left_out() -> None:
    """A value may hold for longer than the timeline."""
    line = Timeline(10, 20, 1)
    line.add(4, 0, 15)
    line.add(8, 15, 100)
    line.add(1000, 20, 100)
    assert line.mean.tolist() == [6]


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 300)), min_size=1, max_size=40),
)
def test_the_sum_over_time_stays(pieces: int, values: list[tuple[int, int]]) -> None:
    """The means of any number of pieces add up to the mean of all values."""
    end = sum(time for _, time in values)
    line = Timeline(0, end, pieces)
    at = 0
    for value, time in values:
        line.add(value, at, at + time)
        at += time
    whole = sum(value * time for value, time in values)
    assert float(line.mean.sum()) * end / pieces == pytest.approx(whole)


def test_sparklines_rise() -> None:
    """Characters rise from 0 to the greatest value; unknown values are blank."""
    assert sparkline(np.array([0, 1, 2, math.nan, 7])) == "▁▂▃ █"
    assert sparkline(np.array([0, 7]), ascii_only=True) == "_@"
    assert sparkline(np.array([math.nan, 0])) == " ▁"


def test_coarser_lines_are_means_of_known_values() -> None:
    """Neighbours become one value; unknown values are ignored."""
    values = np.array([1, 3, math.nan, 5, math.nan, math.nan])
    assert coarser(values, 3).tolist()[:2] == [2, 5]
    assert np.isnan(coarser(values, 3)[2])
    assert coarser(values, 6) is values
