"""How long a day of records is, as it is and with longer aggregations, and how short it could be.

Each RECORD, or each of three simulated ones of `benchmarks.records`, is written anew as Parquet, in
memory, and extrapolated to a day. The bounds are entropies: what a coder needs at least that keeps
counts and borders exactly. It predicts each count from the one before at the same place, and knows
how often each follows which; borders take what says which of them stay, and the distance of new
ones to the nearest before, in pages. Ages, idle times and sizes come on top of that.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from damon_parquet.reader import ParquetReader
from damon_parquet.rowgroup import encode_table
from damon_parquet.rows import to_table

from benchmarks.measure import command_line, print_table, progress
from benchmarks.records import CASES, snapshots_of
from damon_core import Snapshot, SnapshotMerger, rounded_counts

EVERY_US = {"1s": 1_000_000, "2s": 2_000_000, "5s": 5_000_000}
#: What is simulated if no record is given.
SIMULATED = ("500 of 1 000 areas hot", "Zipf of 100", "Zipf of 1 000")
#: As in files: a row group has so many rows at most.
GROUP_ROWS = 1 << 19
DAY_US = 86_400_000_000


def merged(snapshots: Iterable[Snapshot], every_us: int) -> Iterator[Snapshot]:
    """Yield aggregations put together as ``damon convert --every`` does."""
    merger = SnapshotMerger(every_us)
    for snapshot in snapshots:
        yield from merger.add(snapshot)
    yield from merger.rest()


def file_bytes(snapshots: Sequence[Snapshot]) -> int:
    """Return how long aggregations are as Parquet, without what is written once."""
    total, rows, known = 0, 0, dict[str, Any]()
    to_table(snapshots[:1], known)
    group: list[Snapshot] = []
    for snapshot in (*snapshots, None):
        if snapshot is None or rows + len(snapshot) > GROUP_ROWS:
            table = to_table(group, known)
            total += len(encode_table(table)) - len(encode_table(table.slice(0, 0)))
            group, rows = [], 0
        if snapshot is not None:
            group.append(snapshot)
            rows += len(snapshot)
    return total


def entropy_bits(counts: npt.NDArray[Any]) -> float:
    """Return the entropy of what occurred so many times, bits each."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float((shares * np.log2(1 / shares)).sum())


def bounds_bytes(snapshots: Sequence[Snapshot]) -> tuple[float, float]:
    """Return the least for exact counts, and for exact borders, of an aggregation on average."""
    pairs, stays, distances = [], [], []
    for before, now in pairwise(snapshots):
        place = np.searchsorted(before.start, (now.start + now.end) // 2, "right") - 1
        counts = rounded_counts(before.nr_accesses)[np.maximum(place, 0)]
        pairs.append(np.stack([counts, rounded_counts(now.nr_accesses)]))
        stays.append(np.isin(now.start, before.start))
        new = now.start[~stays[-1]]
        right = np.clip(np.searchsorted(before.start, new), 1, len(before) - 1)
        nearest = [np.abs(new - before.start[side]) for side in (right - 1, right)]
        distances.append(np.minimum(*nearest) >> 12)
    both = np.concatenate(pairs, axis=1)
    joint = entropy_bits(np.unique(both, axis=1, return_counts=True)[1])
    first = entropy_bits(np.unique(both[0], return_counts=True)[1])
    stayed, distance = np.concatenate(stays), np.concatenate(distances)
    which = entropy_bits(np.bincount(stayed.astype(np.int64), minlength=2)) * len(stayed)
    where = entropy_bits(np.unique(distance, return_counts=True)[1]) * len(distance)
    count = 8 * (len(snapshots) - 1)
    return (joint - first) * both.shape[1] / count, (which + where) / count


def named(records: Sequence[Path], seconds: int) -> Iterator[tuple[str, list[Snapshot]]]:
    """Yield what records are called, and their aggregations; of simulated ones so many seconds."""
    for path in records:
        progress(path.name)
        with ParquetReader(path) as reader:
            yield path.stem, list(reader.snapshots())
    if not records:
        for case in CASES:
            if case.name in SIMULATED:
                progress(case.name)
                yield case.name, snapshots_of(case, seconds)


def main() -> None:
    parser = command_line("record_bounds", __doc__, "2 s of each")
    parser.add_argument("records", metavar="RECORD", nargs="*", type=Path)
    options = parser.parse_args()
    rows = []
    for name, snapshots in named(options.records, 2 if options.quick else 40):
        regions = sum(map(len, snapshots)) / len(snapshots)
        days = DAY_US / sum(each.elapsed_us for each in snapshots)
        counts, borders = (
            f"{size * len(snapshots) * days / 1e6:.0f} MB" for size in bounds_bytes(snapshots)
        )
        sizes = [file_bytes(snapshots)]
        sizes += [file_bytes([*merged(snapshots, every_us)]) for every_us in EVERY_US.values()]
        rows.append(
            [
                name,
                f"{regions:.0f}",
                counts,
                borders,
                *(f"{size * days / 1e6:.0f} MB" for size in sizes),
            ]
        )
    print_table(
        "A day of records",
        ["record", "regions", "counts, least", "borders, least", "as it is", *EVERY_US],
        rows,
    )


if __name__ == "__main__":
    main()
