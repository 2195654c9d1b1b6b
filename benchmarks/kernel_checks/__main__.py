"""The kernel's DAMON as a checker of single pages for our policy, beside its own regions.

Compared are the two ways of the backend `kernel`, in contexts; and pages that stay for an
aggregation, so that each has a count. Costs are CPU time of the kdamond and of this program, each
a share of one core.

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
from benchmarks.kernel_checks.monitors import Backend, PolicyChecks
from benchmarks.kernel_checks.pages import Cost
from benchmarks.measure import command_line, print_table, progress
from damon_core import Intervals
from tests.lab.needs import GUEST

#: Checks are as rare as in `benchmarks.beside_kernel`, as emulation is slow.
SAMPLING_US = 100_000
#: How many times as often its own regions are checked, where they may take more CPU time.
OFTEN = 8
#: How many times as often pages are checked, where they may take no more than regions.
RARELY = 0.4


def shorter(intervals: Intervals, often: float) -> Intervals:
    """Return intervals that are so many times shorter."""
    sampling_us, aggregation_us = intervals.sampling_us, intervals.aggregation_us
    return Intervals(int(sampling_us / often), int(aggregation_us / often), intervals.update_us)


def measure(options: argparse.Namespace) -> None:
    """Print a table of each pattern."""
    intervals = Intervals(SAMPLING_US, 20 * SAMPLING_US, 200 * SAMPLING_US)
    sweep_us = SAMPLING_US // 5
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
        monitors: dict[str, Backend | PolicyChecks] = {
            "regions": Backend("regions"),
            f"regions, {OFTEN} times as often": Backend("regions", OFTEN),
            "pages": Backend("pages"),
            f"pages, {RARELY:g} times as often": Backend("pages", RARELY),
            "pages, 19 checks each": PolicyChecks(19),
            "pages, counted as 4 checks": PolicyChecks(19, weight=4),
        }
        monitors = {name: each for name, each in monitors.items() if options.monitors in name}
        names = list(monitors)
        runs: dict[str, list[MonitorRun]] = {name: [] for name in monitors}
        for run in range(options.runs):
            for name in names:
                progress(f"{title}, run {run + 1} of {options.runs}: {name}")
                monitor = monitors[name]
                each = evolve(plan, intervals=shorter(intervals, monitor.often))
                runs[name].append(each.watch(monitor))
            names.reverse()
        print_table(
            f"{title}: {SAMPLING_US / 1e3:g} ms, {intervals.aggregation_us / 1e3:g} ms;"
            f" {options.runs} alternating runs of {seconds:g} s; noticed: F1 of {NOTICED_F1}",
            COLUMNS,
            [[name, *cells_of(each, monitors[name].costs)] for name, each in runs.items()],
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


def cells_of(runs: Sequence[MonitorRun], costs: Sequence[Cost]) -> list[str]:
    """Return the cells of a monitor, of its runs and what they cost."""
    f1 = [run.score().f1 for run in runs]
    half = sum((run.score(run.elapsed_us // 2) for run in runs), Score())
    return [
        f"{statistics.median(f1):.3f} ({min(f1):.3f} to {max(f1):.3f})",
        # A quick run may have no answer in its second half.
        f"{half.f1:.3f}" if half.all else "-",
        f"{total(runs).error:.3f}",
        delay(runs),
        f"{statistics.median(cost.regions for cost in costs):.0f}",
        f"{100 * statistics.median(cost.kdamond for cost in costs):.3f} %",
        f"{100 * statistics.median(cost.own for cost in costs):.2f} %",
        f"{100 * statistics.median(cost.kdamond + cost.own for cost in costs):.2f} %",
    ]


def main() -> None:
    parser = command_line("kernel_checks", __doc__, "short runs of each")
    parser.add_argument("--only", default="", metavar="TEXT", help="only patterns with this text")
    parser.add_argument(
        "--monitors", default="", metavar="TEXT", help="only monitors with this text"
    )
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
