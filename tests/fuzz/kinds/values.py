"""Values on command lines: durations, sizes, shares, times, addresses, patterns, options."""

import json
import random
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import click
from damon_alert.quantities import parse_threshold
from damon_cli.params import DURATION, SHARE, SIZE
from damon_cli.watching import _options
from damon_damo.values import duration_ns, number
from damon_paddr.options import PaddrOptions
from damon_report import options as report
from damon_report.selection import mapping_matches

from damon_core import (
    Plugins,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from tests.fuzz.judging import Fault, Kind, attempt, check_line
from tests.fuzz.mutating import Mutator

_EXAMPLES = {
    "duration": ("5ms", "1.5s", "10m", "2h30m", "1d", "0s", "1d2h3m4s5ms6us", " 1 s "),
    "size": ("4096", "64MiB", "1.5GB", "16EiB", "1kB", "0", " 1 B "),
    "share": ("5%", "0.05", "100%", "1", "0.0001%"),
    "report share": ("50%", "0.5", "0", "100%"),
    "moment": (
        "10s",
        "1.5h",
        "2026-11-23T10:00",
        "2026-11-23T10:00:00Z",
        "2026-11-23",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999-12:00",
        "20261123T100000+0100",
        "2026-W48-1",
    ),
    "addresses": ("7f00-8000", "-1000", "1000-", "0x10-0x20", "7f0000000000-7f0000400000"),
    "ranges": ("100000000-13fffffff", "0x1000-0x2000", "0-fff"),
    "pattern": ("*", "[heap]", "lib[a-z]*", "[!a]?", "/usr/lib/*.so", "(?i)x", "[[]", "[]-a]"),
    "policy option": ("seed=1", "a=[1, 2]", 'a="b"', "a={b=1}", "a=1979-05-27", "a=b c"),
    "bytes threshold": ("64MiB", "0"),
    "ratio threshold": ("20%", "0.2", " 5 % "),
    "count threshold": ("10", "0"),
    "damo duration": ("1 s 200 ms", "4,096 us", "5", "-1 s", "1.5 h"),
    "damo number": ("4,096", "4096", "1.5"),
}
_WORDS = [
    "us",
    "ms",
    "s",
    "m",
    "min",
    "h",
    "d",
    "B",
    "KiB",
    "MiB",
    "GiB",
    "EiB",
    "kB",
    "%",
    "-",
    ":",
    "T",
    "Z",
    "+",
    ".",
    ",",
    "0x",
    "e",
    "E",
    "_",
    "inf",
    "nan",
    "*",
    "?",
    "[",
    "]",
    "!",
]

_NUMBER = r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*"
_US = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "min": 60 * 10**6}
_US |= {"h": 3600 * 10**6, "d": 86400 * 10**6}


class Values(Kind):
    """A value of one of the types that options have, as JSON: the type and the text."""

    name: ClassVar[str] = "values"
    limit_s: ClassVar[float] = 1.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._plugins = Plugins.discover()
        self._judges: dict[str, Callable[[str], bool]] = {
            "duration": _duration,
            "size": _size,
            "share": lambda text: _in(_clicked(SHARE, text), 0, 1),
            "report share": lambda text: _in(_clicked(report.SHARE, text), 0, 1),
            "moment": lambda text: _clicked(report.MOMENT, text) is not None,
            "addresses": _addresses,
            "ranges": _ranges,
            "pattern": _pattern,
            "policy option": _policy_option,
            "bytes threshold": lambda text: _threshold(text, "bytes"),
            "ratio threshold": lambda text: _threshold(text, "ratio"),
            "count threshold": lambda text: _threshold(text, "count"),
            "damo duration": lambda text: _of_damo(duration_ns, text, "us"),
            "damo number": lambda text: _of_damo(number, text),
        }

    def make(self, chance: random.Random) -> bytes:
        """Return a type, and an example of it that is changed; or of another type."""
        mutator = Mutator(chance, _WORDS)
        kind = chance.choice(list(_EXAMPLES))
        examples = _EXAMPLES[kind if chance.random() < 0.9 else chance.choice(list(_EXAMPLES))]
        text = chance.choice(examples)
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            text = mutator.text(text)
        # Who types a long one sees it again.
        return json.dumps([kind, text[:200]]).encode()

    def judge(self, data: bytes) -> bool:
        """Read it as its type."""
        try:
            kind, text = json.loads(data)
            judge = self._judges[kind]
        except (ValueError, KeyError, TypeError):
            return False
        return isinstance(text, str) and judge(text)


def _clicked(kind: "click.ParamType[Any]", text: str) -> Any:
    """Return a value as click gets it; None if it is refused, in one line."""
    try:
        return kind.convert(text, None, None)
    except click.UsageError as error:
        check_line(error.format_message())
        return None


def _in(found: float | None, least: float, greatest: float) -> bool:
    if found is not None and not least <= found <= greatest:
        raise Fault(f"{found} is out of range")
    return found is not None


def _duration(text: str) -> bool:
    found = attempt(lambda: parse_duration(text), "duration")
    parts = re.findall(rf"{_NUMBER}([A-Za-z]+)", text)
    exact = sum((Fraction(count) * _US.get(unit, 0) for count, unit in parts), Fraction())
    _check_exact(found, exact)
    _clicked(DURATION, text)
    if found is not None:
        again = parse_duration(format_duration(found, 18))
        # Longer ones are rounded to two units.
        if abs(again - found) > max(found * 0.02, 0):
            raise Fault(f"{found} is written {format_duration(found, 18)}, which is {again}")
    return found is not None


def _size(text: str) -> bool:
    found = attempt(lambda: parse_size(text), "size")
    if found is not None:
        powers = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
        count, unit = re.fullmatch(rf"{_NUMBER}([A-Za-z]*)\s*", text).groups()  # type: ignore[union-attr]
        factor = (1024 if "i" in unit else 1000) ** powers.get(unit[:1], 0)
        _check_exact(found, Fraction(count) * factor)
        parse_size(format_size(found).replace(" ", ""))
    _clicked(SIZE, text)
    return found is not None


def _check_exact(found: int | None, exact: Fraction) -> None:
    if found is not None and abs(found - exact) > max(Fraction(1), exact / 10**15):
        raise Fault(f"{found} instead of {float(exact)}")


def _addresses(text: str) -> bool:
    found = _clicked(report.ADDRESSES, text)
    if found is None:
        return False
    match = re.fullmatch(r"(?:0x)?([0-9a-f]*)-(?:0x)?([0-9a-f]*)", text, re.IGNORECASE)
    if match is None:
        raise Fault(f"{text!r} is taken for {found}")
    start, end = (int(each, 16) if each else None for each in match.groups())
    if found != (start or 0, end if end is not None else (1 << 63) - 1):
        raise Fault(f"{text!r} is taken for {found}")
    return True


def _ranges(text: str) -> bool:
    from damon_core.registry.options import structure

    found = attempt(lambda: structure(PaddrOptions, {"ranges": [text]}), "ranges")
    if found is None:
        return False
    ((start, end),) = found.wanted
    if start % 4096 or end % 4096 or not 0 <= start < end <= 1 << 63:
        raise Fault(f"{text!r} is taken for {start:x}-{end:x}")
    return True


def _pattern(text: str) -> bool:
    mapping_matches("/usr/lib/" + "libc.so.6" * 20, [text])
    if not mapping_matches(text, [text]):
        raise Fault("a name doesn't match itself")
    return True


def _policy_option(text: str) -> bool:
    try:
        found = _options([text])
    except click.UsageError as error:
        check_line(error.format_message())
        return False
    if len(found) != 1:
        raise Fault(f"{len(found)} options of one")
    return True


def _threshold(text: str, unit: Any) -> bool:
    found = attempt(lambda: parse_threshold("above", text, unit), "above")
    return _in(found, 0, 1 if unit == "ratio" else 1 << 63)


def _of_damo(read: Callable[..., int], text: str, *unit: str) -> bool:
    try:
        return isinstance(read(text, *unit), int)
    except (ValueError, TypeError, KeyError, OverflowError):  # as it says
        return False
