"""Numbers and durations as damo writes them: plain, or as text for people.

The same quantity is ``"4096"`` in one place and ``"4,096"`` in another, by version and by field;
durations may be ``"1 s 200 ms"``.
"""

import re
from typing import Any

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}

_DURATION = re.compile(r"\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?)\s*([a-z]+)")
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern})+\s*")


def number(value: Any) -> int:
    """Return a whole number; one with a fraction is rounded.

    Raises:
        ValueError, TypeError, OverflowError: It isn't a number.
    """
    if isinstance(value, str):
        value = value.replace(",", "")
        try:
            return int(value)
        except ValueError:
            value = float(value)
    rounded: int = round(value)
    return rounded


def duration_ns(value: Any, unit: str) -> int:
    """Return a duration, nanoseconds.

    Args:
        value: What the file says.
        unit: Of what a number without one is.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: It isn't a duration.
    """
    if not isinstance(value, str) or value[-1:].isdigit():
        return number(value) * _UNITS_NS[unit]
    if not _DURATIONS.fullmatch(value):
        raise ValueError(f"{value[:40]!r} is not a duration")
    parts = _DURATION.findall(value)
    return round(sum(float(amount.replace(",", "")) * _UNITS_NS[name] for amount, name in parts))


def duration_us(value: Any) -> int:
    """Return a duration that is in microseconds where it has no unit, microseconds."""
    return duration_ns(value, "us") // 1_000
