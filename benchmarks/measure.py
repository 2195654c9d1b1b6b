"""Common parts of the benchmarks: alternating runs, medians, and tables.

Machines are noisy, so every figure has a baseline: the two are measured in turns, and the result is
the median of the ratios of neighbouring runs.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Self

from attrs import frozen


@frozen
class Comparison:
    """A figure and its baseline, for each run.

    Attributes:
        figures: The figure of each run, in the unit of the benchmark.
        baselines: The baseline of each run, measured directly before or after the figure.
    """

    figures: Sequence[float]
    baselines: Sequence[float]

    @classmethod
    def of(cls, figure: Callable[[], float], baseline: Callable[[], float], runs: int) -> Self:
        """Measure both in turns; the one that comes first alternates, too."""
        figures: list[float] = []
        baselines: list[float] = []
        turns = [(figure, figures), (baseline, baselines)]
        for _ in range(runs):
            for measure, results in turns:
                results.append(measure())
            turns.reverse()
        return cls(figures, baselines)

    @property
    def figure(self) -> float:
        return statistics.median(self.figures)

    @property
    def baseline(self) -> float:
        return statistics.median(self.baselines)

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.figures, self.baselines, strict=True)]

    @property
    def ratio(self) -> str:
        """The median and the range of the ratios, as text."""
        ratios = self.ratios
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def with_quartiles(ratios: Sequence[float]) -> str:
    """Return the median of many ratios and their quartiles, as text."""
    low, high = percentile(ratios, 25), percentile(ratios, 75)
    return f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values don't exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def command_line(
    name: str, description: str | None, quick: str = "short runs"
) -> argparse.ArgumentParser:
    """Return what reads the command line of a benchmark; it knows `--quick`.

    Args:
        name: The name of the benchmark, that of its module.
        description: What it measures.
        quick: What it does with `--quick`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"{quick}: a test, not a measurement")
    return parser


def is_quick(name: str, description: str | None) -> bool:
    """Return whether the command line of a benchmark that has no other option asks for a test."""
    return bool(command_line(name, description, "one short run of each").parse_args().quick)


def progress(text: str) -> None:
    """Print on standard error what is being measured."""
    print(f"measuring: {text}", file=sys.stderr)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table; the first column holds names, the others figures."""
    lines = [columns, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    marks = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    print(f"{title}\n")
    for line in (columns, marks, *rows):
        cells = [
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print(f"| {' | '.join(cells)} |")
    print()
