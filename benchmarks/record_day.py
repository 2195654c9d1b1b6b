"""A day of 1 000 regions at 5 ms and 100 ms: its record, reports of it, and what a loss costs.

Simulated memory of 1 000 areas is monitored on virtual time by the policy `evidence`, and written
as the callback `parquet` does. Every other area is never accessed, the others in 10 to 100 % of
sampling intervals; every ten minutes these change places, so that every region changes. Snapshots
get the jitter of a real clock. The size of the record is noted at whole hours. Commands that read
it, and a record of longer aggregations that is made of it, are whole ones, with the start of
Python.

What longer aggregations lose is compared over the first hour, with the record and with the pattern.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen
from damon_parquet.reader import ParquetReader
from damon_parquet.writer import ParquetWriter
from damon_sim import SimulatedMemory

from benchmarks.accuracy.runs import make_policy
from benchmarks.commands import run
from benchmarks.measure import command_line, print_table, progress
from benchmarks.programs import DAMON
from benchmarks.records import AREA_BYTES, with_jitter
from damon_core import (
    Context,
    RecordInfo,
    RegionLimits,
    Snapshot,
    VirtualClock,
    format_size,
    hookimpl,
    parse_duration,
    start,
)

HOUR_US = 3_600_000_000
AREAS = 1_000
RATES = (0.1, 0.25, 0.5, 0.75, 1.0)
#: So long areas keep their rates.
PHASE_US = 600_000_000
#: A program of its own, whose peak memory is that of recording.
_RECORD = """
import sys, pathlib
sys.path.insert(0, sys.argv[1])
from benchmarks.record_day import record
record(pathlib.Path(sys.argv[2]), float(sys.argv[3]))
"""
#: The sizes of a record are noted when so many hours are in it.
HOURS = (1, 2, 4, 8, 12, 16, 20, 24)


@frozen
class Phases:
    """Areas of the same size, every other idle; in each phase the rates of the others move on."""

    rates: npt.NDArray[np.float64]

    @classmethod
    def seeded(cls) -> "Phases":
        """Return those of the benchmark."""
        rates = np.random.default_rng(1).choice(RATES, AREAS)
        rates[::2] = 0.0
        return cls(rates)

    def __call__(
        self, addresses: npt.NDArray[np.int64], time_us: int, /
    ) -> npt.NDArray[np.float64]:
        """Return the rate at each address."""
        return self.at(time_us)[addresses // AREA_BYTES]

    def at(self, time_us: int) -> npt.NDArray[np.float64]:
        """Return the rate of each area."""
        return np.roll(self.rates, 2 * (time_us // PHASE_US))


class Writing:
    """Writes a record with the times of a real clock, and notes its size at whole hours.

    Args:
        writer: The record.
        path: Its file.
    """

    def __init__(self, writer: ParquetWriter, path: Path) -> None:
        self._writer, self._path = writer, path
        self._rng = np.random.default_rng(1)
        self._begun_us = 0

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        snapshot = context.snapshot
        assert snapshot is not None
        self._begun_us = self._begun_us or snapshot.time_us - snapshot.elapsed_us
        hours, rest_us = divmod(snapshot.time_us - self._begun_us, HOUR_US)
        if hours in HOURS and rest_us < snapshot.elapsed_us:
            # What is being written by its thread, and what is collected, comes in a minute.
            print(f"{hours} {self._path.stat().st_size}", flush=True)
        self._writer.write(with_jitter(snapshot, self._rng))


def record(path: Path, hours: float) -> None:
    """Record so many hours of virtual time; print sizes at whole hours."""
    with ParquetWriter(path, RecordInfo.here()) as writer:
        context = Context(
            SimulatedMemory(
                AREA_BYTES * AREAS, Phases.seeded(), ends_after_us=round(hours * HOUR_US)
            ),
            [Writing(writer, path)],
            policy=make_policy("evidence", seed=1),
            limits=RegionLimits(AREAS, AREAS),
            clock=VirtualClock(),
            name="db",
        )
        start(context)
        context.wait()


def frequencies(snapshot: Snapshot) -> npt.NDArray[np.float64]:
    """Return the share of checks with an access at four addresses of each area."""
    places = np.arange(4 * AREAS) * (AREA_BYTES // 4) + AREA_BYTES // 8
    rows = np.searchsorted(snapshot.start, places, "right") - 1
    found: npt.NDArray[np.float64] = snapshot.nr_accesses[rows] / snapshot.max_nr_accesses
    return found


@frozen
class Loss:
    """What longer aggregations lose of a record: mean errors of frequencies, and sizes.

    Attributes:
        exact: The error of the record, compared with the pattern.
        longer: That of longer aggregations.
        means: What they differ by from the mean of those that they are made of.
        working_sets: The median working set of both.
        hot: The mean of bytes that were accessed in half of the checks, of both and of the pattern.
    """

    exact: float
    longer: float
    means: float
    working_sets: tuple[float, float]
    hot: tuple[float, float, float]


def loss(exact: Path, longer: Path) -> Loss:
    """Compare the first hour of a record with longer aggregations that were made of it."""
    pattern, errors, sizes, hot = Phases.seeded(), [], ([], []), []  # type: ignore[var-annotated]
    with ParquetReader(exact) as reader, ParquetReader(longer) as others:
        span = reader.span_us()
        assert span is not None
        begin_us, end_us = span[0], span[0] + HOUR_US
        snapshots = reader.snapshots(end_us=end_us)
        for whole in others.snapshots(end_us=end_us):
            parts = list(_until(snapshots, whole.time_us))
            seen = np.array([frequencies(each) for each in parts])
            true = np.array(
                [
                    np.repeat(pattern.at(each.time_us - each.elapsed_us // 2 - begin_us), 4)
                    for each in parts
                ]
            )
            found = frequencies(whole)
            errors.append(
                [
                    np.abs(seen - true).mean(),
                    np.abs(found - true).mean(),
                    np.abs(found - seen.mean(axis=0)).mean(),
                ]
            )
            sizes[0].extend(each.working_set_bytes() for each in parts)
            sizes[1].append(whole.working_set_bytes())
            hot.append([(each >= 0.5).mean() for each in (seen, found, true)])
    of_exact, of_longer, of_means = np.mean(errors, axis=0).tolist()
    of_parts, of_whole, of_pattern = (AREAS * AREA_BYTES * np.mean(hot, axis=0)).tolist()
    return Loss(
        of_exact,
        of_longer,
        of_means,
        (float(np.median(sizes[0])), float(np.median(sizes[1]))),
        (of_parts, of_whole, of_pattern),
    )


def _until(snapshots: Iterator[Snapshot], time_us: int) -> Iterator[Snapshot]:
    for snapshot in snapshots:
        yield snapshot
        if snapshot.time_us >= time_us:
            return


def show_sizes(sizes: list[tuple[float, int]]) -> None:
    """Print how long a record is after some hours."""
    rows = [
        [f"{hours:g} h", f"{size / 1e6:.0f} MB", f"{size / 1e6 / hours:.1f} MB"]
        for hours, size in sizes
    ]
    print_table("The record of each aggregation", ["after", "size", "an hour"], rows)


def show_commands(path: Path, longer: Path, every: str) -> None:
    """Make a record of longer aggregations, and print what that and reports of both take."""
    folder, rows = longer.parent, []
    convert = ["convert", "--every", every, str(path), str(longer)]
    reports = [
        [
            "report",
            report,
            str(record),
            *(["-o", f"{record.stem}.png"] if report == "heatmap" else []),
        ]
        for record in (path, longer)
        for report in ("summary", "wss", "heatmap")
    ]
    for arguments in (convert, *reports):
        progress(" ".join(arguments[:2]))
        begin = time.monotonic()
        done = run([DAMON, *arguments], folder)
        rows.append(
            [
                f"{arguments[0]} {arguments[1]}"
                + (
                    ""
                    if arguments is convert
                    else f" of {'each' if str(path) in arguments else every}"
                ),
                f"{done.cpu_s:.1f} s",
                f"{time.monotonic() - begin:.0f} s",
                f"{done.peak_mib:.0f} MiB",
            ]
        )
    print_table("Commands", ["command", "CPU", "wall", "peak memory"], rows)


def main() -> None:
    parser = command_line("record_day", __doc__, "half a minute")
    parser.add_argument("--hours", type=float, default=24.0, help="of virtual time; default: 24")
    parser.add_argument("--every", default="5s", metavar="TIME", help="default: 5s")
    parser.add_argument("--of", type=Path, metavar="FILE", help="of a record that was made before")
    options = parser.parse_args()
    hours = 0.01 if options.quick else options.hours
    with tempfile.TemporaryDirectory() as name:
        path = options.of or Path(name) / "day.parquet"
        if options.of is None:
            progress(f"recording {hours:g} h")
            begin = time.monotonic()
            root = str(Path(__file__).parents[1])
            done = run([sys.executable, "-c", _RECORD, root, str(path), str(hours)], Path(name))
            print(
                f"recorded {hours:g} h with {done.cpu_s:.0f} s of CPU time, of which nearly all is "
                f"monitoring, in {time.monotonic() - begin:.0f} s, peak {done.peak_mib:.0f} MiB\n"
            )
            sizes = [tuple(map(int, line.split())) for line in done.output.splitlines()]
            show_sizes([*((hour, size) for hour, size in sizes), (hours, path.stat().st_size)])
        longer = Path(name) / "longer.parquet"
        show_commands(path.resolve(), longer, options.every)
        with ParquetReader(path) as reader:
            span = reader.span_us()
        assert span is not None
        days = parse_duration("24h") / (span[1] - span[0])
        print(
            f"a day of it: {days * path.stat().st_size / 1e6:.0f} MB, "
            f"with --every {options.every} {days * longer.stat().st_size / 1e6:.0f} MB\n"
        )
        progress("loss")
        found = loss(path, longer)
    print_table(
        "What is lost: the first hour",
        ["", "each aggregation", f"--every {options.every}", "the pattern"],
        [
            ["error of frequencies", f"{found.exact:.2%}", f"{found.longer:.2%}", "-"],
            ["working set, median", *map(format_size, found.working_sets), "-"],
            ["hot (half of the checks), mean", *map(format_size, found.hot)],
        ],
    )
    print(f"longer ones differ by {found.means:.3%} from the mean of those they are made of")


if __name__ == "__main__":
    main()
