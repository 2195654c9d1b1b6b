"""``damon demo --regions``: both policies on simulated memory, exact for a seed."""

import subprocess
import sys
from pathlib import Path

import pytest
from damon_demo.adapting import AGGREGATIONS, Adapted, Score, score, true_snapshots, watch

from damon_core import Plugins

POLICIES = ("kernel", "evidence")
DAMON = Path(sys.executable).with_name("damon")


@pytest.fixture(scope="module")
def results() -> dict[str, Adapted]:
    """The results of both policies with the default seed."""
    return {result.policy: result for result in watch(Plugins.discover(), 6)}


def run_demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``damon demo`` and return its output."""
    return subprocess.run(
        [DAMON, "demo", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def shown() -> str:
    """The output of ``damon demo --regions`` without a terminal."""
    done = run_demo("--regions")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


class TestScore:
    def test_the_truth_has_no_error(self) -> None:
        """The truth as a snapshot has no error, and all hot bytes correct."""
        truth = true_snapshots()[0]
        assert score(truth, truth) == Score(0.0, 4 << 30, 4 << 30, 4 << 30)

    def test_missing_the_jump(self) -> None:
        """A snapshot that misses the jump is wrong in two times 4 of 64 GiB, with no hot byte."""
        before, after = true_snapshots()[0], true_snapshots()[-1]
        assert score(after, before) == Score(8 / 64, 4 << 30, 4 << 30, 0)


class TestWatch:
    def test_all_aggregations_are_there(self, results: dict[str, Adapted]) -> None:
        """Each policy has a snapshot of every aggregation, and checked pages in it."""
        assert list(results) == list(POLICIES)
        for result in results.values():
            assert len(result.snapshots) == len(result.scores) == AGGREGATIONS
            assert len(result.checks) == AGGREGATIONS
            assert min(result.checks) > 0

    def test_evidence_is_nearer_to_the_truth(self, results: dict[str, Adapted]) -> None:
        """With the default seed, evidence has a smaller error than kernel, with no more checks."""
        kernel, evidence = results["kernel"], results["evidence"]
        assert evidence.error < kernel.error
        assert evidence.f1 > kernel.f1
        assert sum(evidence.checks) <= sum(kernel.checks)

    @pytest.mark.slow
    def test_results_depend_on_the_seed_alone(self, results: dict[str, Adapted]) -> None:
        """The same seed gives the same results, another seed gives other results."""
        errors = {name: result.error for name, result in results.items()}
        assert {result.policy: result.error for result in watch(Plugins.discover(), 6)} == errors
        assert {result.policy: result.error for result in watch(Plugins.discover(), 1)} != errors


class TestShown:
    def test_three_maps_side_by_side(self, shown: str) -> None:
        """Truth, kernel and evidence stand above sixteen lines of heat."""
        lines = shown.splitlines()
        head = next(n for n, line in enumerate(lines) if line.split() == ["truth", *POLICIES])
        ruler = next(n for n, line in enumerate(lines) if line.count("^ the jump") == 3)
        assert ruler - head - 1 == 16

    def test_numbers_are_those_of_the_results(
        self, shown: str, results: dict[str, Adapted]
    ) -> None:
        """The table has the errors that were computed."""
        errors = [f"{result.error:.2%}" for result in results.values()]
        line = next(line for line in shown.splitlines() if line.startswith("Frequency"))
        assert line.split()[-2:] == errors

    def test_plain_and_narrow(self, shown: str) -> None:
        """Without a terminal the text is plain and fits 80 columns."""
        assert "\x1b" not in shown
        assert "\r" not in shown
        assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--regions", "--for", "3s"], "--for"),
        (["--regions", "-o", "a"], "--output"),
        (["--regions", "--backend", "a"], "--backend"),
        (["--seed", "1"], "--seed"),
    ],
)
def test_options_without_effect_are_refused(arguments: list[str], option: str) -> None:
    """An option without effect is the user's mistake."""
    done = run_demo(*arguments)
    assert done.returncode == 2
    assert f"Error: {option} has" in done.stderr
