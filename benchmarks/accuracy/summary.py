"""Summary of runs: one line per pattern and policy, means over all, and the project's aims."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from attrs import frozen

from benchmarks.accuracy.runs import BEST, ORACLE, Run

BASELINE = "kernel"
#: Errors smaller than this count as none: ratios to them would be meaningless.
NO_ERROR = 1e-9
#: Smaller ratios count as this one in a mean, so that a single perfect pattern doesn't dominate.
LEAST_RATIO = 0.01


@frozen
class Line:
    """All seeds of one policy on one pattern.

    Attributes:
        pattern: The name of the pattern.
        policy: The name of the policy.
        error: Mean absolute error of the access frequency over bytes and aggregations.
        precision: Share of the bytes reported hot that are hot; None if none were reported.
        recall: Share of the hot bytes that are reported hot; None if there are none.
        f1: F1 of precision and recall; None if nothing is hot.
        until_found: Aggregations until F1 is 0.9, mean over starts, changes and seeds; if it was
            never reached, one more than the aggregations there were.
        never_found: Share of the starts and changes after which F1 never reached 0.9.
        checks: Pages checked per aggregation.
    """

    pattern: str
    policy: str
    error: float
    precision: float | None
    recall: float | None
    f1: float | None
    until_found: float | None
    never_found: float
    checks: float

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Line":
        """Return the line of runs that differ only in their seeds."""
        scores = [score for run in runs for score in run.scores]
        true_hot = sum(score.true_hot for score in scores)
        reported_hot = sum(score.reported_hot for score in scores)
        both = sum(score.both for score in scores)
        found = [found for run in runs for found in run.until_found()]
        return cls(
            pattern=runs[0].pattern,
            policy=runs[0].policy,
            error=fmean(score.error for score in scores),
            precision=both / reported_hot if reported_hot else None,
            recall=both / true_hot if true_hot else None,
            f1=2 * both / (reported_hot + true_hot) if true_hot else None,
            until_found=fmean(count for count, _ in found) if found else None,
            never_found=fmean(not reached for _, reached in found) if found else 0.0,
            checks=fmean(count for run in runs for count in run.checks),
        )


def lines_of(runs: Iterable[Run]) -> list[Line]:
    """Return a line for each pattern and policy, in the order of the runs."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.pattern, run.policy), []).append(run)
    return [Line.of(group) for group in groups.values()]


@frozen
class Ratios:
    """A line compared with the baseline's of the same pattern; None if a ratio is meaningless."""

    pattern: str
    error: float | None
    until_found: float | None
    checks: float


def ratios_of(lines: Sequence[Line], policy: str) -> list[Ratios]:
    """Return the ratios of one policy to the baseline, pattern by pattern."""
    base = {line.pattern: line for line in lines if line.policy == BASELINE}
    ratios = []
    for line in lines:
        if line.policy != policy or line.pattern not in base:
            continue
        other = base[line.pattern]
        # If both never reached it, neither was earlier.
        was_reached = line.never_found < 1 or other.never_found < 1
        ratios.append(
            Ratios(
                pattern=line.pattern,
                error=line.error / other.error if other.error > NO_ERROR else None,
                until_found=(
                    line.until_found / other.until_found
                    if was_reached and line.until_found and other.until_found
                    else None
                ),
                checks=line.checks / other.checks,
            )
        )
    return ratios


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean of all ratios that aren't None; None if there are none."""
    logs = [math.log(max(value, LEAST_RATIO)) for value in values if value is not None]
    return math.exp(fmean(logs)) if logs else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _until(line: Line) -> str:
    if line.until_found is None:
        return "-"
    if line.never_found == 1:
        return "never"
    return f"{'> ' if line.never_found else ''}{line.until_found:.1f}"


COLUMNS = (
    "pattern",
    "policy",
    "error",
    "to kernel",
    "precision",
    "recall",
    "F1",
    "until F1 0.9",
    "to kernel",
    "checks",
    "to kernel",
)


def table(lines: Sequence[Line]) -> list[list[str]]:
    """Return the rows of the table of results, geometric means of the ratios last."""
    policies = list(dict.fromkeys(line.policy for line in lines))
    ratios = {policy: ratios_of(lines, policy) for policy in policies}
    by_pattern = {(policy, ratio.pattern): ratio for policy in policies for ratio in ratios[policy]}
    rows = []
    for line in lines:
        ratio = by_pattern.get((line.policy, line.pattern))
        rows.append(
            [
                line.pattern if line.policy == policies[0] else "",
                line.policy,
                f"{line.error:.5f}",
                _number(ratio.error if ratio else None, ".2f"),
                _number(line.precision, ".3f"),
                _number(line.recall, ".3f"),
                _number(line.f1, ".3f"),
                _until(line),
                _number(ratio.until_found if ratio else None, ".2f"),
                f"{line.checks:.0f}",
                _number(ratio.checks if ratio else None, ".2f"),
            ]
        )
    for policy in policies:
        if policy in (BASELINE, BEST) or not ratios[policy]:
            continue
        means = [
            _number(geometric_mean(values), ".2f")
            for values in (
                [ratio.error for ratio in ratios[policy]],
                [ratio.until_found for ratio in ratios[policy]],
                [ratio.checks for ratio in ratios[policy]],
            )
        ]
        error, found, checks = means
        rows.append(
            ["geometric mean", policy, "", error, "", "", "", "", found, "", checks],
        )
    return rows


AIM_COLUMNS = ("aim", "measured", "reached")


def aims(lines: Sequence[Line], policy: str) -> list[list[str]]:
    """Return the rows of the table of aims that these lines allow to check."""
    ratios = ratios_of(lines, policy)
    rows = []

    def most(aim: str, limit: float, value: float | None, where: str = "") -> None:
        if value is not None:
            missed = f"no, {100 * (value / limit - 1):.2g} % more"
            reached = "yes" if value <= limit else missed
            rows.append([aim, f"{value:.2f}{where}", reached])

    def least(aim: str, limit: float, value: float | None) -> None:
        if value is not None:
            reached = "yes" if value >= limit else f"no, {limit - value:.3f} too little"
            rows.append([aim, f"{value:.3f}", reached])

    most(
        "error to kernel, geometric mean: at most 1/3",
        1 / 3,
        geometric_mean(ratio.error for ratio in ratios),
    )
    worst = max(
        (r for r in ratios if r.error is not None), key=lambda r: r.error or 0, default=None
    )
    if worst is not None:
        most("error to kernel, worst pattern: at most 1", 1.0, worst.error, f" ({worst.pattern})")
    most(
        "aggregations until F1 0.9 to kernel, geometric mean: at most 1/3",
        1 / 3,
        geometric_mean(ratio.until_found for ratio in ratios),
    )
    if ratios:
        costly = max(ratios, key=lambda ratio: ratio.checks)
        most(
            "checks to kernel, worst pattern: at most 1", 1.0, costly.checks, f" ({costly.pattern})"
        )
    own = {line.pattern: line for line in lines if line.policy == policy}
    if "scattered" in own:
        least("F1 of scattered: at least 0.9", 0.9, own["scattered"].f1)
    if "5 TiB" in own:
        least("precision of 5 TiB: at least 0.95", 0.95, own["5 TiB"].precision)
        least("recall of 5 TiB: at least 0.95", 0.95, own["5 TiB"].recall)
    return rows


def policies_with_aims(lines: Sequence[Line]) -> list[str]:
    """Return the policies that have aims: all except the baseline and the bounds."""
    policies = dict.fromkeys(line.policy for line in lines)
    return [policy for policy in policies if policy not in (BASELINE, ORACLE, BEST)]
