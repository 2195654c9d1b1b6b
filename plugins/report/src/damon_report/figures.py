"""Formats of numbers in reports."""

from damon_core import format_duration

_UNITS = "BKMGTPE"


def short_size(size_bytes: float) -> str:
    """Return bytes in at most five characters, in binary units: ``1.5G``, ``210M``, ``0``."""
    value, unit = float(size_bytes), 0
    while round(value) >= 1000 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    if unit == 0:
        return f"{value:.0f}B" if value else "0"
    return f"{value:.1f}{_UNITS[unit]}" if value < 99.95 else f"{value:.0f}{_UNITS[unit]}"


def short_duration(us: float) -> str:
    """Return microseconds in at most six characters: ``1.5s``, ``2h15m``; ``0`` for nothing."""
    return format_duration(us, digits=3) if us else "0"


def percent(share: float) -> str:
    """Return a share in whole per cent; only exactly 0 and 1 become ``0%`` and ``100%``."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{share:.0%}"
