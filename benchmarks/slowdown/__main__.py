"""What monitoring costs the monitored program: its speed and its latencies, in turns.

Programs in C (benchmarks/slowdown/programs.c) and redis run alone and, in turns with that, are
watched by `damon record` with default settings but for the backend, by a loop that does what
cAdvisor does, and by one that does what wss.pl does (benchmarks/peers.py). Those have as many
results as damon had in the same time. A slow-down is that from two seconds after the first check,
when damon has found its intervals, to the end of the command, against the program alone just before
and after it. It is the median of all rounds, with its 95 % confidence interval. Two more columns
are for damon: with the first seconds, too; and of the program's speed in its own CPU time, which
other programs that want its processor don't change.

What `damon doctor` foretold for the program, and what damon says itself at its end, is beside it.

With --turns N it is measured otherwise, for machines whose speed varies by more than is to be seen:
what one result takes from the program, in N blocks of four turns (benchmarks/slowdown/turns.py).
That, by the time from one to the next at the usual budgets, is the slow-down.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import numpy as np
from attrs import define, field
from damon_vaddr import ProcessBackend

from benchmarks.measure import command_line, print_table, progress
from benchmarks.programs import compiled
from benchmarks.slowdown.cases import CASES, GIB, QUICK, START_S, Case, running
from benchmarks.slowdown.estimates import Pair, confidence, percentile_us
from benchmarks.slowdown.loads import PART_S, PERCENTILES, Block, huge_share
from benchmarks.slowdown.monitors import (
    NAMES,
    Came,
    Foretold,
    Watching,
    damon_record,
    foretell,
    nothing,
    peer,
)
from benchmarks.slowdown.turns import Lost, Monitor, gated, peers, settle, take_turns
from damon_core import Plugins, format_duration, make_backend

#: A program is alone for this part of the time that it is watched for, before and after that.
ALONE = 0.2
ALONE_NAME = "alone"


@define
class Measured:
    """What came out for a case.

    Attributes:
        case: The case.
        unit: Of its speeds.
        huge: The share of its memory in huge pages.
        foretold: By `damon doctor`, before the first round.
        seconds: How long each monitor watched it in a round.
        came: What `damon record` said, of each round.
        blocks: Of each round: what it did with each monitor.
        alone: Of each round: what it did alone, before the first, between two, and after the last.
    """

    case: Case
    unit: str
    huge: float
    foretold: Foretold
    seconds: float
    came: list[Came] = field(factory=list)
    blocks: list[dict[str, Block]] = field(factory=list)
    alone: list[list[Block]] = field(factory=list)

    def pairs(self, name: str, start: bool = False, cpu: bool = False) -> list[Pair]:
        """Return the speeds with a monitor, and alone before and after it, of each round.

        Args:
            name: The monitor.
            start: Whether the first seconds count, in which damon hasn't found its intervals yet.
            cpu: Whether speeds are those in its own CPU time; there are none if that isn't known.
        """
        pairs = []
        for blocks, alone in zip(self.blocks, self.alone, strict=True):
            place = list(blocks).index(name)
            watched, before, after = (
                block.cpu_speeds if cpu else block.speeds
                for block in (blocks[name], alone[place], alone[place + 1])
            )
            skipped = 0 if start else min(round(START_S / PART_S), len(watched) // 2)
            if watched:
                pairs.append(Pair(watched[skipped:], before + after))
        return pairs

    def slowdown(self, name: str, start: bool = False, cpu: bool = False) -> str:
        """Return the median slow-down with its confidence interval, as text."""
        pairs = self.pairs(name, start, cpu)
        if not pairs:
            return "-"
        low, high = confidence(pairs)
        median = statistics.median(pair.slowdown for pair in pairs)
        return f"{100 * median:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

    def times_us(self, name: str) -> list[float]:
        """Return percentiles of operation times with a monitor, or alone; of all rounds."""
        blocks = [each[name] for each in self.blocks if name in each]
        if name == ALONE_NAME:
            blocks = [each for blocks in self.alone for each in blocks]
        counts = [block.counts for block in blocks if block.counts is not None]
        if counts:
            total = np.sum(counts, axis=0)
            return [percentile_us(total, each) for each in PERCENTILES]
        times = [block.times_us for block in blocks]
        columns = list(zip(*times, strict=True))
        return [*(statistics.median(column) for column in columns[:-1]), max(columns[-1])]


def measure(case: Case, rounds: int, program: Path, folder: Path, backend: str) -> Measured:
    """Measure a case with a backend."""
    with running(case, program, folder) as load:
        huge = huge_share(load.pid, case.size_bytes)
        foretold = foretell(load.pid, backend)
        seconds = case.seconds(foretold)
        result = Measured(case, load.unit, huge, foretold, seconds)

        def block(watch: AbstractContextManager[Watching], seconds: float) -> Block:
            with watch as watching:
                return load.block(seconds, watching.goes_on)

        block(nothing(), 1.0)
        for number in range(rounds):
            progress(f"{case}, round {number + 1} of {rounds}, {seconds:.0f} s each")
            blocks: dict[str, Block] = {}
            alone = [block(nothing(), max(seconds * ALONE, 1.0))]
            # The others have as many results as damon, which therefore is the first.
            for name in NAMES:
                if name == NAMES[0]:
                    with damon_record(
                        load.pid, seconds, folder, ("--backend", backend)
                    ) as watching:
                        blocks[name] = load.block(seconds, watching.goes_on)
                    result.came.append(watching.came)
                else:
                    kind = "wss" if name == "wss.pl" else "cadvisor"
                    results = result.came[-1].results
                    blocks[name] = block(peer(kind, load.pid, seconds, results), seconds)
                alone.append(block(nothing(), max(seconds * ALONE, 1.0)))
            result.blocks.append(blocks)
            result.alone.append(alone)
        return result


def named(case: Case, huge: float) -> str:
    """Return the name of a row."""
    note = f" ({huge:.0%} of it)".replace("%", " %") if case.huge else ""
    return f"{case}{note}"


def duration(us: float | None) -> str:
    return "-" if us is None else format_duration(round(us), 3)


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2g} %"


def speeds_row(result: Measured) -> list[str]:
    alone = statistics.mean(v for blocks in result.alone for each in blocks for v in each.speeds)
    speed = f"{alone / GIB:.1f} GiB/s" if result.unit == "bytes/s" else f"{alone / 1e6:.3g} M/s"
    if result.unit == "requests/s":
        speed = f"{alone / 1e3:.1f} k/s"
    results = "+".join(str(each.results) for each in result.came)
    return [
        named(result.case, result.huge),
        speed,
        f"{result.seconds:.0f}",
        results,
        *(result.slowdown(name) for name in NAMES),
        result.slowdown(NAMES[0], start=True),
        result.slowdown(NAMES[0], cpu=True),
    ]


def foretold_row(result: Measured) -> list[str]:
    foretold, came = result.foretold, result.came
    intervals = [each.interval_us for each in came if each.interval_us is not None]
    stalls = [each.stall_us for each in came if each.stall_us is not None]
    accounts = [each.slowdown for each in came if each.slowdown is not None]
    measured = statistics.median(pair.slowdown for pair in result.pairs(NAMES[0]))
    return [
        named(result.case, result.huge),
        duration(foretold.aggregation_us),
        f"{duration(foretold.clearing_us)} ({duration(foretold.idle_us)})",
        duration(statistics.median(intervals)) if intervals else "-",
        share(foretold.slowdown),
        share(statistics.median(accounts)) if accounts else "-",
        f"{100 * measured:.1f} %",
        duration(foretold.stall_us),
        duration(max(stalls)) if stalls else "-",
        share(statistics.median(each.cpu for each in came)),
    ]


def times_rows(result: Measured) -> list[list[str]]:
    rows = []
    base = result.times_us(ALONE_NAME)
    for name in (ALONE_NAME, *NAMES):
        times = result.times_us(name)
        ratio = "1" if name == ALONE_NAME else f"{times[2] / base[2]:.2f}"
        first = named(result.case, result.huge) if name == ALONE_NAME else ""
        rows.append([f"{first}", name, *(duration_of(us) for us in times), ratio])
    return rows


def duration_of(us: float) -> str:
    return f"{us / 1_000:.2f} ms" if us >= 1_000 else f"{us:.3g} us"


#: How long damon settles down before turns; how long a turn is at least, and for each GiB.
TURNS_SETTLE_S = 20.0
SHORTEST_TURN_S = 1.0
TURN_S_PER_GIB = 0.25


def make(backend: str) -> ProcessBackend:
    """Make a backend."""
    backends = Plugins.discover().backends("vaddr")
    return cast(ProcessBackend, make_backend("vaddr", backend, backends))


def turns_row(
    case: Case, blocks: int, program: Path, folder: Path, options: argparse.Namespace
) -> list[str]:
    """Measure what a result takes from a program; return a row of the table."""
    turn_s = max(SHORTEST_TURN_S, TURN_S_PER_GIB * case.size_bytes / GIB)
    if options.quick:
        turn_s = 0.2
    with running(case, program, folder) as load:
        clearing_us = foretell(load.pid, options.backend).clearing_us
        seconds = 2.0 if options.quick else TURNS_SETTLE_S
        with load.busy():
            settled = settle(load.pid, make(options.backend), seconds, clearing_us)
        backend = make(options.backend)
        interval_us = settled.clearing_us
        with gated(load.pid, backend, interval_us, turn_s) as (gate, aggregation_us):
            monitors: dict[str, Monitor] = {NAMES[0]: gate}
            if options.peers:
                monitors |= peers(load.pid)
            cleared, lost_us = gate.cleared, gate.lost_us
            found = take_turns(load, monitors, blocks, turn_s)
            clearings = (gate.cleared - cleared) / (2 * blocks * gate.results)
            account_ms = (gate.lost_us - lost_us) / (2 * blocks * gate.results) / 1_000
        speed = statistics.mean(each.per_s for block in found[NAMES[0]] for each in block.without)
        huge = huge_share(load.pid, case.size_bytes)
    cells = []
    for name, monitor in monitors.items():
        lost = Lost.of([block.lost for block in found[name]]).times(turn_s / monitor.results)
        per_s = 1e6 / interval_us
        cells += [f"{interval(lost.times(1e3))} ms", f"{interval(lost.times(100 * per_s))} %"]
    shares = [block.cpu_lost for block in found[NAMES[0]]]
    known = [each for each in shares if each is not None]
    cpu = "-"
    if known:
        lost = Lost.of(known).times(turn_s / gate.results)
        cpu = f"{interval(lost.times(1e8 / interval_us))} %"
    faults = statistics.median(block.more_faults for block in found[NAMES[0]]) / gate.results
    return [
        named(case, huge),
        f"{speed / 1e6:.3g}",
        f"{4 * blocks} of {turn_s:g} s",
        f"{gate.results} in {format_duration(aggregation_us, 3)}",
        f"{clearings:.2f}",
        duration(settled.interval_us),
        duration(interval_us),
        *cells,
        f"{faults:.0f}",
        f"{account_ms:.2f} ms",
        cpu,
        share(settled.slowdown),
        share(settled.cpu),
        duration(settled.longest_stall_us),
    ]


def interval(lost: Lost) -> str:
    return f"{lost.mean:.2f} ({lost.low:.2f} to {lost.high:.2f})"


def print_turns(rows: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    each = [text for name in names for text in (f"{name}: a result takes", "slow-down")]
    columns = [
        "",
        "M/s alone",
        "turns",
        "results of each",
        "clearings",
        "interval",
        "of clearings",
        *each,
    ]
    print_table(
        "What results take from programs, in turns, and the slow-down by it at the usual budgets: "
        "trimmed means (95 % confidence intervals)",
        [
            *columns,
            *("faults of a result", "own account of it"),
            *("of CPU time", "own account"),
            *("CPU", "longest stall"),
        ],
        rows,
    )


def print_results(results: Sequence[Measured]) -> None:
    """Print all tables."""
    print_table(
        "Slow-down of programs by a monitor: median of all rounds (95 % confidence interval)",
        ["", "alone", "s", "results", *NAMES, "with its start", "of CPU time"],
        [speeds_row(each) for each in results],
    )
    print_table(
        "What `damon doctor` foretold (in brackets: if next to nothing is accessed), and what came",
        [
            "",
            "interval, foretold",
            "of clearings",
            "interval that came",
            "slow-down, foretold",
            "own account",
            "measured",
            "stall, foretold",
            "came",
            "CPU",
        ],
        [foretold_row(each) for each in results],
    )
    timed = [each for each in results if each.blocks[0][NAMES[0]].times_us]
    if timed:
        print_table(
            "Latencies of operations; ratio: of p99.9 to that of the program alone",
            ["", "", "p50", "p99", "p99.9", "p99.99", "worst", "ratio"],
            [row for each in timed for row in times_rows(each)],
        )


def main() -> None:
    parser = command_line("slowdown", __doc__)
    parser.add_argument(
        "--only",
        metavar="TEXT",
        action="append",
        help="only programs with this text, such as 'random, 2 GiB'; may be repeated",
    )
    parser.add_argument("--all", action="store_true", help="all combinations (about 1 h)")
    parser.add_argument("--rounds", type=int, help="this many rounds of each program")
    parser.add_argument("--backend", default="referenced", help="backend of damon [referenced]")
    parser.add_argument(
        "--turns", metavar="N", type=int, help="what a result costs, in N blocks of four turns"
    )
    parser.add_argument(
        "--peers", action="store_true", help="with --turns: cAdvisor and wss.pl have turns, too"
    )
    options = parser.parse_args()
    every = QUICK if options.quick else CASES
    cases = [
        case
        for case in every
        if (any(text in str(case) for text in options.only) if options.only else case.always)
        or options.all
    ]
    if not cases:
        parser.error(f"there is no program {options.only}: {'; '.join(map(str, every))}")
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(Path(__file__).with_name("programs.c"), folder)
        if options.turns:
            rows = []
            for case in cases:
                progress(f"{case}: starting")
                rows.append(turns_row(case, options.turns, program, folder, options))
                progress("  " + " | ".join(rows[-1]))
            print_turns(rows, NAMES if options.peers else NAMES[:1])
            return
        for case in cases:
            progress(f"{case}: starting")
            results.append(
                measure(case, options.rounds or case.rounds, program, folder, options.backend)
            )
            for row in (speeds_row, foretold_row):
                progress("  " + " | ".join(row(results[-1])))
    print_results(results)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
