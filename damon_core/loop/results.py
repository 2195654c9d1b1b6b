"""What primitives and policies leave in targets: is it possible at all?

Only what is cheap is looked at, in every aggregation: lengths, order, counts. The worker names the
part that is to blame, because callbacks and policies fail in strange places over such data.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from damon_core.memory.kinds import is_kinds
from damon_core.memory.pages import PageMap
from damon_core.memory.regions import Regions
from damon_core.memory.snapshot import Snapshot
from damon_core.memory.target import Target

#: How far a mean of counts may be off by rounding.
_ROUNDING = 1e-6
_COLUMNS = (
    "start",
    "end",
    "nr_accesses",
    "last_nr_accesses",
    "nr_checks",
    "age",
    "idle_us",
    "resident_bytes",
    "touched_bytes",
    "idle_10s_bytes",
    "idle_1m_bytes",
    "idle_10m_bytes",
    "kinds",
)
#: What may be unknown.
_OPTIONAL = frozenset(
    {"touched_bytes", "idle_10s_bytes", "idle_1m_bytes", "idle_10m_bytes", "kinds"}
)


def wrong_targets(targets: Sequence[Target]) -> str:
    """Return what is wrong with the names and tables of targets; empty if nothing is."""
    for target in targets:
        if not isinstance(target, Target):
            return f"context.targets has {target!r}, which is not a Target"
        if target.resting:  # Its table is that of the last look at it.
            continue
        regions = target.regions
        if not isinstance(regions, Regions):
            return f"target '{target.name}': regions are {type(regions).__name__}, not Regions"
        if wrong := _wrong_columns(regions):
            return f"target '{target.name}': {wrong}"
        if target.page_map is not None and not isinstance(target.page_map, PageMap):
            found = type(target.page_map).__name__
            return f"target '{target.name}': page_map is {found}, not PageMap"
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        ((name, times), *_) = Counter(names).most_common(1)
        return f"{times} targets are called '{name}': names are unique in a context"
    return ""


def _wrong_columns(regions: Regions) -> str:
    count = len(regions.start)
    for name in _COLUMNS:
        column = getattr(regions, name)
        if column is None and name in _OPTIONAL:
            continue
        if not isinstance(column, np.ndarray) or column.shape != (count,):
            return f"{name} {_shape(column, f'{count} regions')}"
        if name == "kinds" and not is_kinds(column):
            return "kinds are not those of kind_columns"
    return ""


def wrong_samples(targets: Sequence[Target]) -> str:
    """Return what is wrong with the samples of targets after a check; empty if nothing is."""
    for target in targets:
        samples = target.samples
        if samples is None:
            continue
        count = len(samples.addresses)
        for name in ("accessed", "known"):
            column = getattr(samples, name)
            if not isinstance(column, np.ndarray) or column.shape != (count,):
                return f"target '{target.name}': samples.{name} {_shape(column, f'{count} pages')}"
    return ""


def wrong_regions(snapshot: Snapshot) -> str:
    """Return what is wrong with the regions of an aggregation; empty if nothing is."""
    start, end, counts = snapshot.start, snapshot.end, snapshot.nr_accesses
    if not len(start):
        return ""
    most = snapshot.max_nr_accesses + _ROUNDING
    # Only sums and extremes, where all is well; not a number is neither side of a bound.
    if not (np.minimum.reduce(counts) >= 0 and np.maximum.reduce(counts) <= most):
        row = int(np.argmin((counts >= 0) & (counts <= most)))
        checks = snapshot.max_nr_accesses
        return f"{_place(snapshot, row)}: nr_accesses is {counts[row]:g} of {checks} checks"
    sizes = end - start
    if np.minimum.reduce(sizes) <= 0:
        return f"{_place(snapshot, int(np.argmax(sizes <= 0)))}: it ends before it begins"
    gaps = start[1:] - end[:-1]
    if len(gaps) and np.minimum.reduce(gaps) < 0:
        overlaps = gaps < 0
        # Each target has an address space.
        last = np.cumsum([len(target) for target in snapshot.targets], dtype=np.int64)[:-1] - 1
        overlaps[last[(last >= 0) & (last < len(overlaps))]] = False
        if overlaps.any():
            row = int(np.argmax(overlaps)) + 1
            return f"{_place(snapshot, row)}: it begins before the region in front of it ends"
    return ""


def _place(snapshot: Snapshot, row: int) -> str:
    """Return which region of which target a row is."""
    start, end = int(snapshot.start[row]), int(snapshot.end[row])
    for target in snapshot.targets:
        if row < len(target):
            return f"target '{target.name}': region {start:#x}-{end:#x}"
        row -= len(target)
    raise IndexError(row)


def _shape(column: object, wanted: str) -> str:
    """Return what is found in the place of a column of a value for each that is wanted."""
    if not isinstance(column, np.ndarray):
        return f"is a {type(column).__name__}, not an array"
    if column.ndim != 1:
        return f"has {column.ndim} dimensions, not 1"
    return f"has {len(column)} value{'' if len(column) == 1 else 's'} of {wanted}"
