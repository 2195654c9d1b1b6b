"""What a process has mapped: `/proc/PID/maps`, read fast, and how it becomes regions."""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from damon_core import Range, RegionLimits, Regions

# The kernel's own pages in every process: its clock data and the legacy system call page.
_MAPPING = re.compile(
    rb"(?m)^([0-9a-f]+)-([0-9a-f]+) (?!.*\[(?:vvar|vvar_vclock|vsyscall|uprobes)\]$)"
)


def parse_maps(text: bytes) -> list[Range]:
    """Return the mappings of a `/proc/PID/maps`, ascending.

    Left out is what isn't the program's: ``[vvar]``, ``[vvar_vclock]``, ``[vsyscall]`` and
    ``[uprobes]``.
    """
    return [Range(int(start, 16), int(end, 16)) for start, end in _MAPPING.findall(text)]


def three_ranges(mappings: Sequence[Range]) -> list[Range]:
    """Cut the address space at the two biggest gaps between mappings.

    A process typically has its heap, its mmapped areas and its stack far apart: what lies
    between would be sampled for nothing. Fewer gaps give fewer ranges, and neighbours without a
    gap are never cut apart.

    Args:
        mappings: Ascending and disjoint.

    Returns:
        Up to three ascending ranges that contain all mappings.
    """
    if not mappings:
        return []
    gaps = [
        (right.start - left.end, index)
        for index, (left, right) in enumerate(itertools.pairwise(mappings))
        if right.start > left.end
    ]
    cuts = sorted(index for _, index in sorted(gaps, reverse=True)[:2])
    first = [0, *(cut + 1 for cut in cuts)]
    last = [*cuts, len(mappings) - 1]
    return [Range(mappings[i].start, mappings[j].end) for i, j in zip(first, last, strict=True)]


def join_nearest(mappings: Sequence[Range], limit: int) -> list[Range]:
    """Join neighbouring mappings, the smallest gap first, until at most `limit` are left."""
    surplus = len(mappings) - max(limit, 1)
    if surplus <= 0:
        return list(mappings)
    start = np.array([mapping.start for mapping in mappings], dtype=np.int64)
    end = np.array([mapping.end for mapping in mappings], dtype=np.int64)
    keep = np.ones(len(start) - 1, dtype=bool)
    keep[np.argsort(start[1:] - end[:-1], kind="stable")[:surplus]] = False
    starts = start[np.concatenate(([True], keep))]
    ends = end[np.concatenate((keep, [True]))]
    return [Range(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]


def mapping_regions(known: Regions, mappings: Sequence[Range], limit: int) -> Regions:
    """Return one region a mapping, joined to at most `limit`, that keep the counters of `known`."""
    joined = join_nearest(mappings, limit)
    regions = known.matching(
        [mapping.start for mapping in joined], [mapping.end for mapping in joined]
    )
    # How much of a mapping is in memory isn't known before the next check.
    fresh = ~np.isin(regions.start, known.start)
    regions.resident_bytes[fresh] = 0
    return regions


def range_regions(known: Regions, mappings: Sequence[Range], limits: RegionLimits) -> Regions:
    """Return regions over the three ranges of `mappings` that keep the counters of `known`."""
    ranges = three_ranges(mappings)
    return known.cover(ranges, limits) if len(known) else Regions.evenly(ranges, limits)
