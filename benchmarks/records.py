"""The cost of records in Parquet: size on disk, CPU time to write and to read.

Simulated contexts run on virtual time with the usual intervals, 5 ms and 100 ms, and the policy
`evidence` unless stated otherwise. Snapshots get the jitter of a real clock, are written as one row
group, and are read back; figures for a day are extrapolated. Then row groups are appended in turns
to a new file and to one as long as a day's, and the costs are compared.
"""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from attrs import evolve, frozen
from damon_csv import CsvWriter
from damon_parquet.file import RowGroupFile
from damon_parquet.reader import ParquetReader
from damon_parquet.rows import to_table
from damon_sim import SimulatedMemory, Zone, Zones

from benchmarks.accuracy.runs import make_policy
from benchmarks.measure import Comparison, is_quick, print_table, progress, with_quartiles
from damon_core import (
    Bytes,
    Context,
    RecordInfo,
    RegionLimits,
    Snapshot,
    VirtualClock,
    hookimpl,
    start,
)

AREA_BYTES = 64 << 20
AGGREGATIONS_A_DAY = 864_000
WARM_UP = 50


@frozen
class Case:
    """A simulated context.

    Attributes:
        name: Its name in the table.
        rates: The access rates of its areas.
        limits: The limits of its regions.
        policy: The policy that adapts them.
    """

    name: str
    rates: Sequence[float]
    limits: RegionLimits
    policy: str = "evidence"


def _zipf(areas: int) -> list[float]:
    rates = 1.0 / np.arange(1, areas + 1)
    np.random.default_rng(1).shuffle(rates)
    return [float(rate) for rate in rates]


HOT_OF_100 = ([1.0] + [0.0] * 9) * 10
HOT_OF_1000 = [0.0, 1.0] * 500
CASES = (
    Case("three areas", [0.0, 1.0, 0.0], RegionLimits()),
    Case("10 of 100 areas hot", HOT_OF_100, RegionLimits()),
    Case("500 of 1 000 areas hot", HOT_OF_1000, RegionLimits(1_000, 1_000)),
    Case("Zipf of 100", _zipf(100), RegionLimits(100, 100)),
    Case("Zipf of 1 000", _zipf(1_000), RegionLimits(1_000, 1_000)),
    Case("10 of 100 hot, kernel", HOT_OF_100, RegionLimits(), "kernel"),
    Case("500 of 1 000 hot, kernel", HOT_OF_1000, RegionLimits(), "kernel"),
    Case("Zipf of 1 000, kernel", _zipf(1_000), RegionLimits(), "kernel"),
)


class Keep:
    """Keeps snapshots, with the times of a clock with jitter."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self._rng = np.random.default_rng(1)

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        assert context.snapshot is not None
        self.snapshots.append(with_jitter(context.snapshot, self._rng))


def with_jitter(snapshot: Snapshot, rng: np.random.Generator) -> Snapshot:
    """Return the snapshot of a virtual clock as a real one has it: a little late."""
    late_us = int(abs(rng.normal(0, 200)))
    idle_us = np.where(snapshot.idle_us > 0, snapshot.idle_us + late_us, 0)
    return evolve(
        snapshot,
        time_us=snapshot.time_us + late_us,
        elapsed_us=snapshot.elapsed_us + late_us,
        idle_us=idle_us,
        targets=tuple(evolve(each, idle_us=idle_us) for each in snapshot.targets),
    )


def snapshots_of(case: Case, seconds: int) -> list[Snapshot]:
    """Run a context; return its snapshots after it has settled."""
    pattern = Zones(tuple(Zone(Bytes(AREA_BYTES), rate) for rate in case.rates))
    memory = SimulatedMemory(
        AREA_BYTES * len(case.rates),
        pattern,
        ends_after_us=seconds * 1_000_000 + WARM_UP * 100_000,
    )
    keep = Keep()
    context = Context(
        memory,
        [keep],
        policy=make_policy(case.policy, seed=1),
        limits=case.limits,
        clock=VirtualClock(),
        name="db",
    )
    start(context)
    context.wait()
    return keep.snapshots[WARM_UP:]


def measure(case: Case, seconds: int, directory: Path) -> list[str]:
    """Return a row of the table."""
    snapshots = snapshots_of(case, seconds)
    rows = sum(map(len, snapshots))
    path, csv = directory / "out.parquet", directory / "out.csv"
    with CsvWriter(csv, RecordInfo()) as csv_writer:
        for snapshot in snapshots:
            csv_writer.write(snapshot)
    writing, reading = [], []
    for _ in range(3):
        path.unlink(missing_ok=True)
        file = RowGroupFile(path, RecordInfo.here())
        empty_bytes = path.stat().st_size
        begin = time.process_time()
        file.append(to_table(snapshots, {}))
        writing.append(time.process_time() - begin)
        file.close()
        begin = time.process_time()
        with ParquetReader(path) as reader:
            assert sum(map(len, reader.snapshots())) == rows
        reading.append(time.process_time() - begin)
    # The file's description is written once; the rest is written for each row group.
    group_bytes = path.stat().st_size - empty_bytes
    a_day_bytes = group_bytes / len(snapshots) * AGGREGATIONS_A_DAY
    ratio = csv.stat().st_size / group_bytes
    csv.unlink()
    return [
        case.name,
        f"{rows / len(snapshots):.0f}",
        f"{8 * group_bytes / rows:.1f}",
        f"{a_day_bytes / 1e6:.0f} MB",
        f"{100 * min(writing) / (len(snapshots) * 0.1):.2f} %",
        f"{rows / min(reading) / 1e6:.1f} M",
        f"{ratio:.0f}",
    ]


def append_costs(appends: int, directory: Path) -> list[list[str]]:
    """Return the rows of the costs of appends to a new file and to a long one, in turns."""
    case = Case("", _zipf(100), RegionLimits(100, 100))
    table = to_table(snapshots_of(case, 10), {})
    new, long = (
        RowGroupFile(directory / f"{name}.parquet", RecordInfo.here()) for name in ("new", "long")
    )
    count = appends // 10
    for _ in range(appends - count):
        long.append(table)

    def append_ms(file: RowGroupFile) -> float:
        begin = time.process_time()
        file.append(table)
        return 1e3 * (time.process_time() - begin)

    result = Comparison.of(partial(append_ms, long), partial(append_ms, new), count)
    new.close()
    long.close()
    return [
        [f"first {count} of {appends}", f"{result.baseline:.2f} ms", "1.00"],
        [f"last {count}", f"{result.figure:.2f} ms", with_quartiles(result.ratios)],
    ]


def main() -> None:
    quick = is_quick("records", __doc__)
    with tempfile.TemporaryDirectory() as directory:
        rows = []
        for case in CASES:
            progress(case.name)
            rows.append(measure(case, 2 if quick else 40, Path(directory)))
        print_table(
            "Size and time",
            [
                "context",
                "regions",
                "bits per row",
                "24 h",
                "CPU to write",
                "rows/s read",
                "ratio to CSV",
            ],
            rows,
        )
        progress("appends")
        print()
        print_table(
            "The same row group, appended to a new file and to a long one in turns (medians; "
            "between the quartiles)",
            ["appends", "CPU", "ratio"],
            append_costs(50 if quick else 1_440, Path(directory)),
        )


if __name__ == "__main__":
    main()
