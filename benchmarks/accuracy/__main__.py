"""How close region policies come to the truth, compared with Linux's algorithm and a bound.

Patterns are simulated and seeded, so the truth is known exactly, byte for byte. All policies have
the same limits (10 to 1000 regions) and intervals (20 checks per aggregation). The oracle knows all
borders and spreads as many checks as the first policy over the areas, by size: its error is only
that of random sampling.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.accuracy.patterns import cases, held_out_cases
from benchmarks.accuracy.runs import POLICIES, Run, make_policy, run_all
from benchmarks.accuracy.summary import (
    AIM_COLUMNS,
    COLUMNS,
    aims,
    lines_of,
    policies_with_aims,
    table,
)
from benchmarks.measure import print_table, progress
from damon_core import InputError

AGGREGATIONS = 60
QUICK_AGGREGATIONS = 8
#: Parameters were chosen on the seeds 1 to 4.
SEEDS = (11, 12, 13, 14)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=_numbers, default=SEEDS, help="such as 11,12")
    parser.add_argument("--patterns", type=_names, help="only these, such as zones,zipf")
    parser.add_argument(
        "--policies",
        type=_names,
        default=POLICIES,
        help="only these, from any installed package (default: kernel,evidence)",
    )
    parser.add_argument(
        "--held-out", action="store_true", help="other patterns, not used to choose parameters"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short run of each: a test, not a measurement"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="also draw pictures into this directory"
    )
    options = parser.parse_args()
    known = [case.name for case in (held_out_cases if options.held_out else cases)(0)]
    patterns = options.patterns or known
    for name in patterns:
        if name not in known:
            parser.error(f"there is no pattern '{name}': choose from {', '.join(known)}")
    for name in options.policies:
        try:
            make_policy(name, seed=1)
        except InputError as error:
            parser.error(str(error))
    seeds = options.seeds[:1] if options.quick else options.seeds
    aggregations = QUICK_AGGREGATIONS if options.quick else AGGREGATIONS

    lines = lines_of(_measure(patterns, options.policies, seeds, aggregations))
    print_table(
        f"{'Held-out patterns' if options.held_out else 'Patterns'}, "
        f"{aggregations} aggregations, seeds {', '.join(map(str, seeds))}",
        COLUMNS,
        table(lines),
    )
    for policy in policies_with_aims(lines):
        rows = aims(lines, policy)
        if rows:
            print_table(f"Aims of the policy {policy}", AIM_COLUMNS, rows)
    if options.output is not None:
        # Imported here, so that matplotlib is needed only for pictures.
        from benchmarks.accuracy.pictures import draw_all  # noqa: PLC0415

        options.output.mkdir(parents=True, exist_ok=True)
        draw_all(options.output, lines, options.policies, seeds[0], aggregations)


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
