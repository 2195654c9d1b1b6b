"""Arithmetic of address ranges, in lists that are ascending and disjoint."""

from collections.abc import Iterable, Sequence

import numpy as np

from damon_core import PAGE_SIZE_BYTES, Range

#: Greater than all physical addresses.
TOP = 1 << 62


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return ranges in ascending order; join those that touch or overlap."""
    result: list[Range] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1].end:
            result[-1] = Range(result[-1].start, max(end, result[-1].end))
        else:
            result.append(Range(start, end))
    return result


def intersection(left: Sequence[Range], right: Sequence[Range]) -> list[Range]:
    """Return the parts that are in both."""
    result = []
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i].start, right[j].start)
        end = min(left[i].end, right[j].end)
        if start < end:
            result.append(Range(start, end))
        if left[i].end < right[j].end:
            i += 1
        else:
            j += 1
    return result


def difference(left: Sequence[Range], right: Sequence[Range]) -> list[Range]:
    """Return the parts of `left` that are not in `right`."""
    starts = [0, *(part.end for part in right)]
    ends = [*(part.start for part in right), TOP]
    outside = [Range(*pair) for pair in zip(starts, ends, strict=True) if pair[0] < pair[1]]
    return intersection(left, outside)


def whole_pages(ranges: Iterable[Range]) -> list[Range]:
    """Return the whole pages inside each range."""
    inner = (
        Range(
            -(-start // PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES, end // PAGE_SIZE_BYTES * PAGE_SIZE_BYTES
        )
        for start, end in ranges
    )
    return [part for part in inner if part.start < part.end]


def join_nearest(ranges: Sequence[Range], limit: int) -> list[Range]:
    """Return at most `limit` ranges: neighbours are joined, those with the smallest holes first."""
    surplus = len(ranges) - max(limit, 1)
    if surplus <= 0:
        return list(ranges)
    start = np.array([part.start for part in ranges], dtype=np.int64)
    end = np.array([part.end for part in ranges], dtype=np.int64)
    keep = np.ones(len(start) - 1, dtype=np.bool_)
    keep[np.argsort(start[1:] - end[:-1], kind="stable")[:surplus]] = False
    starts = start[np.concatenate(([True], keep))]
    ends = end[np.concatenate((keep, [True]))]
    return [Range(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]


def size_bytes(ranges: Iterable[Range]) -> int:
    """Return the total size of ranges in bytes."""
    return sum(end - start for start, end in ranges)
