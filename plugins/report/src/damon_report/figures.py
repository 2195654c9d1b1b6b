"""Numbers as reports print them, and as their options take them."""

import click

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
    """Return microseconds to about three digits: ``1.5s``, ``2h15m``; ``0`` for nothing."""
    if not us:
        return "0"
    for unit, unit_us, below in (("us", 1, 1000), ("ms", 1_000, 1000), ("s", 1_000_000, 60)):
        number = f"{us / unit_us:.3g}"
        if float(number) < below:
            return number + unit
    for unit, unit_s, lesser, lesser_s in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60)):
        lessers = round(us / 1e6 / lesser_s)
        if lessers * lesser_s >= unit_s:
            return _two_units(lessers, unit_s // lesser_s, unit, lesser)
    return _two_units(round(us / 1e6), 60, "m", "s")


def _two_units(lessers: int, in_unit: int, unit: str, lesser: str) -> str:
    units, rest = divmod(lessers, in_unit)
    return f"{units}{unit}" + (f"{rest}{lesser}" if rest else "")


def percent(share: float) -> str:
    """Return a share in whole per cent; what isn't nothing, or all, isn't called so."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{share:.0%}"


class _ShareType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
            if not 0 <= share <= 1:
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is no share: write one like '50%' or '0.5'", param, ctx)
        return share


#: A share like ``50%`` or ``0.5``; the command gets 0.0 to 1.0.
SHARE = _ShareType()
