"""Pictures of runs, for docs: every dot and line is a real result of a policy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from attrs import frozen
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from benchmarks.accuracy.patterns import GIB, TIB, Case
from benchmarks.accuracy.runs import ORACLE, Run, find_case, run_policy
from benchmarks.accuracy.summary import BASELINE, LEAST_RATIO, Line, ratios_of
from benchmarks.accuracy.truth import Estimate

ROWS = 720
INK, MUTED, PALE = "#1f2430", "#6b7280", "#d7dbe0"
COLORS = {"kernel": "#c2410c", "evidence": "#1d4ed8", ORACLE: "#6b7280"}
HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#f4f6f8", "#fde3b0", "#f9a03f", "#d8432b", "#6d0f2b"]
)
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.edgecolor": PALE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "savefig.dpi": 130,
}

Grid = npt.NDArray[np.float64]


@frozen
class View:
    """A part of a run: a range of aggregations and of addresses.

    Attributes:
        pattern: The name of the pattern.
        title: Its title in the picture.
        last: The end of the aggregations, not included.
        first: The first aggregation.
        low: The first address in bytes.
        high: The end of the addresses; None for all.
    """

    pattern: str
    title: str
    last: int
    first: int = 0
    low: float = 0
    high: float | None = None

    def addresses(self, case: Case) -> npt.NDArray[np.int64]:
        """Return an address for each row of the picture: the middle of its part of the memory."""
        high = self.high or case.size_at(self.last - 1)
        return (self.low + (np.arange(ROWS) + 0.5) / ROWS * (high - self.low)).astype(np.int64)

    def extent(self, case: Case) -> tuple[float, float, float, float]:
        """Return the borders of the picture: horizontally aggregations, vertically addresses."""
        high = self.high or case.size_at(self.last - 1)
        return self.first, self.last, self.low, high


MAPS = (
    View("zones", "zones: nothing changes", 60),
    View("zigzag", "zigzag: up and down", 60, high=24 * GIB),
    View("phases", "phases: all changes at 20, 40", 60),
    View("scattered", "scattered: an eighth of it", 60, low=48 * GIB, high=56 * GIB),
)
BORDERS = View("phases", "phases", first=14, last=32)
CHANGE = 20
LOOKS = View("needle", "needle", 8, low=0.32 * TIB, high=0.44 * TIB)


def draw_all(
    directory: Path,
    lines: Sequence[Line],
    policies: Sequence[str],
    seed: int,
    aggregations: int,
) -> None:
    """Draw all pictures that these results allow."""
    with mpl.rc_context(STYLE):
        if BASELINE in policies:
            _save(_errors(lines, policies), directory / "accuracy-errors.png")
        views = (*MAPS, BORDERS, LOOKS)
        long_enough = all(view.first < aggregations for view in views)
        if not long_enough:
            return
        runs = {
            (view.pattern, policy): run_policy(
                find_case(view.pattern, seed), policy, seed, aggregations, keep=True
            )
            for view in views
            for policy in policies
        }
        _save(_maps(runs, policies, seed), directory / "accuracy-maps.png")
        _save(_borders(runs, policies, seed), directory / "regions-borders.png")
        _save(_looks(runs, policies, seed), directory / "regions-checks.png")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", facecolor="white", metadata={"Software": None})


def _errors(lines: Sequence[Line], policies: Sequence[str]) -> Figure:
    """Draw errors as ratios to the baseline, pattern by pattern."""
    shown = [policy for policy in (ORACLE, *policies) if policy != BASELINE]
    patterns = list(dict.fromkeys(line.pattern for line in lines))
    place = {pattern: number for number, pattern in enumerate(reversed(patterns))}
    figure = Figure(figsize=(9.5, 0.42 * len(patterns) + 1.7))
    axes = figure.add_subplot()
    axes.axvspan(1, 10, color=COLORS["kernel"], alpha=0.06, linewidth=0)
    axes.axvline(1, color=COLORS["kernel"], linewidth=1.5)
    axes.axvline(1 / 3, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for policy in shown:
        ratios = [ratio for ratio in ratios_of(lines, policy) if ratio.error is not None]
        error = [max(ratio.error or 0.0, LEAST_RATIO) for ratio in ratios]
        height = [place[ratio.pattern] for ratio in ratios]
        if policy == ORACLE:
            axes.scatter(error, height, marker="|", s=150, color=COLORS[ORACLE], label=policy)
            continue
        axes.hlines(height, error, 1, color=COLORS[policy], linewidth=2, alpha=0.35)
        axes.scatter(error, height, s=60, color=COLORS[policy], zorder=3, label=policy)
        for ratio, left, y in zip(ratios, error, height, strict=True):
            axes.annotate(
                f"{ratio.error:.2f}",
                (left, y),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=COLORS[policy],
            )
    axes.set_xscale("log")
    axes.set_xlim(LEAST_RATIO * 0.85, 2)
    axes.set_ylim(-0.6, len(patterns) - 0.2)
    axes.set_xticks([0.01, 0.03, 0.1, 1 / 3, 1], ["≤ 0.01", "0.03", "0.1", "⅓ (aim)", "1 (kernel)"])
    axes.minorticks_off()
    axes.set_yticks(list(place.values()), list(place), color=INK)
    axes.set_xlabel("error of the access frequency, as a ratio to the kernel policy's")
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=3, frameon=False)
    return figure


def _maps(runs: dict[tuple[str, str], Run], policies: Sequence[str], seed: int) -> Figure:
    """Draw heat maps of a few patterns: the truth, and each policy's estimate."""
    columns = ["truth", *policies]
    figure = Figure(figsize=(3.9 * len(columns), 2.75 * len(MAPS)), layout="constrained")
    grid = figure.subplots(len(MAPS), len(columns), squeeze=False)
    image: Any = None
    for view, row in zip(MAPS, grid, strict=True):
        case = find_case(view.pattern, seed)
        for axes, column in zip(row, columns, strict=True):
            heat = (
                _truth(view, case)
                if column == "truth"
                else _estimated(view, case, runs[view.pattern, column])
            )
            image = axes.imshow(
                heat,
                extent=view.extent(case),
                aspect="auto",
                origin="lower",
                cmap=HEAT,
                vmin=0,
                vmax=1,
                interpolation="none",
            )
            _label(axes, case, view)
            if column != columns[0]:
                axes.set_yticklabels([])
                axes.set_ylabel("")
            if view is not MAPS[-1]:
                axes.set_xlabel("")
            if column == "truth":
                axes.set_title(view.title, loc="left", fontsize=11)
            else:
                axes.set_title(
                    f"{column}: F1 {Line.of([runs[view.pattern, column]]).f1:.2f}",
                    loc="left",
                    fontsize=11,
                    color=COLORS[column],
                )
    bar = figure.colorbar(image, ax=grid, shrink=0.4, aspect=30, pad=0.015)
    bar.set_label("access frequency")
    bar.outline.set_visible(False)
    return figure


def _borders(runs: dict[tuple[str, str], Run], policies: Sequence[str], seed: int) -> Figure:
    """Draw how regions follow a change: their borders in each aggregation."""
    view, case = BORDERS, find_case(BORDERS.pattern, seed)
    panels = ["truth", *policies]
    figure = Figure(figsize=(4.6 * len(panels), 5.2), layout="constrained")
    (row,) = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axes, panel in zip(row, panels, strict=True):
        heat = (
            _truth(view, case)
            if panel == "truth"
            else _estimated(view, case, runs[view.pattern, panel])
        )
        axes.imshow(
            heat,
            extent=view.extent(case),
            aspect="auto",
            origin="lower",
            cmap=HEAT,
            vmin=0,
            vmax=1,
            interpolation="none",
        )
        if panel == "truth":
            axes.set_title("the truth", loc="left")
        else:
            estimates = runs[view.pattern, panel].estimates
            for aggregation in range(view.first, view.last):
                axes.hlines(
                    estimates[aggregation].borders,
                    aggregation,
                    aggregation + 1,
                    color=INK,
                    linewidth=0.7,
                )
            count = np.mean([len(estimates[n].frequency) for n in range(view.first, view.last)])
            axes.set_title(
                f"{panel}: {count:.0f} regions on average", loc="left", color=COLORS[panel]
            )
        axes.axvline(CHANGE, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        _label(axes, case, view)
        if axes is not row[0]:
            axes.set_ylabel("")
    for axes in row:
        axes.set_xlabel(f"aggregation; everything changes at {CHANGE}")
    return figure


def _looks(runs: dict[tuple[str, str], Run], policies: Sequence[str], seed: int) -> Figure:
    """Draw the addresses of a policy's checks around a small hot area."""
    view, case = LOOKS, find_case(LOOKS.pattern, seed)
    figure = Figure(figsize=(6.2 * len(policies), 4.8), layout="constrained")
    (row,) = figure.subplots(1, len(policies), squeeze=False, sharey=True)
    for axes, policy in zip(row, policies, strict=True):
        run = runs[view.pattern, policy]
        for aggregation in range(view.first, view.last):
            pages = run.checked[aggregation]
            when = aggregation + (np.arange(len(pages)) + 0.5) / len(pages)
            hit = case.truth_at(aggregation).rates(pages) > 0
            idle = axes.scatter(when[~hit], pages[~hit], s=7, color="#9aa3af", linewidth=0)
            accessed = axes.scatter(
                when[hit], pages[hit], s=12, color="#d8432b", linewidth=0, zorder=3
            )
            borders = axes.hlines(
                run.estimates[aggregation].borders,
                aggregation,
                aggregation + 1,
                color=INK,
                linewidth=0.8,
            )
            axes.axvline(aggregation, color=PALE, linewidth=0.8, zorder=0)
        axes.set_title(
            f"{policy}: {np.mean(run.checks[view.first : view.last]):.0f} checks per aggregation",
            loc="left",
            color=COLORS[policy],
        )
        _label(axes, case, view)
        axes.set_xlim(view.first, view.last)
        axes.set_ylim(view.low, view.high)
        if axes is not row[0]:
            axes.set_ylabel("")
    figure.legend(
        [accessed, idle, borders],
        ["check that found an access", "check that found none", "border between regions"],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def _truth(view: View, case: Case) -> Grid:
    addresses = view.addresses(case)
    columns = []
    for aggregation in range(view.first, view.last):
        inside = addresses < case.size_at(aggregation)
        column = np.full(ROWS, np.nan)
        column[inside] = case.truth_at(aggregation).rates(addresses[inside])
        columns.append(column)
    return np.array(columns).T


def _estimated(view: View, case: Case, run: Run) -> Grid:
    addresses = view.addresses(case)
    return np.array([_at(run.estimates[n], addresses) for n in range(view.first, view.last)]).T


def _at(estimate: Estimate, addresses: npt.NDArray[np.int64]) -> Grid:
    column = np.full(ROWS, np.nan)
    inside = addresses < estimate.borders[-1]
    column[inside] = estimate.at(addresses[inside])
    return column


def _label(axes: Axes, case: Case, view: View) -> None:
    """Label aggregations on the horizontal axis and addresses on the vertical one."""
    low, high = view.extent(case)[2:]
    unit, name = (GIB, "GiB") if high < TIB / 4 else (TIB, "TiB")
    step = (high - low) / 4
    ticks = [low + step * number for number in range(5)]
    axes.set_yticks(ticks, [f"{tick / unit:.3g}" for tick in ticks])
    across = 10 if view.last - view.first > 20 else 2
    axes.set_xticks(range(view.first + -view.first % across, view.last + 1, across))
    axes.set_xlabel("aggregation")
    axes.set_ylabel(f"address, {name}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
