"""Durations and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    AttributeValueError,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("250us", 250),
        ("5ms", 5_000),
        ("1.5s", 1_500_000),
        ("10m", 600_000_000),
        ("10min", 600_000_000),
        ("2h", 7_200_000_000),
        ("1d", 86_400_000_000),
        (" 5 ms ", 5_000),
        ("1m17s", 77_000_000),
        ("1d 2h 30m", 95_400_000_000),
        ("1h0.5s", 3_600_500_000),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, us: int) -> None:
    """The number is whole or decimal; a blank before the unit is optional."""
    assert parse_duration(text) == us


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4096", 4_096),
        ("4096B", 4_096),
        ("64MiB", 64 << 20),
        ("1.5GB", 1_500_000_000),
        ("1.5 GiB", 3 << 29),
        ("1kB", 1_000),
        ("1KiB", 1_024),
        ("2TiB", 2 << 40),
        ("1EiB", 1 << 60),
    ],
)
def test_a_size_is_a_number_with_or_without_a_unit(text: str, size_bytes: int) -> None:
    """Binary units count in 1,024, the others in 1,000."""
    assert parse_size(text) == size_bytes


WRONG = ["", "ms", "-5ms", "5 parsecs", "1,5s", "1.s", ".5s", "5ms5", "inf s", "9" * 5_000 + "s"]


@pytest.mark.parametrize(
    "text",
    [*WRONG, "5", "5MS", "9" * 400 + ".5s", "1s1m", "1s1s", "1m1min", "1m5", "1s" * 90 + "!"],
)
def test_invalid_durations_are_refused(text: str) -> None:
    """A bare number isn't valid either: it could mean seconds or microseconds."""
    with pytest.raises(AttributeValueError, match=r"write a duration like '5ms', '1\.5s' or '10m'"):
        parse_duration(text)


@pytest.mark.parametrize("text", [*WRONG, "5mb", "5KB", "64 mib"])
def test_invalid_sizes_are_refused(text: str) -> None:
    """Case matters in units: mb would be a thousandth of a bit."""
    with pytest.raises(AttributeValueError, match=r"write a size like '4096', '64MiB' or '1\.5GB'"):
        parse_size(text)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0us"),
        (999, "999us"),
        (5_000, "5ms"),
        (1_500_000, "1.5s"),
        (933_400, "933.4ms"),
        (999_990, "1s"),
        (59_996_000, "1m"),
        (90_000_000, "1m30s"),
        (5_400_000_000, "1h30m"),
        (3_599_700_000, "1h"),
        (100_000_000_000, "1d4h"),
        (86_400_000_000 * 3, "3d"),
    ],
)
def test_a_duration_is_written_as_people_do(us: int, text: str) -> None:
    """In the largest unit that gives at least 1; from a minute on with the next smaller unit."""
    assert format_duration(us) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_023.7, "1.0 KiB"),
        (1_024, "1.0 KiB"),
        (1_048_575, "1.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (102_399, "100 KiB"),
        (511 << 20, "511 MiB"),
        (1 << 60, "1024 PiB"),
    ],
)
def test_a_size_is_written_in_its_largest_unit(size_bytes: float, text: str) -> None:
    """The unit is the largest binary one that gives at least 1 when it is rounded."""
    assert format_size(size_bytes) == text


@given(st.integers(0, 3_649 * 86_400_000_000))
def test_a_written_duration_can_be_read_back(us: int) -> None:
    """It is precise to four digits, or to half of the smaller unit."""
    assert parse_duration(format_duration(us)) == pytest.approx(us, rel=0.021)


@given(st.integers(0, 1 << 56))
def test_a_written_size_can_be_read_back(size_bytes: int) -> None:
    """It is precise to a tenth of its unit, from 100 on to a whole one."""
    assert parse_size(format_size(size_bytes)) == pytest.approx(size_bytes, rel=0.051)
