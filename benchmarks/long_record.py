"""Reports of a record larger than memory, compared with those of one a tenth as large.

Regions have random borders and counts in every aggregation, so that almost nothing can be
compressed: a usual record of this size would cover months. Whole commands are measured, including
the start of Python.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attrs import evolve
from damon_parquet.writer import ParquetWriter

from benchmarks.commands import run
from benchmarks.measure import command_line, print_table, progress
from benchmarks.programs import DAMON
from damon_core import Intervals, RecordInfo, Snapshot, TargetRows, assemble_snapshot

REGIONS = 1_000
PAGES = 1 << 28
#: More than a row group holds, so that there is no repetition within one.
DIFFERENT = 600
#: `diff` compares the record with itself.
REPORTS = ("summary", "regions", "wss", "idle", "heatmap", "diff")


def snapshots() -> Iterator[Snapshot]:
    """Yield an endless sequence of aggregations of 1 TiB."""
    rng = np.random.default_rng(1)
    intervals = Intervals()
    begin_us = 1_700_000_000_000_000
    different = []
    for _ in range(DIFFERENT):
        border = np.unique(rng.integers(1, PAGES, REGIONS - 1)) << 12
        start, end = np.append(0, border), np.append(border, PAGES << 12)
        nothing = np.zeros(len(start), dtype=np.int64)
        different.append(
            assemble_snapshot(
                {
                    "start": start,
                    "end": end,
                    "nr_accesses": rng.integers(0, intervals.checks + 1, len(start)) * 1.0,
                    "age": nothing,
                    "idle_us": nothing,
                    "resident_bytes": end - start,
                },
                [TargetRows("random", len(start))],
                context="random",
                number=0,
                time_us=begin_us,
                elapsed_us=intervals.aggregation_us,
                intervals=intervals,
                max_nr_accesses=intervals.checks,
            )
        )
    number = 0
    while True:
        for snapshot in different:
            number += 1
            yield evolve(
                snapshot,
                number=number,
                time_us=begin_us + number * intervals.aggregation_us,
            )


def record(path: Path, size_bytes: int) -> int:
    """Write a record of at least this size; return its number of aggregations."""
    written = 0
    with ParquetWriter(path, RecordInfo.here()) as writer:
        for snapshot in snapshots():
            writer.write(snapshot)
            written += 1
            if written % DIFFERENT == 0 and path.stat().st_size >= size_bytes:
                return written
    raise AssertionError("there is no last snapshot")


def main() -> None:
    parser = command_line("long_record", __doc__, "0.05 GB")
    parser.add_argument("--gb", type=float, default=10.0, help="size of the record, 10^9 bytes")
    parser.add_argument("--folder", type=Path, help="folder for the record; default: /tmp")
    options = parser.parse_args()
    size_gb = 0.05 if options.quick else options.gb
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        sizes = {"whole": int(size_gb * 1e9), "tenth": int(size_gb * 1e8)}
        for record_name, size_bytes in sizes.items():
            progress(f"writing {size_bytes / 1e9:g} GB")
            begin = time.monotonic()
            path = folder / f"{record_name}.parquet"
            aggregations = record(path, size_bytes)
            progress(
                f"{path.stat().st_size:,} bytes, {aggregations:,} aggregations of {REGIONS:,} "
                f"regions, in {time.monotonic() - begin:.0f} s"
            )
        rows = []
        for report in REPORTS:
            commands = []
            for record_name in sizes:
                progress(f"{report}, {record_name}")
                records = [f"{record_name}.parquet"] * (2 if report == "diff" else 1)
                commands.append(run([DAMON, "report", report, *records], folder))
            whole, tenth = commands
            rows.append(
                [
                    report,
                    *(f"{each.cpu_s:.1f}" for each in commands),
                    f"{whole.cpu_s / tenth.cpu_s:.1f}",
                    *(f"{each.peak_mib:.0f}" for each in commands),
                    f"{whole.peak_mib / tenth.peak_mib:.2f}",
                ]
            )
        print_table(
            f"A record of {size_gb:g} GB and one of a tenth of it (one run of each)",
            ["", "CPU, s", "of a tenth", "ratio", "peak, MiB", "of a tenth", "ratio"],
            rows,
        )


if __name__ == "__main__":
    main()
