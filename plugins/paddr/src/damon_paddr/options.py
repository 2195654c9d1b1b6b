"""The options of `paddr`."""

import itertools
import re
from collections.abc import Sequence

from attrs import Attribute, field, frozen
from attrs.validators import optional

from damon_core import AUTO, PAGE_SIZE_BYTES, BackendOption, Range, validators

_HINT = "'START-END' in hexadecimal, as in /proc/iomem, such as '100000000-13fffffff'"
_RANGE = re.compile(r"(?:0x)?([0-9a-fA-F]{1,15})-(?:0x)?([0-9a-fA-F]{1,15})")


def _pages(start: int, end: int) -> Range:
    """Return the range; `end` is its last address or the first one after it.

    As ranges consist of whole pages, it is clear which one is meant.

    Raises:
        ValueError: The range isn't of whole pages, or is empty.
    """
    after = end + 1 if end % PAGE_SIZE_BYTES == PAGE_SIZE_BYTES - 1 else end
    if start % PAGE_SIZE_BYTES or after % PAGE_SIZE_BYTES:
        raise ValueError(f"must be of whole pages of {PAGE_SIZE_BYTES} bytes")
    if not 0 <= start < after:
        raise ValueError("must end after its start")
    return Range(start, after)


@frozen
class RangeOption:
    """A range of physical addresses as a table.

    Attributes:
        start: Its first address.
        end: Its last address, or the first one after it.
    """

    start: int = field(metadata={"help": "the first address"})
    end: int = field(metadata={"help": "the last address, or the first one after it"})

    def __attrs_post_init__(self) -> None:
        _pages(self.start, self.end)


def _ranges(wanted: Sequence[str | RangeOption]) -> tuple[Range, ...]:
    """Return ranges in ascending order.

    Raises:
        ValueError: One isn't a range of whole pages, or two overlap.
    """
    found = []
    for one in wanted:
        if isinstance(one, RangeOption):
            found.append(_pages(one.start, one.end))
        elif match := _RANGE.fullmatch(one):
            try:
                found.append(_pages(int(match[1], 16), int(match[2], 16)))
            except ValueError as error:
                raise ValueError(f"'{one}' {error}") from error
        else:
            raise ValueError(f"'{one}' must be written {_HINT}")
    found.sort()
    for before, after in itertools.pairwise(found):
        if before.end > after.start:
            raise ValueError(f"{after.start:x}-{after.end:x} overlaps another range")
    return tuple(found)


def _check_ranges(
    _instance: object,
    _attribute: "Attribute[tuple[str | RangeOption, ...]]",
    value: tuple[str | RangeOption, ...],
) -> None:
    _ranges(value)


@frozen
class PaddrOptions:
    """The options of `paddr`; at most one of `ranges` and `node`."""

    ranges: tuple[str | RangeOption, ...] = field(
        default=(),
        validator=_check_ranges,
        metadata={"help": "only these ranges of System RAM: 'START-END', as in /proc/iomem"},
    )
    node: int | None = field(
        default=None,
        validator=optional(validators.between(0, 1_023)),
        metadata={"help": "only this NUMA node"},
    )
    cgroup: str | None = field(
        default=None,
        metadata={
            "help": "only the memory of this memory cgroup, such as 'system.slice/redis.service'"
        },
    )
    kinds: bool = field(
        default=False,
        metadata={
            "help": "find out which kinds of memory regions have: anonymous, file, huge, dirty"
        },
    )
    backend: BackendOption = field(
        default=AUTO,
        metadata={"help": "how accesses are detected; 'auto' is the best backend that works"},
    )

    def __attrs_post_init__(self) -> None:
        if self.ranges and self.node is not None:
            raise ValueError("must have at most one of ranges and node")

    @property
    def wanted(self) -> tuple[Range, ...]:
        """The `ranges`, ascending."""
        return _ranges(self.ranges)
