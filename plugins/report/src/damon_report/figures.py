"""Formats of numbers in reports."""

from damon_core import format_duration


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
