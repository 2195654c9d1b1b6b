"""The quantities that rules compare, their units, and thresholds written in those units."""

import re
from collections import deque
from typing import Literal, Self

from attrs import frozen

from damon_core import (
    AttributeValueError,
    Snapshot,
    TargetSnapshot,
    format_size,
    parse_size,
)

#: The units of quantities: bytes, shares from 0 to 1, or counts.
Unit = Literal["bytes", "ratio", "count"]

#: The names of all quantities, as rules write them.
QuantityName = Literal[
    "working_set",
    "accessed",
    "idle",
    "monitored",
    "working_set_share",
    "accessed_share",
    "idle_share",
    "missed_samples",
    "callback_failures",
]

_GREATEST = 2**63
_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*")
_HINTS: dict[Unit, str] = {
    "bytes": "write a size like '64MiB' or '1.5GB'",
    "ratio": "write a share like '20%' or '0.2', from 0% to 100%",
    "count": "write a whole number like '10'",
}


@frozen
class Quantity:
    """A quantity that a rule can compare.

    Attributes:
        words: The quantity's name for people.
        unit: The unit of its values.
        of_targets: Whether each target has a value; otherwise only the whole context has one.
    """

    words: str
    unit: Unit
    of_targets: bool = True


#: All quantities by name.
QUANTITIES: dict[QuantityName, Quantity] = {
    "working_set": Quantity("working set", "bytes"),
    "accessed": Quantity("memory accessed per sampling interval", "bytes"),
    "idle": Quantity("idle memory", "bytes"),
    "monitored": Quantity("monitored memory", "bytes"),
    "working_set_share": Quantity("share of memory in the working set", "ratio"),
    "accessed_share": Quantity("share of memory accessed per sampling interval", "ratio"),
    "idle_share": Quantity("share of memory idle", "ratio"),
    "missed_samples": Quantity("missed samples", "count", of_targets=False),
    "callback_failures": Quantity("callback failures", "count", of_targets=False),
}


@frozen
class Amount:
    """The value of a quantity: at least `low`, at most `high`; the same where it is known."""

    low: float
    high: float

    @classmethod
    def known(cls, value: float) -> Self:
        """Return a value that is known."""
        return cls(value, value)


def measure(
    name: QuantityName, columns: Snapshot | TargetSnapshot, idle_for_us: int = 0
) -> Amount | None:
    """Return the value of a quantity in a snapshot.

    Args:
        name: A quantity with the unit bytes or ratio.
        columns: The whole snapshot, or one of its targets.
        idle_for_us: Minimum idle time of memory that counts as idle.

    Returns:
        Bytes, or a share of the monitored bytes; None for a share of nothing.
    """
    base = name.removesuffix("_share")
    if base == "working_set":
        amount = Amount.known(columns.working_set_bytes())
    elif base == "accessed":
        amount = Amount.known(columns.accessed_bytes())
    elif base == "idle":
        idle = columns.idle(idle_for_us)
        amount = Amount(idle.low_bytes, idle.high_bytes)
    else:
        amount = Amount.known(columns.total_bytes)
    if base == name:
        return amount
    total = columns.total_bytes
    return Amount(amount.low / total, amount.high / total) if total else None


class Window:
    """The growth of a count within the last `within_us` microseconds.

    Args:
        within_us: The time span in which growth counts.
    """

    def __init__(self, within_us: int) -> None:
        self._within_us = within_us
        self._total = 0
        self._steps: deque[tuple[int, int]] = deque()

    def grown(self, total: int, now_us: int) -> int:
        """Record that the count is `total` at `now_us`, and return its growth in the window."""
        if total != self._total:
            self._steps.append((now_us, total - self._total))
            self._total = total
        while self._steps and self._steps[0][0] <= now_us - self._within_us:
            self._steps.popleft()
        return sum(growth for _, growth in self._steps)


def parse_threshold(field: str, written: str | float, unit: Unit) -> float:
    """Return the number of a threshold, in the unit of its quantity.

    Args:
        field: The name of the option, for the message.
        written: The value of the option, such as ``64MiB``, ``20%`` or ``10``.
        unit: The unit of the quantity.

    Raises:
        AttributeValueError: The value isn't a number with that unit.
    """
    try:
        number = _parse_text(written, unit) if isinstance(written, str) else written
    except ValueError as error:  # AttributeValueError is one
        raise AttributeValueError(field, repr(written), _HINTS[unit]) from error
    # A chained comparison, so that NaN is out of range too.
    in_range = 0 <= number <= (1 if unit == "ratio" else _GREATEST)
    if not in_range or (unit != "ratio" and number != int(number)):
        raise AttributeValueError(field, repr(written), _HINTS[unit])
    return number


def _parse_text(text: str, unit: Unit) -> float:
    if unit == "bytes":
        return parse_size(text)
    if unit == "count":
        return int(text)
    match = _SHARE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return float(match[1]) / (100 if match[2] else 1)


def format_amount(amount: float, unit: Unit) -> str:
    """Return the value of a quantity with its unit, for people."""
    if unit == "bytes":
        return format_size(amount)
    return f"{amount:.1%}" if unit == "ratio" else f"{amount:.0f}"
