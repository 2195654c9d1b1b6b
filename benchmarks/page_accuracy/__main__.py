"""What backends find of memory whose use is known, to the page.

A C program (benchmarks/page_accuracy/program.c) uses its pages by a timetable and logs when. Each
backend that works here watches it with the usual intervals and budgets. What it finds is compared
with what the program did meanwhile: the map of pages, of a backend that has one, and the regions,
of which those count as used of which at least half was touched. Where it isn't sure whether a page
was used just within an aggregation, either is right.

It needs root. With --lab it runs in the lab's machine, which is emulated: there patterns are
smaller, intervals longer, and there is another process that empties its TLB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from damon_pagetable import PageTable, PageTableOptions
from damon_vaddr import ProcessBackend

from benchmarks.beside_kernel.monitors import stirred
from benchmarks.measure import command_line, print_table, progress
from benchmarks.page_accuracy.monitor import monitored
from benchmarks.page_accuracy.patterns import EACH, Pattern, patterns, running
from benchmarks.page_accuracy.scores import Counts, Judge, Often, Score, spectrum
from benchmarks.page_accuracy.truth import Truth
from benchmarks.programs import compiled
from damon_core import DamonError, Intervals, Plugins, format_duration, make_backend
from tests.lab.needs import GUEST

NAMES = ("pagetable", "referenced")
LAB_NAMES = ("pagetable", "idle", "kernel", "referenced")
UNFLUSHED = "pagetable, flush_tlb = false"
LAB_INTERVALS = Intervals(sampling_us=50_000, aggregation_us=1_000_000)
LAB_SCALE = 0.08


def make(name: str) -> ProcessBackend:
    """Make a backend.

    Raises:
        DamonError: It doesn't work here.
    """
    if name == UNFLUSHED:
        return cast(ProcessBackend, PageTable(PageTableOptions(flush_tlb=False)))
    return cast(ProcessBackend, make_backend("vaddr", name, Plugins.discover().backends("vaddr")))


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def counts(found: Counts | None) -> list[str]:
    if found is None:
        return ["-", "-", "-"]
    return [number(found.precision), number(found.recall), number(found.f1)]


def row(name: str, score: Score) -> list[str]:
    """Return a row of the table."""
    delays = [
        f"{each.us / 1e6:.1f} s ({each.aggregations:.1f})" if each.noticed else "never"
        for each in sorted(score.delays, key=lambda each: each.us)
    ]
    return [
        name,
        *counts(score.map),
        number(None if score.later is None else score.later.f1),
        *counts(score.regions),
        share(score.unsure),
        share(score.working_set),
        share(score.map_rates),
        share(score.regions_rates),
        delays[len(delays) // 2] if delays else "-",
        format_duration(round(score.interval_us), 3),
        f"{score.aggregations} ({score.clearings})",
        share(score.cpu),
        share(score.slowdown),
    ]


COLUMNS = [
    "",
    "map: precision",
    "recall",
    "F1",
    "later F1",
    "regions: precision",
    "recall",
    "F1",
    "unsure",
    "working set",
    "rates, map",
    "rates, regions",
    "delay (aggregations)",
    "aggregation",
    "number (clearings)",
    "CPU",
    "slow-down",
]


def print_spectrum(name: str, found: Sequence[Often]) -> None:
    """Print how much memory is used how often."""
    print_table(
        f"{name}: MiB used in a time, and used at least that often",
        ["time", "expected in it", "found in it", "really that often", "estimated"],
        [
            [
                format_duration(round(each.us), 3),
                *(
                    f"{pages / EACH:.1f}"
                    for pages in (each.expected, each.found, each.really, each.estimate)
                ),
            ]
            for each in found
        ],
    )


def measure(
    pattern: Pattern, program: Path, folder: Path, names: Sequence[str], options: argparse.Namespace
) -> list[list[str]]:
    """Measure a pattern; print its spectrum, and return the rows of the backends."""
    rows = []
    intervals = LAB_INTERVALS if options.lab else None
    # Eight times in a sampling interval, so that it happens before every check.
    stir_s = LAB_INTERVALS.sampling_us / 8e6 if options.lab else 0
    if "loop" in pattern.name:
        names = [*names, *([UNFLUSHED] if "pagetable" in names else [])]
        stir_s = 0
    seconds = 1.0 if options.quick else options.seconds
    if pattern.turn_s:
        seconds = max(seconds, 4.5 * pattern.turn_s if not options.quick else 0)
    for name in names:
        try:
            backend = make(name)
        except DamonError as error:
            progress(f"left out: {error}")
            continue
        progress(f"{pattern.name}, {name}")
        with stirred(stir_s), running(program, pattern, folder) as place:
            results = monitored(place.pid, backend, intervals, seconds, 12 * seconds)
            truth = Truth(pattern, place.log)
        if not results:
            rows.append([f"{pattern.name}, {name}", "nothing in time", *["-"] * (len(COLUMNS) - 2)])
            continue
        judge = Judge(pattern, place.address, truth)
        rows.append(row(f"{pattern.name}, {name}", judge.score(results)))
        progress("  " + " | ".join(rows[-1][1:]))
        if "Zipf" in pattern.name and (found := spectrum(results, judge, truth)):
            print_spectrum(f"{pattern.name}, {name}", found)
    return rows


def main() -> None:
    parser = command_line("page_accuracy", __doc__)
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only patterns with this text, such as 'Zipf'"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each [20]")
    parser.add_argument(
        "--backends",
        metavar="NAMES",
        help=f"the backends [{','.join(NAMES)}; in the lab also the others that work there]",
    )
    parser.add_argument(
        "--lab",
        action="store_true",
        help="in the lab's machine, on the kernel that DAMON_LAB_KERNELS names",
    )
    options = parser.parse_args()
    if options.lab and GUEST not in os.environ:
        inside = [sys.executable, "-m", "benchmarks.page_accuracy", *sys.argv[1:]]
        machine = [sys.executable, "-m", "tests.lab", "--"]
        sys.exit(subprocess.run([*machine, *inside], check=False).returncode)
    scale = LAB_SCALE if options.lab else 0.04 if options.quick else 1.0
    wanted = [each for each in patterns(scale) if options.only in each.name]
    if not wanted:
        parser.error(f"there is no pattern with {options.only!r}")
    names = options.backends.split(",") if options.backends else LAB_NAMES if options.lab else NAMES
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        program = compiled(Path(__file__).with_name("program.c"), Path(directory))
        for pattern in wanted[: 2 if options.quick else None]:
            rows += measure(pattern, program, Path(directory), names, options)
    if not rows:
        print("skipped: none of the backends works here")
        return
    print_table("Pages in use, found with the usual intervals and budgets", COLUMNS, rows)


if __name__ == "__main__":
    main()
