"""What options of primitives of processes have in common: rules, and groups."""

import itertools
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from attrs import Attribute

from damon_core import PAGE_SIZE_BYTES, Range
from damon_vaddr.selection import Patterns, check_names

#: Labels that groups are named after; or none.
GroupBy: TypeAlias = Literal[
    "none", "cgroup", "unit", "user_unit", "container", "pod_uid", "comm", "exe", "user", "pid"
]

MATCH_HELP: Final = (
    "all processes that are like this, now and later: patterns by label, such as "
    '{ comm = "redis*", user = ["redis", "www-data"] }'
)
KINDS_HELP: Final = (
    "find out which kinds of memory regions have: anonymous, file, huge, dirty, swapped, NUMA node"
)
EXCLUDE_HELP: Final = "what of these is left out, likewise"
GROUP_BY_HELP: Final = (
    "the label that processes of one group have in common, such as unit, cgroup, container, comm "
    "or pid: it is their label 'group'"
)


RANGES_HELP: Final = (
    "only these ranges of addresses of each process: 'START-END' in hexadecimal, as in "
    "/proc/PID/maps"
)
_RANGE = re.compile(r"(?:0x)?([0-9a-fA-F]{1,16})-(?:0x)?([0-9a-fA-F]{1,16})")


def parse_ranges(written: Sequence[str]) -> tuple[Range, ...]:
    """Return ranges in ascending order.

    Raises:
        ValueError: One isn't a range of whole pages, or two overlap.
    """
    found = []
    for each in written:
        match = _RANGE.fullmatch(each)
        if match is None:
            raise ValueError(
                f"'{each}' must be written 'START-END' in hexadecimal, as in /proc/PID/maps"
            )
        start, end = int(match[1], 16), int(match[2], 16)
        if start % PAGE_SIZE_BYTES or end % PAGE_SIZE_BYTES:
            raise ValueError(f"'{each}' must be of whole pages of {PAGE_SIZE_BYTES} bytes")
        if not start < end < 1 << 63:
            raise ValueError(f"'{each}' must end after its start, below 2^63")
        found.append(Range(start, end))
    found.sort()
    for before, after in itertools.pairwise(found):
        if before.end > after.start:
            raise ValueError(f"{after.start:x}-{after.end:x} overlaps another range")
    return tuple(found)


def check_ranges(_instance: object, _attribute: "Attribute[Any]", value: Sequence[str]) -> None:
    """Refuse what are no ranges."""
    parse_ranges(value)


def known_names(_instance: object, attribute: "Attribute[Any]", value: Patterns) -> None:
    """Refuse patterns by names that nothing is compared with."""
    check_names(attribute.name, value)
