"""Intervals and region limits: their values, their checks, a longer sampling interval."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import AttributeValueError, Intervals, RegionLimits


def test_intervals_default_to_the_usual_ones() -> None:
    """5 ms, 100 ms and 1 s."""
    assert Intervals() == Intervals(sampling_us=5_000, aggregation_us=100_000, update_us=1_000_000)


def test_limits_default_to_the_usual_ones() -> None:
    """10 and 1,000 regions."""
    assert RegionLimits() == RegionLimits(min_regions=10, max_regions=1_000)


#: What is reported for refused values.
ALLOWED = dict.fromkeys((float, str, bool, type(None)), "must be a whole number above 0")
ALLOWED[int] = "must be above 0"


@pytest.mark.parametrize("value", [0, -1, 1.5, "5", True, None])
@pytest.mark.parametrize("name", ["sampling_us", "aggregation_us", "update_us"])
def test_an_interval_is_a_whole_number_above_0(name: str, value: object) -> None:
    """The error says which attribute, what was found and what is allowed."""
    with pytest.raises(AttributeValueError) as caught:
        Intervals(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"{name} is {value!r}: {ALLOWED[type(value)]}"


@pytest.mark.parametrize("value", [0, -1, 1.5, "5", True, None])
@pytest.mark.parametrize("name", ["min_regions", "max_regions"])
def test_a_limit_is_a_whole_number_above_0(name: str, value: object) -> None:
    """The error says which attribute, what was found and what is allowed."""
    with pytest.raises(AttributeValueError, match=f"{name} is .*: {ALLOWED[type(value)]}"):
        RegionLimits(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["aggregation_us", "update_us"])
def test_no_interval_is_shorter_than_the_sampling_interval(name: str) -> None:
    """An aggregation without a check would mean nothing."""
    with pytest.raises(AttributeValueError) as caught:
        Intervals(sampling_us=10, **({"aggregation_us": 10, "update_us": 10} | {name: 9}))
    assert (
        str(caught.value) == f"{name} is 9us: must not be shorter than the sampling interval (10us)"
    )


def test_all_intervals_may_be_equal() -> None:
    """One check an aggregation is the least."""
    assert Intervals(7, 7, 7).aggregation_us == 7


def test_max_regions_is_not_below_min_regions() -> None:
    """The error names both."""
    with pytest.raises(AttributeValueError) as caught:
        RegionLimits(min_regions=20, max_regions=10)
    assert str(caught.value) == "max_regions is 10: must not be below min_regions (20)"


@pytest.mark.parametrize("value", [Intervals(), RegionLimits()])
def test_attributes_are_values(value: object) -> None:
    """They can't be changed, and equal ones are one key."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.sampling_us = 1  # type: ignore[attr-defined]
    assert len({value, type(value)()}) == 1


def test_stretching_keeps_the_other_intervals_while_a_check_fits() -> None:
    """Only where an interval would be shorter than the sampling interval it grows."""
    assert Intervals().stretched(100_000) == Intervals(100_000, 100_000, 1_000_000)
    assert Intervals().stretched(300_000) == Intervals(300_000, 300_000, 1_000_000)


@given(st.integers(-(10**6), 10**12))
def test_stretching_never_shortens_and_is_always_valid(sampling_us: int) -> None:
    """Any request gives intervals at least as long as before."""
    before, after = Intervals(), Intervals().stretched(sampling_us)
    assert after.sampling_us == max(before.sampling_us, sampling_us)
    assert after.aggregation_us >= before.aggregation_us
    assert after.update_us >= before.update_us
