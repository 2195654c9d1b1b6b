"""Reports of the same recording with damo and with damon-core, in turns.

A recording of simulated memory is written as Parquet and, by damo, as damo's JSON. Then both
report it. Measured are CPU time and peak memory of the whole commands, and file sizes.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from damon_damo import DamoWriter
from damon_sim import SimulatedMemory, Zone, Zones

from benchmarks.commands import Command, run
from benchmarks.measure import is_quick, print_table, progress
from benchmarks.programs import DAMO, DAMON
from damon_core import (
    Bytes,
    Context,
    EvidencePolicy,
    EvidencePolicyOptions,
    Intervals,
    Plugins,
    RecordInfo,
    RecordWriter,
    RegionLimits,
    VirtualClock,
    format_of,
    hookimpl,
    start,
)


class Keep:
    """Writes every aggregation to several records, and counts aggregations and regions."""

    def __init__(self, *writers: RecordWriter) -> None:
        self.aggregations = 0
        self.regions = 0
        self._writers = writers

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        assert context.snapshot is not None
        self.aggregations += 1
        self.regions += len(context.snapshot)
        for writer in self._writers:
            writer.write(context.snapshot)


def memory(aggregations: int) -> SimulatedMemory:
    """Return 10 GiB in 300 areas, a few accessed often and most rarely (Zipf)."""
    rng = np.random.default_rng(5)
    rates = np.arange(1, 301) ** -0.8
    zones = Zones(
        tuple(
            Zone(Bytes(int(pages) << 14), float(rate))
            for pages, rate in zip(
                rng.integers(256, 4096, len(rates)), rng.permutation(rates), strict=True
            )
        )
    )
    size_bytes = sum(zone.size for zone in zones.zones)
    ends_us = aggregations * Intervals().aggregation_us
    return SimulatedMemory(size_bytes, zones, seed=1, ends_after_us=ends_us)


def record(folder: Path, aggregations: int) -> Keep:
    """Write the record in all formats: `ours.parquet`, `damon.data`, `damon.json`."""
    parquet = format_of(folder / "ours.parquet", Plugins.discover().formats())
    info = RecordInfo.here()
    with (
        DamoWriter(folder / "as-damo.data", info) as damo,
        parquet.write(folder / "ours.parquet", info) as ours,
    ):
        keep = Keep(damo, ours)
        context = Context(
            memory(aggregations),
            [keep],
            policy=EvidencePolicy(EvidencePolicyOptions(seed=1)),
            limits=RegionLimits(1_000, 1_000),
            clock=VirtualClock(),
            cpu_budget=None,
        )
        start(context)
        context.wait()
        if context.error is not None:
            raise context.error
    # The files that damo itself would have written.
    for form, name in (("json_compressed", "damon.data"), ("json", "damon.json")):
        arguments = ["--record_file", "as-damo.data", "--format", form, "--output_file", name]
        run([DAMO, "convert_record_format", *arguments], folder)
    return keep


#: Each report: damo's command and ours.
REPORTS = {
    "working set": (
        ["wss", "-i", "damon.data", "--exclude_samples", "0"],
        ["wss", "ours.parquet"],
    ),
    "heat map, in the terminal": (
        ["heatmap", "-i", "damon.data", "--draw_range", "all"],
        ["heatmap", "ours.parquet"],
    ),
    "heat map, a picture (damo: its numbers only)": (
        ["heatmap", "-i", "damon.data", "--draw_range", "all", "--output", "raw"],
        ["heatmap", "ours.parquet", "-o", "ours.png"],
    ),
}


def median(commands: list[Command], what: str) -> float:
    value: float = statistics.median(getattr(command, what) for command in commands)
    return value


def ratio(commands: tuple[list[Command], list[Command]], what: str) -> str:
    """Return the median and the range of the ratios of damo's to ours, by run."""
    ratios = [
        getattr(damos, what) / getattr(own, what) for damos, own in zip(*commands, strict=True)
    ]
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def measure(aggregations: int, runs: int, folder: Path) -> None:
    """Let both report a record with this number of aggregations, and print tables."""
    progress(f"making a record of {aggregations} aggregations")
    kept = record(folder, aggregations)
    rows = []
    for what, (damos, own) in REPORTS.items():
        commands: tuple[list[Command], list[Command]] = ([], [])
        turns = [
            ([DAMO, "report", *damos], commands[0]),
            ([DAMON, "report", *own], commands[1]),
        ]
        for number in range(runs):
            progress(f"{what}, run {number + 1} of {runs}")
            for command, into in turns:
                into.append(run(command, folder))
                progress(f"{into[-1].cpu_s:.2f} s, {into[-1].peak_mib:.0f} MiB")
            turns.reverse()
        rows.append(
            [
                what,
                *(f"{median(each, 'cpu_s'):.2f}" for each in commands),
                ratio(commands, "cpu_s"),
                *(f"{median(each, 'peak_mib'):.0f}" for each in commands),
                ratio(commands, "peak_mib"),
            ]
        )
    print_table(
        f"{kept.aggregations} aggregations of {kept.regions / kept.aggregations:.0f} regions "
        f"(medians of {runs} alternating runs)",
        ["", "damo, s", "ours, s", "ratio", "damo, MiB", "ours, MiB", "ratio"],
        rows,
    )
    sizes = {path: (folder / path).stat().st_size for path in ("ours.parquet", "damon.data")}
    sizes["damon.json"] = (folder / "damon.json").stat().st_size
    base = sizes["ours.parquet"]
    print_table(
        "The same record as a file",
        ["", "bytes", "bytes per region", "to ours"],
        [
            [path, f"{size:,}", f"{size / kept.regions:.2f}", f"{size / base:.1f}"]
            for path, size in sizes.items()
        ],
    )
    sys.stdout.flush()


def main() -> None:
    # Half a minute and five minutes: typical recordings.
    plans = ((30, 1),) if is_quick("beside_damo.reports", __doc__) else ((300, 3), (3_000, 1))
    for aggregations, runs in plans:
        with tempfile.TemporaryDirectory() as name:
            measure(aggregations, runs, Path(name))


if __name__ == "__main__":
    main()
