"""Durations and sizes as people write them: ``5ms``, ``64MiB``."""

import re
from typing import NewType

from damon_core.errors import AttributeValueError

#: A duration in microseconds; options of this type are written like ``5ms`` or ``1.5s``.
Microseconds = NewType("Microseconds", int)
#: A size in bytes; options of this type are written like ``64MiB`` or ``4096``.
Bytes = NewType("Bytes", int)

_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "min": 60_000_000}
_US |= {"h": 3_600_000_000, "d": 86_400_000_000}
_BYTES = {"": 1, "B": 1}
_BYTES |= {f"{prefix}iB": 1 << 10 * power for power, prefix in enumerate("KMGTPE", 1)}
_BYTES |= {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTPE", 1)}

_NUMBER = r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*"
_DURATION = re.compile(rf"{_NUMBER}([A-Za-z]+)")
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern})+\s*")
_SIZE = re.compile(rf"{_NUMBER}([A-Za-z]*)\s*")

#: What the parsers take, as regular expressions of JSON Schema: they say no more than the units.
DURATION_PATTERN = rf"^(\s*[0-9]+(\.[0-9]+)?\s*({'|'.join(_US)}))+\s*$"
SIZE_PATTERN = rf"^\s*[0-9]+(\.[0-9]+)?\s*({'|'.join(filter(None, _BYTES))})?\s*$"

#: Longer durations are slips of the pen, and more than clocks and timers take.
_LONGEST_US = 3_650 * _US["d"]
#: Sizes and addresses are whole numbers of 63 bits.
_LARGEST_BYTES = (1 << 63) - 1

DURATION_HINT = "write a duration like '5ms', '1.5s' or '10m'"
SIZE_HINT = "write a size like '4096', '64MiB' or '1.5GB'"


def _times(number: str, factor: int) -> int:
    return int(number) * factor if "." not in number else round(float(number) * factor)


def parse_duration(text: str) -> Microseconds:
    """Return the microseconds of a duration such as ``5ms``, ``1.5s``, ``10m``, ``2h30m``.

    Raises:
        AttributeValueError: The text isn't one or several numbers, each with a unit of time, the
            largest unit first; or it is longer than ten years.
    """
    parts = _DURATION.findall(text) if _DURATIONS.fullmatch(text) else []
    units = [_US.get(unit, 0) for _, unit in parts]
    if not units or 0 in units or sorted(set(units), reverse=True) != units:
        raise AttributeValueError("duration", repr(text), DURATION_HINT)
    total_us = sum(map(_times, (number for number, _ in parts), units))
    if total_us > _LONGEST_US:
        raise AttributeValueError("duration", repr(text), "must be at most 3650d, ten years")
    return Microseconds(total_us)


def parse_size(text: str) -> Bytes:
    """Return the bytes of a size such as ``4096``, ``64MiB`` or ``1.5GB``.

    Raises:
        AttributeValueError: The text isn't a number with a unit of size, or is 8 EiB or more.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _BYTES:
        raise AttributeValueError("size", repr(text), SIZE_HINT)
    size_bytes = _times(match[1], _BYTES[match[2]])
    if size_bytes > _LARGEST_BYTES:
        raise AttributeValueError("size", repr(text), "must be below 8EiB")
    return Bytes(size_bytes)


def format_duration(us: float, digits: int = 4) -> str:
    """Return microseconds as people write them: ``5ms``, ``1.5s``, ``2h15m``.

    Args:
        us: The microseconds.
        digits: Significant digits below a minute; longer durations have two units.
    """
    for unit, below in (("us", 1_000), ("ms", 1_000), ("s", 60)):
        number = float(f"{us / _US[unit]:.{digits}g}")
        if number < below:
            return f"{number:g}{unit}"
    for unit, lesser in (("d", "h"), ("h", "m")):
        if round(us / _US[lesser]) * _US[lesser] >= _US[unit]:
            return _in_two_units(us, unit, lesser)
    return _in_two_units(us, "m", "s")


def _in_two_units(us: float, unit: str, lesser: str) -> str:
    units, rest = divmod(round(us / _US[lesser]), _US[unit] // _US[lesser])
    return f"{units}{unit}" + (f"{rest}{lesser}" if rest else "")


def format_size(size_bytes: float) -> str:
    """Return bytes as people write them: ``512 B``, ``39.0 MiB``, ``512 MiB``.

    The unit is the largest binary one that gives at least 1; from 100 on there are no decimals.
    """
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if round(value) < 1024:
            return _in_unit(value, unit)
        value /= 1024
    return _in_unit(value, "PiB")


def _in_unit(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if unit != "B" and value < 99.95 else f"{value:.0f} {unit}"
