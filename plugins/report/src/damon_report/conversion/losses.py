"""What a format didn't keep of a record, found by reading it back."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from damon_core import COLUMNS, Column, RecordInfo, RecordReader, Snapshot

#: What may be lost of how a record was made.
_INFO: dict[str, Callable[[RecordInfo], Any]] = {
    "the host": lambda info: info.host,
    "its kernel": lambda info: info.kernel,
    "the command line": lambda info: info.command,
    "the program's version": lambda info: info.program,
    "how contexts were monitored": lambda info: info.contexts,
    "how long aggregations were made": lambda info: info.every_us,
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
    # Several columns may be called alike, such as those of intervals.
    lost += dict.fromkeys(
        column.label
        for column in COLUMNS.values()
        if column.name != "nr_accesses"
        and any(_values(before, column) != _values(after, column) for before, after in pairs)
    )
    if any(len(before.targets) != len(after.targets) for before, after in pairs):
        lost.append("targets without regions")
    lost += _counts(pairs)
    if info.pages and not kept.info.pages:
        lost.append("every page")
    return lost


def _values(snapshot: Snapshot, column: Column) -> Any:
    """Return the values of a column; those of targets only where these have regions."""
    if column.of == "target":
        return [column.get(target) for target in snapshot.targets if len(target)]
    values = column.get(snapshot)
    return values.tolist() if column.of == "region" and values is not None else values


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
