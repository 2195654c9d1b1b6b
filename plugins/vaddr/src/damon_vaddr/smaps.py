"""What smaps says of each mapping, read fast by a layout of records that is learned once."""

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import PAGE_SIZE_BYTES

_Column = npt.NDArray[np.int64]

#: Any record of smaps. Slow, as it matches each line.
_ANY_RECORD = re.compile(
    rb"(?m)^([0-9a-f]+-[0-9a-f]+ .*)\n"
    rb"(?:[A-Z].*\n)*?Rss: +(\d+) kB\n(?:[A-Z].*\n)*?Pss: +(\d+) kB\n"
    rb"(?:[A-Z].*\n)*?Referenced: +(\d+) kB\n"
    rb"((?:[A-Z].*\n)*)"
)
_ROLLED_UP = re.compile(
    rb"\nRss: +(\d+) kB\n(?:[A-Z].*\n)*?Pss: +(\d+) kB\n(?:[A-Z].*\n)*?Referenced: +(\d+) kB\n"
)
_KIB = 1024
#: Sums are alike if they differ by at most this part.
_ALIKE = 1 / 64
#: What is read of each record of smaps.
_FIELDS = (b"Rss", b"Pss", b"Referenced")
#: What is in huge pages; older kernels have only some of these lines or none.
_HUGE = (b"AnonHugePages", b"ShmemPmdMapped", b"FilePmdMapped")
_HUGE_KIB = re.compile(rb"(?:%b): +(\d+) kB" % b"|".join(_HUGE))
_HUGE_PAGE_KIB = 2048
_PAGE_KIB = PAGE_SIZE_BYTES // _KIB
#: Numbers below 95 GiB have up to eight digits, in KiB.
_DIGITS = 8
_PAIRS = tuple(
    (np.uint64(mask), np.uint64((base << bits) + 1), np.uint64(bits))
    for mask, base, bits in (
        (0x0F0F0F0F0F0F0F0F, 10, 8),
        (0x00FF00FF00FF00FF, 100, 16),
        (0x0000FFFF0000FFFF, 10_000, 32),
    )
)


@frozen
class _Layout:
    """The layout of the records of smaps, from the end of a header to that of ``VmFlags:``.

    All records have the same lines with the same lengths, except for the first and the last line,
    and for mappings of 95 GiB or more.

    Attributes:
        record: Matches a record.
        length: Its length.
        ends: Where the numbers of `_FIELDS` end in it, and those of `_HUGE` that it has.
    """

    record: re.Pattern[bytes]
    length: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, sample: bytes) -> "_Layout":
        """Return the layout of the first record in `sample`.

        Raises:
            ValueError: The sample has another layout than that of Linux today.
        """
        end = b"VmFlags:"
        body = sample[sample.index(b"\n") : sample.index(end)]
        names = [*_FIELDS, *(name for name in _HUGE if b"\n%b:" % name in body)]
        ends = [body.index(b" kB", body.index(b"\n%b:" % name)) for name in names]
        # It starts with the name of the first line, a text that is quick to find.
        pattern = re.escape(body[: body.index(b":") + 1])
        position = body.index(b":") + 1
        for name, number_end in zip(_FIELDS, ends, strict=False):
            label = b"\n%b:" % name
            line = body.index(label)
            width = number_end - line - len(label)
            pattern += rb".{%d}%b.{%d} kB" % (line - position, label, width)
            position = number_end + len(b" kB")
        record = re.compile(rb"(?s)%b.{%d}%b" % (pattern, len(body) - position, end))
        return cls(record, len(body) + len(end), tuple(ends))

    def numbers(self, text: bytes | memoryview, begins: _Column) -> _Column | None:
        """Return the numbers of the fields, a row each, of the records that begin there.

        None if some have more digits than are read.
        """
        # Each eight characters of the text, the first of them in the lowest byte.
        words: npt.NDArray[np.uint64] = np.ndarray(len(text) - 7, "<u8", text, strides=(1,))
        ends = np.array(self.ends, dtype=np.int64)[:, np.newaxis]
        first = begins + ends - _DIGITS
        in_front = np.frombuffer(text, np.uint8)[first - 1]
        return _decimal(words[first]) if (in_front == ord(" ")).all() else None


def _decimal(words: npt.NDArray[np.uint64]) -> _Column:
    """Return the numbers that are written in words of eight digits or spaces."""
    # The low four bits of a digit are its value, and those of a space are 0. Neighbours are put
    # together to pairs, these to fours, and these to the number.
    for mask, factor, bits in _PAIRS:
        words = ((words & mask) * factor) >> bits
    return words.astype(np.int64)


def accessed_bits(rss: _Column, referenced: _Column, huge: _Column) -> float:
    """Return how many accessed bits are set at most: a huge page has one, as any other page.

    Which pages were referenced isn't known: those of 4 KiB are taken to be first.
    """
    small = np.minimum(referenced, rss - huge)
    return float(small.sum()) / _PAGE_KIB + float((referenced - small).sum()) / _HUGE_PAGE_KIB


class RolledUp(NamedTuple):
    """Sums over all mappings of a process, in KiB, as smaps_rollup has them."""

    rss_kib: int
    pss_kib: int
    referenced_kib: int

    def is_like(self, other: "RolledUp") -> bool:
        """Return whether none of the sums differs by more than a 64th, or a page."""
        pairs = zip(self, other, strict=True)
        return all(abs(a - b) <= max(b * _ALIKE, _PAGE_KIB) for a, b in pairs)


def rolled_up(text: bytes) -> RolledUp | None:
    """Return what a smaps_rollup says; None if it says nothing."""
    found = _ROLLED_UP.search(text)
    return RolledUp(*map(int, found.groups())) if found else None


class SmapsParser:
    """Parses smaps text fast, by a layout of records that is learned once.

    Args:
        sample: The smaps of any process of this kernel, to learn the layout from.
    """

    def __init__(self, sample: bytes) -> None:
        try:
            self._layout: _Layout | None = _Layout.of(sample)
        except ValueError:
            self._layout = None

    def parse(
        self, text: bytes | memoryview
    ) -> tuple[list[bytes], _Column, _Column, _Column, _Column]:
        """Return header, Rss, Pss, Referenced and what is in huge pages, of each mapping.

        The numbers are in KiB. A header is text whose last line is the mapping's of maps.
        """
        if self._layout is not None and (found := self._parse_fixed(text, self._layout)):
            return found
        records = _ANY_RECORD.findall(text)
        rss, pss, referenced = (
            np.array([int(record[column]) for record in records], dtype=np.int64)
            for column in (1, 2, 3)
        )
        huge = [sum(map(int, _HUGE_KIB.findall(record[4]))) for record in records]
        return (
            [record[0] for record in records],
            rss,
            pss,
            referenced,
            np.array(huge, dtype=np.int64),
        )

    @staticmethod
    def _parse_fixed(
        text: bytes | memoryview, layout: _Layout
    ) -> tuple[list[bytes], _Column, _Column, _Column, _Column] | None:
        """Return what `parse` does; None if a record has another layout."""
        # Between the records are the flags of one and the header of the next, with one line break;
        # there are more line breaks if a record has another layout.
        between: list[bytes] = layout.record.split(text)
        headers = between[:-1]
        count = len(headers)
        if b"".join(between).count(b"\n") != count:
            return None
        if not count:
            nothing = np.zeros(0, dtype=np.int64)
            return headers, nothing, nothing, nothing, nothing
        gaps = np.fromiter(map(len, headers), dtype=np.int64, count=count)
        begins = gaps.cumsum() + layout.length * np.arange(count)
        numbers = layout.numbers(text, begins)
        if numbers is None:
            return None
        rss, pss, referenced = numbers[: len(_FIELDS)]
        return headers, rss, pss, referenced, numbers[len(_FIELDS) :].sum(axis=0)
