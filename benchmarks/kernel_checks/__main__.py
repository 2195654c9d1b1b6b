"""The kernel's DAMON as a checker of single pages for our policy, beside its own regions.

With operations `fvaddr` and regions of one page each, none beside another, a kdamond neither
splits nor merges them: each has the count of its page. So the policy `evidence` can choose the
pages, and a commit replaces them. Costs are CPU time of the kdamond and of this program, each a
share of one core.

It boots the lab's machine (tests/lab/README.md), whose time goes by the instructions that it
executes. There another process empties the emulated TLB, as in `benchmarks.beside_kernel`.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

from attrs import evolve
from damon_demo.workload import Pattern

from benchmarks.beside_kernel.__main__ import delay, total
from benchmarks.beside_kernel.answers import NOTICED_F1, MonitorRun, Score
from benchmarks.beside_kernel.monitors import Plan
from benchmarks.beside_kernel.workloads import FOR_US, MIB, moving, needle, scattered, three_areas
from benchmarks.kernel_checks.monitors import KernelRegions, PolicyChecks
from benchmarks.kernel_checks.pages import Cost
from benchmarks.measure import print_table, progress
from damon_core import Intervals
from tests.lab.needs import GUEST

#: Checks are as rare as in `benchmarks.beside_kernel`, as emulation is slow.
SAMPLING_US = 100_000
#: How many pages are checked at a time, so that the kdamond takes as much CPU time as with its own
#: regions: of those that stay for an aggregation, and of those that are replaced after a check.
PAGES, PAGES_ONCE = 40, 24
#: How many times as often the kernel checks where it may take as much CPU time as ours.
OFTEN = 4


def shorter(intervals: Intervals, often: int) -> Intervals:
    """Return intervals that are as many times shorter."""
    sampling_us, aggregation_us = intervals.sampling_us, intervals.aggregation_us
    return Intervals(sampling_us // often, aggregation_us // often, intervals.update_us)


def measure(options: argparse.Namespace) -> None:
    """Print a table of each pattern."""
    intervals = Intervals(SAMPLING_US, 20 * SAMPLING_US, 200 * SAMPLING_US)
    sweep_us = 4 * SAMPLING_US // (5 * OFTEN)
    hot_us = (3 if options.quick else 8) * intervals.aggregation_us
    still_s = (4 if options.quick else 12) * intervals.aggregation_us / 1e6
    moves_s = 2.05 * hot_us / 1e6
    for title, pattern, seconds in (
        ("three hot areas of 20 MiB in 400 MiB", three_areas(sweep_us), still_s),
        ("a hot 10 MiB that moves over 100 MiB", moving(sweep_us, hot_us), moves_s),
        ("20 hot areas of 1 MiB in 400 MiB", scattered(sweep_us), still_s),
        ("a hot 2 MiB in 800 MiB", needle(sweep_us), still_s),
        (
            "a hot 10 MiB that moves over 800 MiB",
            Pattern.moving(10 * MIB, 800 * MIB, hot_us, FOR_US, every_us=sweep_us),
            moves_s,
        ),
    ):
        if options.only not in title:
            continue
        plan = Plan(pattern, intervals, seconds)
        monitors: dict[str, KernelRegions | PolicyChecks] = {
            "kernel's regions": KernelRegions(),
            f"kernel's regions, {OFTEN} times as often": KernelRegions(OFTEN),
            "our pages, 19 checks each": PolicyChecks(PAGES, 19),
            "our pages, counted as 4 checks": PolicyChecks(PAGES, 19, weight=4),
            "our pages, 1 check each": PolicyChecks(PAGES_ONCE, 1),
        }
        names = list(monitors)
        runs: dict[str, list[MonitorRun]] = {name: [] for name in monitors}
        for run in range(options.runs):
            for name in names:
                progress(f"{title}, run {run + 1} of {options.runs}: {name}")
                monitor = monitors[name]
                often = monitor.often if isinstance(monitor, KernelRegions) else 1
                each = evolve(plan, intervals=shorter(intervals, often))
                runs[name].append(each.watch(monitor))
            names.reverse()
        print_table(
            f"{title}: {SAMPLING_US / 1e3:g} ms, {intervals.aggregation_us / 1e3:g} ms;"
            f" {options.runs} alternating runs of {seconds:g} s; noticed: F1 of {NOTICED_F1}",
            COLUMNS,
            [[name, *_cells(each, monitors[name].costs)] for name, each in runs.items()],
        )
        sys.stdout.flush()


COLUMNS = [
    "",
    "F1 (of the runs)",
    "F1, 2nd half",
    "error of frequency",
    "delay (noticed)",
    "checked at a time",
    "kdamond",
    "own CPU",
    "both",
]


def _cells(runs: Sequence[MonitorRun], costs: Sequence[Cost]) -> list[str]:
    f1 = [run.score().f1 for run in runs]
    half = sum((run.score(run.elapsed_us // 2) for run in runs), Score())
    return [
        f"{statistics.median(f1):.3f} ({min(f1):.3f} to {max(f1):.3f})",
        f"{half.f1:.3f}",
        f"{total(runs).error:.3f}",
        delay(runs),
        f"{statistics.median(cost.regions for cost in costs):.0f}",
        f"{100 * statistics.median(cost.kdamond for cost in costs):.3f} %",
        f"{100 * statistics.median(cost.own for cost in costs):.2f} %",
        f"{100 * statistics.median(cost.kdamond + cost.own for cost in costs):.2f} %",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.kernel_checks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="short runs of each: a test, not a measurement"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only patterns with this text")
    parser.add_argument("--runs", type=int, default=2, help="runs of each monitor [2]")
    parser.add_argument("--kernel", help="kernel image to boot  [default: the lab's own]")
    options = parser.parse_args()
    if GUEST in os.environ:
        measure(options)
        return
    machine = [sys.executable, "-m", "tests.lab", "--counted"]
    machine += [f"--kernel={options.kernel}"] if options.kernel else []
    inside = [sys.executable, "-m", "benchmarks.kernel_checks", *sys.argv[1:]]
    sys.exit(subprocess.run([*machine, "--", *inside], check=False).returncode)


if __name__ == "__main__":
    main()
