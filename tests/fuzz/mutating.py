"""Seeded changes of inputs: of bytes, of texts with words and numbers, of values within values."""

import random
import re
from collections.abc import Sequence
from typing import Any

#: Numbers at which programs break.
NUMBERS = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "127",
    "128",
    "255",
    "256",
    "4095",
    "4096",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "-9223372036854775808",
    "-9223372036854775809",
    "0.5",
    "-0.0",
    "1e308",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "NaN",
    "Infinity",
    "0x10",
    "1_000",
    "1,000",
    "00012",
    "+5",
    "١٢٣",
    "²",
    "1e-999",
    ".5",
    "5.",
    "999999999999999999",
    "1000000000000000000",
    "253402300799999999",
    "253402300800000000",
]

#: Names that files, programs, cgroups and mappings may have.
NAMES = (
    "a b",
    " ",
    "",
    "x" * 300,
    "a\nb",
    "a\r\nb",
    "\t",
    "a\\nb",
    "\x1b[31mred\x1b[0m",
    "\x00",
    "\x07",
    "a,b",
    'a"b',
    "a'b",
    "=1+1",
    "+1",
    "-1",
    "@a",
    "'=1",
    "''",
    "%s %d %n",
    "{x}",
    "{{",
    "$HOME",
    "`id`",
    "<script>alert(1)</script>",
    "</script>",
    "&amp;",
    "[heap]",
    "[bold]x[/bold]",
    "[/]",
    "x[vvar]",
    "/memfd:a (deleted)",
    "//",
    "../..",
    ".",
    "*",
    "[",
    "\\",
    "\\012",
    "ümläut",
    "日本語",
    "🐘",
    "e\u0301",
    "\u202egnp",
    "\u2028",
    "\u0085",
    "\ufeff",
    "\udc80",
    "\ud800",
    "NULL",
    "None",
    "nan",
    "1",
    "-",
    "--",
    "-v",
    "#",
    ";",
    "(x)",
    ")",
    "a) S 1 2 (b",
)

_BYTES = (0, 1, 9, 10, 13, 31, 32, 34, 39, 44, 47, 58, 92, 127, 128, 192, 254, 255)
#: What is replaced lies so near to a place that was chosen.
_NEAR_BYTES = 500
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_WORD = re.compile(rb"[A-Za-z_]+|[0-9a-fA-F]+|[^A-Za-z0-9_\s]")
_LINE = re.compile(rb"[^\n]*\n?")


class Mutator:
    """Changes inputs at random.

    Args:
        chance: Where randomness comes from.
        words: What may stand in texts of this kind, beside numbers and names.
    """

    def __init__(self, chance: random.Random, words: Sequence[str] = ()) -> None:
        self.chance = chance
        self._words = [word.encode("utf-8", "surrogatepass") for word in words]

    # -- values ------------------------------------------------------------------------

    def number(self) -> str:
        """Return a number as text."""
        chance = self.chance
        if chance.random() < 0.7:
            return chance.choice(NUMBERS)
        if chance.random() < 0.5:
            return str(chance.getrandbits(chance.choice((4, 8, 16, 32, 62, 63, 64, 70))))
        return str(chance.uniform(-1, 1) * 10 ** chance.randrange(-20, 30))

    def name(self) -> str:
        """Return a name."""
        chance = self.chance
        if chance.random() < 0.6:
            return chance.choice(NAMES)
        if chance.random() < 0.3:
            return chance.choice(NAMES) + chance.choice(NAMES)
        count = chance.randrange(1, 12)
        return "".join(
            chr(chance.choice((chance.randrange(128), chance.randrange(0x300))))
            for _ in range(count)
        )

    def value(self, value: Any) -> Any:
        """Return a value of JSON or TOML in which something is changed.

        Lists and tables are copied on the way down; what isn't changed is shared.
        """
        chance = self.chance
        if isinstance(value, dict) and value and chance.random() < 0.85:
            return self._in_table(dict(value))
        if isinstance(value, list) and value and chance.random() < 0.85:
            return self._in_list(list(value))
        return self._other(value)

    def _in_table(self, table: dict[str, Any]) -> dict[str, Any]:
        key = self.chance.choice(list(table))
        what = self.chance.random()
        if what < 0.08:
            del table[key]
        elif what < 0.12:
            table[self.name()] = table.pop(key)
        elif what < 0.16:
            table[self.name()] = self._other(None)
        else:
            table[key] = self.value(table[key])
        return table

    def _in_list(self, items: list[Any]) -> list[Any]:
        chance = self.chance
        place = chance.randrange(len(items))
        what = chance.random()
        if what < 0.06:
            del items[place]
        elif what < 0.12:
            items.insert(chance.randrange(len(items) + 1), items[place])
        elif what < 0.16:
            items[place], items[-1] = items[-1], items[place]
        elif what < 0.18:
            items *= chance.randrange(0, 4)
        else:
            items[place] = self.value(items[place])
        return items

    def _other(self, value: Any) -> Any:
        chance = self.chance
        what = chance.randrange(12)
        if isinstance(value, str) and what < 4:
            return self.text(value)
        if isinstance(value, bool) and what < 4:
            return not value
        if isinstance(value, int) and what < 4:
            return value + chance.choice((-1, 1, 1 << 31, 1 << 62, -value, -2 * value))
        if what < 6:
            return self.number()
        if what < 8:
            text = self.number()
            try:
                return int(text)
            except ValueError:
                return 0.5
        return chance.choice(
            (
                None,
                True,
                False,
                0,
                0.5,
                -1,
                [],
                {},
                [1],
                {"a": 1},
                "",
                self.name(),
                float("inf"),
                [[]],
            )
        )

    def text(self, text: str) -> str:
        """Return a text in which something is changed; it may have characters that UTF-8 lacks."""
        if self.chance.random() < 0.3:
            return self.name()
        raw = text.encode("utf-8", "surrogatepass")
        return self.raw(raw).decode("utf-8", "surrogateescape")

    # -- bytes -------------------------------------------------------------------------

    def raw(self, data: bytes, others: Sequence[bytes] = ()) -> bytes:
        """Return bytes with up to six changes; few are more frequent.

        Args:
            data: The bytes.
            others: What parts may be taken from.
        """
        ways = [
            self._flip,
            self._flip,
            self._set,
            self._insert,
            self._delete,
            self._repeat,
            self._number,
            self._number,
            self._word,
            self._lines,
            self._cut,
        ]
        for _ in range(self.chance.choice((1, 1, 1, 2, 2, 3, 4, 6))):
            if others and self.chance.random() < 0.05:
                data = self._splice(data, self.chance.choice(others))
            else:
                data = self.chance.choice(ways)(data)
        return data

    def _place(self, data: bytes) -> int:
        return self.chance.randrange(len(data)) if data else 0

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._place(data)
        return data[:at] + bytes([data[at] ^ 1 << self.chance.randrange(8)]) + data[at + 1 :]

    def _set(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + bytes([self.chance.choice(_BYTES)]) + data[at + 1 :]

    def _insert(self, data: bytes) -> bytes:
        at = self._place(data)
        chance = self.chance
        new = (
            chance.randbytes(chance.randrange(1, 9))
            if chance.random() < 0.5
            else self.name().encode("utf-8", "surrogatepass")
        )
        return data[:at] + new + data[at:]

    def _delete(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + data[at + self.chance.choice((1, 1, 2, 4, 16, 200)) :]

    def _repeat(self, data: bytes) -> bytes:
        at = self._place(data)
        part = data[at : at + self.chance.choice((1, 4, 16, 64))]
        return data[:at] + part * self.chance.choice((1, 2, 10)) + data[at:]

    def _replaced(self, pattern: "re.Pattern[bytes]", data: bytes, new: bytes) -> bytes:
        # Not all that there are: an input may be a thousand times as long.
        begin = max(self._place(data) - _NEAR_BYTES, 0)
        found = list(pattern.finditer(data, begin, begin + 2 * _NEAR_BYTES))
        if not found:
            return data
        one = self.chance.choice(found)
        return data[: one.start()] + new + data[one.end() :]

    def _number(self, data: bytes) -> bytes:
        return self._replaced(_NUMBER, data, self.number().encode())

    def _word(self, data: bytes) -> bytes:
        new = (
            self.chance.choice(self._words)
            if self._words and self.chance.random() < 0.7
            else self.name().encode("utf-8", "surrogatepass")
        )
        return self._replaced(_WORD, data, new)

    def _lines(self, data: bytes) -> bytes:
        lines = _LINE.findall(data)
        one, other = self.chance.randrange(len(lines)), self.chance.randrange(len(lines))
        what = self.chance.randrange(3)
        if what == 0:
            lines[one], lines[other] = lines[other], lines[one]
        elif what == 1:
            lines.insert(one, lines[other])
        else:
            del lines[one]
        return b"".join(lines)

    def _cut(self, data: bytes) -> bytes:
        return data[: self._place(data)]

    def _splice(self, data: bytes, other: bytes) -> bytes:
        return data[: self._place(data)] + other[self._place(other) :]
