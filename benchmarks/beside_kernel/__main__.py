"""Our backends and the kernel's DAMON with the same workloads, intervals and limits, in turns.

They need a kernel whose DAMON isn't in use, so it boots the lab's machine (tests/lab/README.md),
first with one processor, then with two, and measures inside it what works on its kernel: `idle` and
the kernel's DAMON on the lab's own, `pagetable` and the kernel's DAMON on Debian's.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

from attrs import evolve

from benchmarks.beside_kernel.answers import NOTICED_F1, MonitorRun, Score
from benchmarks.beside_kernel.monitors import (
    Monitor,
    Plan,
    idle,
    kernel,
    no_monitor,
    pagetable,
)
from benchmarks.beside_kernel.workloads import moving, spinning, three_areas
from benchmarks.measure import command_line, print_table, progress
from damon_core import Intervals
from tests.lab.needs import GUEST, KERNEL_NEEDS


def in_turns(
    plan: Plan, monitors: dict[str, Monitor], runs: int, what: str
) -> dict[str, list[MonitorRun]]:
    """Return `runs` runs of each monitor, in turns; the order is reversed each time."""
    results: dict[str, list[MonitorRun]] = {name: [] for name in monitors}
    names = list(monitors)
    for run in range(runs):
        for name in names:
            progress(f"{what}, run {run + 1} of {runs}: {name}")
            results[name].append(plan.watch(monitors[name]))
        names.reverse()
    return results


def total(runs: Sequence[MonitorRun]) -> Score:
    return sum((run.score() for run in runs), Score())


def delay(runs: Sequence[MonitorRun]) -> str:
    """Return the median delay and the number of changes noticed, as text."""
    typical_us, noticed = median_delay_us(runs)
    found = [found for run in runs for _, found in run.delays_us()]
    return f"{'' if noticed else '> '}{typical_us / 1e6:.1f} s ({sum(found)} of {len(found)})"


def median_delay_us(runs: Sequence[MonitorRun]) -> tuple[int, bool]:
    """Return the median delay, and whether that change was noticed."""
    delays = sorted(each for run in runs for each in run.delays_us())
    return delays[len(delays) // 2]


def aims_row(title: str, results: dict[str, list[MonitorRun]]) -> list[str]:
    """Return the gain in F1 of `idle`, and its delay as a share of the kernel's."""
    base, own = results["kernel DAMON"], results["idle"]
    gain = total(own).f1 - total(base).f1
    (base_us, noticed), (own_us, found) = median_delay_us(base), median_delay_us(own)
    # Where the kernel noticed nothing, its delay is longer than measured.
    share = f"{'' if noticed else 'at most '}{own_us / base_us:.2f}" if found else "not noticed"
    return [
        title,
        f"{gain:+.3f}",
        "yes" if gain >= 0.2 else "no",
        share,
        "yes" if found and own_us <= base_us / 2 else "no",
    ]


def percent(shares: Sequence[float]) -> str:
    return f"{statistics.median(shares):.1%}".replace("%", " %")


def accuracy(runs: Sequence[MonitorRun]) -> list[str]:
    """Return the cells of the columns `ACCURACY`."""
    score = total(runs)
    half = sum((run.score(run.elapsed_us // 2) for run in runs), Score())
    return [
        f"{score.precision:.3f}" if score.precision is not None else "-",
        f"{score.recall:.3f}",
        f"{score.f1:.3f}",
        f"{half.f1:.3f}",
        f"{score.error:.3f}",
        percent([run.cpu_share for run in runs]),
        percent([run.missed_share for run in runs]),
    ]


ACCURACY = ["precision", "recall", "F1", "F1, 2nd half", "error of frequency", "CPU", "missed"]


def working() -> dict[str, Monitor]:
    """Return the monitors that work on this kernel."""
    found: dict[str, Monitor] = {}
    if KERNEL_NEEDS["kernel-damon"].met():
        found["kernel DAMON"] = kernel
    if KERNEL_NEEDS["idle-page-tracking"].met():
        found["idle"] = idle(flush_tlb=True)
    if KERNEL_NEEDS["page-tables"].met():
        found["pagetable"] = pagetable
    return found


def one_processor(quick: bool, sampling_us: int, stirs: bool, runs: int) -> None:
    intervals = Intervals(sampling_us, 20 * sampling_us, 200 * sampling_us)
    hot_us = (5 if quick else 15) * intervals.aggregation_us
    monitors = working()
    sweep_us = sampling_us // 2
    three = Plan(
        three_areas(sweep_us),
        intervals,
        (8 if quick else 20) * intervals.aggregation_us / 1e6,
        stirs=stirs,
    )
    # The first run in a fresh machine is slow: programs are read and translated.
    progress("warming up")
    Plan(three.pattern, intervals, 4 * intervals.aggregation_us / 1e6).watch(
        next(reversed(monitors.values()))
    )
    changing = Plan(moving(sweep_us, hot_us), intervals, 2.05 * hot_us / 1e6, stirs=stirs)
    aims = []
    for title, plan in (
        ("(a) three hot areas of 20 MiB in 400 MiB", three),
        (f"(b) a hot 10 MiB that moves over 100 MiB every {hot_us / 1e6:g} s", changing),
    ):
        results = in_turns(plan, monitors, runs, title)
        print_table(
            f"{title}: {sampling_us / 1e3:g} ms, {intervals.aggregation_us / 1e3:g} ms; {runs}"
            f" alternating runs of {plan.seconds:g} s; noticed: F1 of {NOTICED_F1}",
            ["", *ACCURACY, "delay (noticed)"],
            [[name, *accuracy(each), delay(each)] for name, each in results.items()],
        )
        sys.stdout.flush()
        if {"kernel DAMON", "idle"} <= monitors.keys():
            aims.append(aims_row(title, results))
    if not aims:
        return
    print_table(
        "Aims: `idle` has 0.2 more F1 than kernel DAMON, and half its delay",
        ["", "F1, more", "reached", "delay, to kernel DAMON's", "reached"],
        aims,
    )


def two_processors(quick: bool, sampling_us: int, runs: int) -> None:
    intervals = Intervals(sampling_us, 20 * sampling_us, 200 * sampling_us)
    plan = Plan(
        spinning(),
        intervals,
        (4 if quick else 10) * intervals.aggregation_us / 1e6,
        apart=True,
        stirs=False,
    )
    monitors: dict[str, Monitor] = {
        "no monitor": no_monitor,
        "kernel DAMON": kernel,
        "idle, flush_tlb = false": idle(flush_tlb=False),
        "idle": idle(flush_tlb=True),
    }
    progress("warming up")
    evolve(plan, seconds=4 * intervals.aggregation_us / 1e6).watch(monitors["idle"])
    results = in_turns(plan, monitors, runs, "(c), (d) spinning")
    alone = [run.sweeps_per_s() for run in results["no monitor"]]
    rows = []
    for name, each in results.items():
        rates = [run.sweeps_per_s() for run in each]
        ratios = [rate / base for rate, base in zip(rates, alone, strict=True)]
        cells = accuracy(each) if each[0].answers else ["-"] * len(ACCURACY)
        slow = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([name, *cells, f"{statistics.median(rates):.0f}", slow])
    columns = ["", *ACCURACY, "sweeps/s", "to no monitor"]
    print_table(
        f"(c), (d) 16 MiB of 64 MiB read without a pause on a separate processor:"
        f" {sampling_us / 1e3:g} ms, {intervals.aggregation_us / 1e3:g} ms; {runs} alternating"
        f" runs of {plan.seconds:g} s",
        columns,
        rows,
    )


def main() -> None:
    parser = command_line("beside_kernel", __doc__, "one short run of each")
    parser.add_argument("--only", type=int, choices=(1, 2), help="only with this many processors")
    parser.add_argument(
        "--sampling-ms", type=int, default=50, help="sampling interval; aggregations are 20 of it"
    )
    parser.add_argument(
        "--unstirred",
        action="store_true",
        help="with one processor: run no other process, so that the emulated TLB hides hot memory",
    )
    parser.add_argument("--runs", type=int, help="runs of each monitor  [default: 4]")
    parser.add_argument("--kernel", help="kernel image to boot  [default: the lab's own]")
    options = parser.parse_args()
    if GUEST in os.environ:
        sampling_us = options.sampling_ms * 1_000
        runs = options.runs or (1 if options.quick else 4)
        if len(os.sched_getaffinity(0)) > 1:
            two_processors(options.quick, sampling_us, runs)
        else:
            one_processor(options.quick, sampling_us, not options.unstirred, runs)
        return
    machine = [sys.executable, "-m", "tests.lab"]
    machine += [f"--kernel={options.kernel}"] if options.kernel else []
    inside = [sys.executable, "-m", "benchmarks.beside_kernel"]
    inside += [f"--sampling-ms={options.sampling_ms}", *(["--quick"] if options.quick else [])]
    inside += ["--unstirred"] if options.unstirred else []
    inside += [f"--runs={options.runs}"] if options.runs else []
    for processors in (1, 2):
        if options.only in (None, processors):
            # Time by instructions, so that other work of this machine doesn't count.
            counted = ["--counted"] if processors == 1 else []
            command = [*machine, *counted, "--processors", str(processors), "--", *inside]
            status = subprocess.run(command, check=False).returncode
            if status:
                sys.exit(status)


if __name__ == "__main__":
    main()
