"""What a format didn't keep of a record, found by reading it back."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from damon_core import RecordInfo, RecordReader, Snapshot

#: What may be lost of how a record was made.
_INFO: dict[str, Callable[[RecordInfo], Any]] = {
    "the host": lambda info: info.host,
    "its kernel": lambda info: info.kernel,
    "the command line": lambda info: info.command,
    "the program's version": lambda info: info.program,
    "how contexts were monitored": lambda info: info.contexts,
}

#: What may be lost of an aggregation that is kept.
_SNAPSHOT: dict[str, Callable[[Snapshot], Any]] = {
    "names of contexts": lambda each: each.context,
    "times": lambda each: each.time_us,
    "numbers of aggregations": lambda each: each.number,
    "how long aggregations took": lambda each: each.elapsed_us,
    "intervals": lambda each: each.intervals,
    "numbers of checks": lambda each: each.max_nr_accesses,
    "names of targets": lambda each: [target.name for target in each.targets if len(target)],
    "targets without regions": lambda each: len(each.targets),
    "borders of regions": lambda each: (each.start.tolist(), each.end.tolist()),
    "ages": lambda each: each.age.tolist(),
    "idle times": lambda each: each.idle_us.tolist(),
    "resident bytes": lambda each: each.resident_bytes.tolist(),
    "names of mappings": lambda each: [target.areas for target in each.targets if len(target)],
    "owners": lambda each: [target.owners for target in each.targets if len(target)],
}


def losses(info: RecordInfo, snapshots: Sequence[Snapshot], kept: RecordReader) -> list[str]:
    """Return what isn't in a record of what went into it.

    Args:
        info: How the record was made.
        snapshots: Its first aggregations.
        kept: The record.
    """
    lost = [name for name, value in _INFO.items() if value(info) != value(kept.info)]
    found = list(islice(kept.snapshots(), len(snapshots)))
    if not any(len(each) == 0 for each in found) and any(len(each) == 0 for each in snapshots):
        lost.append("aggregations without regions")
        snapshots = [each for each in snapshots if len(each)]
    pairs = list(zip(snapshots, found, strict=False))
    lost += [
        name
        for name, value in _SNAPSHOT.items()
        if any(value(before) != value(after) for before, after in pairs)
    ]
    lost += _counts(pairs)
    return lost


def _counts(pairs: Iterable[tuple[Snapshot, Snapshot]]) -> list[str]:
    """Return how far counts of accesses are off."""
    worst = 0.0
    for before, after in pairs:
        if len(before) != len(after):
            return ["accesses of all regions"]
        wrong = np.abs(after.nr_accesses - before.nr_accesses)
        largest = np.maximum(before.nr_accesses, 1e-9)
        worst = max(worst, float((wrong / largest).max(initial=0.0)))
    if worst == 0:
        return []
    return [f"fractions of accesses (off by up to {100 * min(worst, 1.0):.2g} %)"]
