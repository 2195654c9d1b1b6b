"""The benchmarks run and print ratios; the figures themselves are for people to judge."""

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from damon_sim import Area, RandomPages

from benchmarks.accuracy.best import best_regions, joined
from benchmarks.accuracy.runs import Run, find_case, make_policy, run_all, run_policy
from benchmarks.accuracy.truth import AreaTruth, Estimate, PageTruth, Score
from damon_core import InputError
from tests.benchmarks.quick import ROOT, rows_of


def _ratios(benchmark: str) -> list[str]:
    """Run a benchmark quickly and return the last column of its table."""
    last = [row[-1] for row in rows_of(benchmark)]
    assert last[0].startswith("ratio")
    assert set(last[1]) == {"-", ":"}
    return [cell for cell in last if not cell.startswith(("ratio", "-"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "benchmark", ["loop", "jitter", "kernel_checks.native", "scale", "scrape", "start"]
)
def test_benchmark_prints_ratios(benchmark: str) -> None:
    """Each row ends with a ratio to a baseline of the same run."""
    ratios = _ratios(benchmark)
    assert ratios
    assert all(re.match(r"\d", ratio) for ratio in ratios)


@pytest.mark.slow
def test_each_benchmark_has_a_quick_run() -> None:
    """As the documentation says of all of them."""
    text = (ROOT / "docs/benchmarks.md").read_text()
    names = sorted(set(re.findall(r"^\$ python -m benchmarks\.([\w.]+)", text, re.MULTILINE)))
    assert len(names) > 20
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "--quick" in shown.stdout, name


@pytest.mark.slow
def test_resident_reports_what_is_in_memory() -> None:
    """In each row the sum reported is that of the truth."""
    rows = rows_of("resident")
    assert len(rows) == 4
    for row in rows[2:]:
        assert float(row[3]) == pytest.approx(float(row[2]), rel=0.01)


@pytest.mark.slow
@pytest.mark.needs("gcc")
def test_referenced_prints_ratios_to_c() -> None:
    """Each row ends with a ratio to the C program of the same run."""
    ratios = _ratios("referenced")
    assert len(ratios) == 6
    assert all(re.match(r"\d", ratio) for ratio in ratios)


@pytest.mark.slow
@pytest.mark.needs("file")
def test_reports_beside_damo_print_ratios() -> None:
    """The real damo and damon-core report the same record, and the sizes of both are printed."""
    rows = rows_of("beside_damo.reports", timeout_s=300)
    ratios = [row[-1] for row in rows if re.match(r"\d", row[-1])]
    assert len(ratios) == 6


@pytest.mark.slow
def test_record_bounds_prints_how_long_a_day_is() -> None:
    """Of each simulated record: bounds, as it is, and with longer aggregations."""
    rows = rows_of("record_bounds")[2:]
    assert [row[0] for row in rows] == ["500 of 1 000 areas hot", "Zipf of 100", "Zipf of 1 000"]
    for row in rows:
        assert len(row) == 8
        assert all(re.fullmatch(r"\d+ MB", cell) for cell in row[2:])


@pytest.mark.slow
def test_record_day_prints_what_is_lost() -> None:
    """Its size, what reports of it take, and how far longer aggregations are off."""
    rows = rows_of("record_day", timeout_s=300)
    assert [row[1] for row in rows if row[0] == "0.01 h"]
    assert [row[0] for row in rows].count("report heatmap of 5s") == 1
    errors = next(row for row in rows if row[0] == "error of frequencies")
    assert all(re.fullmatch(r"\d+\.\d\d%", cell) for cell in errors[1:3])


def test_referenced_without_a_compiler_says_what_to_do(tmp_path: Path) -> None:
    """Without a compiler the benchmark is skipped; one line names the package to install."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.referenced", "--quick"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "skipped: there is no C compiler (cc) for the baseline: apt-get install gcc"
    ]


@pytest.mark.needs("gcc", "idle-helper")
@pytest.mark.needs("idle-page-tracking")
def test_idle_prints_ratios_to_c() -> None:
    """Each row, of Python and of compiled checks, ends with a ratio to the C program."""
    ratios = _ratios("idle")
    assert len(ratios) == 16
    assert all(re.match(r"\d", ratio) for ratio in ratios)


@pytest.mark.slow
@pytest.mark.needs("gcc", "idle-helper", "root")
def test_idle_runs_with_a_file_in_place_of_the_bitmap() -> None:
    """Where the kernel has no idle page tracking."""
    rows = rows_of("idle", "--marks-in-file")
    assert len([row for row in rows if "compiled" in row[0]]) == 8


@pytest.mark.slow
@pytest.mark.needs("gcc", "root", "page-tables")
def test_pagetable_prints_ratios_to_c() -> None:
    """Each row of a look ends with a ratio to the C program of the same run."""
    ratios = _ratios("pagetable")
    assert all(re.match(r"\d.* to ", ratio) for ratio in ratios[:2])


@pytest.mark.slow
def test_accuracy_compares_policies_with_the_kernels(tmp_path: Path) -> None:
    """Each policy has a row for each pattern, and pictures are drawn on request."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.accuracy", "--quick"),
            *("--patterns", "zones,random", "-o", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in row.split("|")] for row in done.stdout.splitlines()]
    assert [row[1:3] for row in rows if "kernel" in row] == [
        ["zones", "kernel"],
        ["random", "kernel"],
    ]
    assert ["", "evidence"] in [row[1:3] for row in rows]
    assert (tmp_path / "accuracy-errors.png").stat().st_size > 0


def test_accuracy_refuses_unknown_patterns() -> None:
    """A pattern that doesn't exist is a mistake in the command line, reported in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.accuracy", "--patterns", "nosuch"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no pattern 'nosuch': choose from zones, stairs" in done.stderr


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run() -> None:
    """A run depends only on its seed."""
    case = find_case("phases", 3)
    first, second = (run_policy(case, "kernel", 3, 5) for _ in range(2))
    assert first.scores == second.scores


def test_a_perfect_estimate_has_no_error() -> None:
    """An estimate equal to the truth reports all hot bytes, and has no error."""
    truth = AreaTruth([Area(0, 8192, 0.0), Area(8192, 12288, 0.75), Area(12288, 20480, 0.25)])
    score = truth.score(Estimate(np.array([0, 8192, 12288, 20480]), np.array([0.0, 0.75, 0.25])))
    assert score == Score(error=0.0, true_hot=4096, reported_hot=4096, both=4096)


def test_error_is_weighted_by_bytes_across_borders() -> None:
    """A region across two areas has a different error in each."""
    truth = AreaTruth([Area(0, 4096, 1.0), Area(4096, 16384, 0.0)])
    score = truth.score(Estimate(np.array([0, 8192, 16384]), np.array([0.5, 0.0])))
    assert score == Score(error=0.25, true_hot=4096, reported_hot=8192, both=4096)


def test_random_pages_are_scored_page_by_page() -> None:
    """The score of random pages equals that of areas of one page each."""
    pattern, pages = RandomPages(0.3, seed=5), 64
    estimate = Estimate(np.array([0, 20, 64]) * 4096, np.array([0.4, 0.9]))
    rates = np.asarray(pattern(np.arange(pages) * 4096, 0))
    areas = [Area(n * 4096, (n + 1) * 4096, float(rate)) for n, rate in enumerate(rates)]
    score = PageTruth(pattern, pages * 4096).score(estimate)
    assert score == pytest.approx(AreaTruth(areas).score(estimate))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zones", "5 TiB", "window", "far"])
def test_an_oracle_errs_less_than_the_kernel(name: str) -> None:
    """Knowing all borders is an advantage where areas are larger than the gaps between checks."""
    kernel, oracle = run_all(name, ["kernel"], seed=1, aggregations=10)
    assert sum(s.error for s in oracle.scores) < sum(s.error for s in kernel.scores)


def test_an_unnoticed_change_counts_as_one_more_than_all_aggregations() -> None:
    """In 3 aggregations after a change it counts as 4."""
    scores = [Score(0.0, 4096, found, found) for found in (0, 4096, 4096, 0, 0, 0)]
    run = Run("pattern", "policy", 3, scores, [10] * 6)
    assert run.until_found() == [(2, True), (4, False)]


def _least_squares(rate: list[float], most: int) -> float:
    """Return the least squared error of `most` regions over areas of one page, by trying all."""
    count = len(rate)

    def loss(cuts: tuple[int, ...]) -> float:
        parts = np.split(np.array(rate), cuts)
        return float(sum(((part - part.mean()) ** 2).sum() for part in parts))

    return min(loss(cuts) for cuts in combinations(range(1, count), most - 1))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_regions_are_nearly_those_of_least_error(seed: int) -> None:
    """Their squared error is at most a few percent above the least of all divisions."""
    rate = np.repeat(np.random.default_rng(seed).random(4), 3)
    rate += np.random.default_rng(seed + 9).normal(0, 0.02, 12)
    pages = np.arange(13) * 4096
    borders, means = joined(pages, rate.copy(), 4)
    assert len(means) == 4
    error = ((rate - np.repeat(means, np.diff(borders) // 4096)) ** 2).sum()
    assert error <= 1.1 * _least_squares(rate.tolist(), 4) + 1e-12


def test_the_best_regions_are_not_needed_where_all_areas_fit() -> None:
    """Where there are no more areas than regions, no regions are returned."""
    truth = AreaTruth([Area(0, 4096, 0.2), Area(4096, 8192, 0.2), Area(8192, 12288, 1.0)])
    assert best_regions(truth, 2) is None
    estimate = best_regions(truth, 1)
    assert estimate is not None
    assert estimate.frequency.tolist() == pytest.approx([1.4 / 3])


@pytest.mark.slow
def test_more_areas_than_regions_are_compared_with_the_best_regions() -> None:
    """Their run follows the oracle's; they err less than the policy."""
    policy, oracle, best = run_all("1000 random 10 %", ["evidence"], seed=1, aggregations=8)
    assert (oracle.policy, best.policy) == ("oracle", "best regions")
    assert best.scores[-1].error < policy.scores[-1].error


@pytest.mark.slow
def test_a_policy_may_be_given_its_checks() -> None:
    """The number after the @ is that of pages checked in each sampling interval."""
    run = run_policy(find_case("zones", 1), "evidence@7", 1, 2)
    assert run.checks == pytest.approx([140, 140], abs=2)
    with pytest.raises(InputError, match="checks_per_interval"):
        make_policy("evidence@many", 1)
