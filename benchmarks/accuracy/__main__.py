"""How close region policies come to the truth, compared with Linux's algorithm and a bound.

Patterns are simulated and seeded, so the truth is known exactly, byte for byte. All policies have
the same limits (10 to 1000 regions) and intervals (20 checks per aggregation). The oracle knows all
borders and spreads as many checks as the first policy over the areas, by size: its error is only
that of random sampling. Where there are more areas than max_regions, the best regions are an oracle
that may report only as many: their rates are the true means.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.accuracy.patterns import cases, hard_cases, held_out_cases
from benchmarks.accuracy.runs import POLICIES, Run, make_policy, run_all
from benchmarks.accuracy.summary import (
    AIM_COLUMNS,
    COLUMNS,
    aims,
    lines_of,
    policies_with_aims,
    table,
)
from benchmarks.measure import command_line, print_table, progress
from damon_core import InputError

AGGREGATIONS = 60
HARD_AGGREGATIONS = 120
HARD_POLICIES = ("kernel", "evidence@10", "evidence", "evidence@300")
QUICK_AGGREGATIONS = 8
#: Parameters were chosen on the seeds 1 to 4.
SEEDS = (11, 12, 13, 14)


def main() -> None:
    parser = command_line("accuracy", __doc__, "one short run of each")
    parser.add_argument("--seeds", type=_numbers, default=SEEDS, help="such as 11,12")
    parser.add_argument("--patterns", type=_names, help="only these, such as zones,zipf")
    parser.add_argument(
        "--policies",
        type=_names,
        help="only these, from any installed package (default: kernel,evidence); evidence@300 "
        "makes 300 checks in each sampling interval",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--held-out", action="store_true", help="other patterns, not used to choose parameters"
    )
    group.add_argument(
        "--hard",
        action="store_true",
        help="patterns in which all rates change all the time, or with more hot pieces than "
        "regions, also with other numbers of checks",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="also draw pictures into this directory"
    )
    options = parser.parse_args()
    kind, make_cases, aggregations = "Patterns", cases, AGGREGATIONS
    policies: Sequence[str] = POLICIES
    if options.held_out:
        kind, make_cases = "Held-out patterns", held_out_cases
    elif options.hard:
        kind, make_cases = "Hard patterns", hard_cases
        policies, aggregations = HARD_POLICIES, HARD_AGGREGATIONS
    policies = options.policies or policies
    known = [case.name for case in make_cases(0)]
    patterns = options.patterns or known
    for name in patterns:
        if name not in known:
            parser.error(f"there is no pattern '{name}': choose from {', '.join(known)}")
    for name in policies:
        try:
            make_policy(name, seed=1)
        except InputError as error:
            parser.error(str(error))
    seeds = options.seeds[:1] if options.quick else options.seeds
    aggregations = QUICK_AGGREGATIONS if options.quick else aggregations

    lines = lines_of(_measure(patterns, policies, seeds, aggregations))
    print_table(
        f"{kind}, {aggregations} aggregations, seeds {', '.join(map(str, seeds))}",
        COLUMNS,
        table(lines),
    )
    for policy in () if options.hard else policies_with_aims(lines):
        rows = aims(lines, policy)
        if rows:
            print_table(f"Aims of the policy {policy}", AIM_COLUMNS, rows)
    if options.output is not None:
        # Imported here, so that matplotlib is needed only for pictures.
        from benchmarks.accuracy.pictures import draw_all  # noqa: PLC0415

        options.output.mkdir(parents=True, exist_ok=True)
        draw_all(options.output, lines, policies, seeds[0], aggregations)


def _measure(
    patterns: Sequence[str], policies: Sequence[str], seeds: Sequence[int], aggregations: int
) -> list[Run]:
    """Run everything, with one process per CPU."""
    progress(f"{len(patterns)} patterns, {len(policies)} policies, {len(seeds)} seeds")
    with ProcessPoolExecutor() as pool:
        futures = [
            pool.submit(run_all, pattern, policies, seed, aggregations)
            for pattern in patterns
            for seed in seeds
        ]
        return [run for future in futures for run in future.result()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
