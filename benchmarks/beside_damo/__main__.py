"""Recording through the kernel's DAMON, with damo and with damon-core: CPU time and memory.

The two take turns. Measured is the steady work of all programs involved: from the first results
until the record is a complete file, without the start. It needs a kernel whose DAMON isn't in use,
so it boots the lab's machine (tests/lab/README.md).
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
from attrs import frozen
from damon_damo import DamoReader

from benchmarks.commands import Command, run, running
from benchmarks.measure import command_line, print_table, progress
from benchmarks.programs import DAMO
from tests.lab.needs import GUEST

#: Maps one area of memory and uses a little of it now and then: the emulated processor is slow.
_PROGRAM = """
import mmap, time
area = mmap.mmap(-1, 64 << 20)
area.madvise(mmap.MADV_NOHUGEPAGE)
area[::4096] = b"x" * (64 << 8)
print("ready", flush=True)
while True:
    area[: 1 << 20 : 4096]
    time.sleep(0.5)
"""


@frozen
class Cost:
    """The cost of steady work.

    Attributes:
        cpu_s: CPU time of all programs involved.
        peak_mib: The largest peak memory of one of them.
        aggregations: Number of aggregations recorded.
        regions: Number of regions in all of them together.
    """

    cpu_s: float
    peak_mib: float
    aggregations: int
    regions: int

    @property
    def each_ms(self) -> float:
        """CPU time per aggregation in milliseconds."""
        return self.cpu_s / self.aggregations * 1e3


@frozen
class Plan:
    """The conditions that are the same for all.

    Attributes:
        pid: The process to monitor.
        regions: The number of regions it is cut into.
        seconds: How long results are recorded.
        folder: The folder to write to.
        sampling_ms: The sampling interval.
        aggregation_ms: The aggregation interval.
    """

    pid: int
    regions: int
    seconds: int
    folder: Path
    sampling_ms: int = 100
    aggregation_ms: int = 500


Monitor = Callable[[Plan], Cost]


def cpu_s(pid: int) -> float:
    """Return the CPU time so far of a process and all its descendants."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    # The time of an ended process is included in its parent's.
    return sum(sum(each.cpu_times()[:4]) for each in family)


def ours(name: str, plan: Plan) -> Cost:
    """Record with the backend `kernel` into a file whose name determines the format."""
    intervals = [str(plan.sampling_ms * 1_000), str(plan.aggregation_ms * 1_000)]
    module = [sys.executable, str(Path(__file__).with_name("ours.py"))]
    arguments = [str(plan.pid), str(plan.seconds), str(plan.regions), *intervals, name]
    done = run([*module, *arguments], plan.folder)
    used_s, aggregations, regions = done.output.split()[-3:]
    return Cost(float(used_s), done.peak_mib, int(aggregations), int(regions))


def damo_arguments(plan: Plan) -> list[str]:
    """Return damo's options for the same conditions."""
    sampling, aggregation = f"{plan.sampling_ms}ms", f"{plan.aggregation_ms}ms"
    return [
        *("--sample", sampling, "--aggr", aggregation, "--updr", f"{10 * plan.aggregation_ms}ms"),
        *("--minr", str(plan.regions), "--maxr", str(plan.regions)),
    ]


def damo_record(plan: Plan) -> Cost:
    """Let damo record accesses only, and convert perf's data to its record."""
    path = plan.folder / "damon.data"
    path.unlink(missing_ok=True)
    more = ["--do_record", "access", "-o", path.name, str(plan.pid)]
    with running([DAMO, "record", *damo_arguments(plan), *more], plan.folder) as command:
        while not path.exists():  # perf makes it when it begins
            if command.process.poll() is not None:
                command.wait()
            time.sleep(0.1)
        time.sleep(2 * plan.aggregation_ms / 1e3)
        before_s = cpu_s(command.process.pid)
        time.sleep(plan.seconds)
        command.process.send_signal(signal.SIGINT)
        command.wait(ok=(0, signal.SIGINT))  # damo's status is usually the signal's number
    with DamoReader(path) as reader:
        sizes = [len(snapshot) for snapshot in reader.snapshots()]
    return Cost(command.cpu_s - before_s, command.peak_mib, len(sizes), sum(sizes))


def damo_report(plan: Plan) -> Cost:
    """Let damo report the regions repeatedly while it monitors."""
    start = [DAMO, "start", *damo_arguments(plan), str(plan.pid)]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    try:
        time.sleep(2 * plan.aggregation_ms / 1e3)
        # It gets one answer per aggregation; without a pause it asks as soon as it can.
        report = [DAMO, "report", "access", "--raw_number", "--repeat", "0", "100000"]
        with running(report, plan.folder) as command:
            next_report(command)  # includes work that is done only once
            before_s, began = cpu_s(command.process.pid), time.monotonic()
            sizes: list[int] = []
            while not sizes or time.monotonic() < began + plan.seconds:
                sizes.append(next_report(command))
            used_s = cpu_s(command.process.pid) - before_s
            command.process.send_signal(signal.SIGINT)
            command.wait()
        return Cost(used_s, command.peak_mib, len(sizes), sum(sizes))
    finally:
        subprocess.run([DAMO, "stop"], check=True, stdout=subprocess.DEVNULL)


def next_report(command: Command) -> int:
    """Read one report to its end; return its number of regions."""
    assert command.process.stdout is not None
    regions = 0
    for line in command.process.stdout:
        regions += " addr " in line
        if line.startswith("total size:"):
            return regions
    sys.exit("damo report access ended early")


def measure(plan: Plan, runs: int) -> None:
    """Measure all in turns and print a table; the others are compared with the first."""
    monitors: dict[str, Monitor] = {
        "ours": partial(ours, "ours.data"),
        "ours, Parquet": partial(ours, "ours.parquet"),
        "damo record": damo_record,
        "damo report access": damo_report,
    }
    costs: dict[str, list[Cost]] = {name: [] for name in monitors}
    names = list(monitors)
    for number in range(runs):
        for name in names:
            progress(f"{plan.regions} regions, run {number + 1} of {runs}: {name}")
            costs[name].append(monitors[name](plan))
            progress(f"{costs[name][-1]}")
        names.reverse()
    rows = []
    for name, each in costs.items():
        ratios = [one.each_ms / own.each_ms for one, own in zip(each, costs["ours"], strict=True)]
        each_ms = [cost.each_ms for cost in each]
        rows.append(
            [
                name,
                f"{statistics.median(cost.aggregations for cost in each):.0f}",
                f"{statistics.median(cost.regions / cost.aggregations for cost in each):.0f}",
                f"{statistics.median(each_ms):.1f} ({min(each_ms):.1f} to {max(each_ms):.1f})",
                f"{statistics.median(cost.peak_mib for cost in each):.0f}",
                f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
            ]
        )
    print_table(
        f"CPU time per aggregation, {plan.regions} regions, {plan.sampling_ms} ms, "
        f"{plan.aggregation_ms} ms ({runs} alternating runs of {plan.seconds} s)",
        ["", "aggregations", "regions", "ms", "peak, MiB", "ratio to ours"],
        rows,
    )
    sys.stdout.flush()


def guest(quick: bool, sizes: list[int], runs: int) -> None:
    program = [sys.executable, "-S", "-c", _PROGRAM]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for regions in sizes:
                measure(Plan(process.pid, regions, 8 if quick else 20, Path(folder)), runs)
        finally:
            process.kill()


def main() -> None:
    parser = command_line("beside_damo", __doc__, "one short run of each")
    parser.add_argument("--runs", type=int, default=3, help="number of runs of each")
    parser.add_argument(
        "--regions", type=int, nargs="+", default=[10, 100, 1000], help="numbers of regions"
    )
    options = parser.parse_args()
    if GUEST in os.environ:
        guest(options.quick, options.regions, 1 if options.quick else options.runs)
        return
    inside = [f"--runs={options.runs}", "--regions", *map(str, options.regions)]
    inside += ["--quick"] if options.quick else []
    command = [sys.executable, "-m", "tests.lab", "--", sys.executable]
    command += ["-m", "benchmarks.beside_damo", *inside]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
