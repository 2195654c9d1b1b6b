"""Which way the backend `kernel` takes for processes, where no option says so."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from attrs import evolve, frozen
from damon_sysfs.choosing import ChosenByContext, why_regions
from damon_sysfs.tree import Tree
from damon_vaddr import PidSource, ProcessMemory

from damon_core import (
    Context,
    EvidencePolicy,
    HookContext,
    Intervals,
    IntervalsGoal,
    RegionLimits,
    RegionPolicy,
)
from damon_core.testing import sleeping_program

LIMITS = RegionLimits()
RARE = Intervals(100_000, 2_000_000, 10_000_000)
USUAL = Intervals()


@frozen
class Case:
    """A context, and the kernel that it runs on.

    Attributes:
        intervals: Its intervals.
        limits: Its limits of regions.
        cpu_budget: Its budget.
        goal: What its intervals are tuned to.
        policy: The policy that it was given.
        is_single: Whether it monitors one process.
        release: The kernel's version.
    """

    intervals: Intervals = RARE
    limits: RegionLimits = LIMITS
    cpu_budget: float | None = 0.02
    goal: IntervalsGoal | None = None
    policy: RegionPolicy | None = None
    is_single: bool = True
    release: str = "7.3.4"


@pytest.fixture
def tracing(tmp_path: Path) -> Path:
    """Return a mount of tracefs."""
    folder = tmp_path / "tracing"
    (folder / "instances").mkdir(parents=True)
    (folder / "events/damon/damon_aggregated").mkdir(parents=True)
    (folder / "events/damon/damon_aggregated/format").touch()
    return folder


def why(case: Case, folder: Path, *tracing: Path) -> str:
    """Return why regions are chosen; empty if pages are."""
    (folder / "sys/kernel").mkdir(parents=True, exist_ok=True)
    (folder / "sys/kernel/osrelease").write_text(case.release)
    return why_regions(
        cast(HookContext, SimpleNamespace(**{name: getattr(case, name) for name in _OF_CONTEXT})),
        case.policy,
        is_single=case.is_single,
        tree=Tree(folder / "damon"),
        tracing=tracing,
        proc=folder,
    )


_OF_CONTEXT = ("intervals", "limits", "cpu_budget", "goal")


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(cpu_budget=None),
        Case(Intervals(500_000, 10_000_000, 60_000_000), cpu_budget=0.005),
        Case(limits=RegionLimits(100, 1_000), cpu_budget=0.05),
        Case(release="6.12.0"),
    ],
)
def test_pages_are_chosen_where_they_are_affordable(
    case: Case, tmp_path: Path, tracing: Path
) -> None:
    """Rare checks of one process, the fewer the smaller the budget is."""
    assert why(case, tmp_path, tracing) == ""


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case(USUAL), "the sampling interval isn't from 100ms to 1s"),
        (Case(USUAL, cpu_budget=None), "the sampling interval isn't from 100ms to 1s"),
        (
            Case(cpu_budget=0.01),
            "pages take about 17ms of CPU time an aggregation, and may take 10ms",
        ),
        (Case(limits=RegionLimits(100, 1_000)), "pages take about 27ms"),
        (Case(limits=RegionLimits(10, 10_000)), "pages take about 62ms"),
        (Case(Intervals(100_000, 60_000_000, 60_000_000), cpu_budget=0.01), "may take 300ms"),
        (Case(goal=IntervalsGoal(0.04)), "the kernel tunes intervals to a goal"),
        (Case(is_single=False), "a single process"),
        (Case(policy=EvidencePolicy()), "a policy of their own"),
        (Case(Intervals(400_000, 2_000_000, 10_000_000)), "fewer than 20 checks"),
        (Case(Intervals(2_000_000, 40_000_000, 60_000_000)), "isn't from 100ms to 1s"),
        (Case(release="5.18.0"), "no operations 'fvaddr'"),
    ],
)
def test_regions_are_chosen_otherwise(
    case: Case, reason: str, tmp_path: Path, tracing: Path
) -> None:
    """With a reason that says what is in the way."""
    assert reason in why(case, tmp_path, tracing)


def test_pages_need_tracing(tmp_path: Path) -> None:
    """By which their counts come."""
    assert "mount tracefs" in why(Case(), tmp_path)


def test_operations_that_a_kdamond_lists_count_more_than_the_version(
    tmp_path: Path, tracing: Path
) -> None:
    """A kernel can be built without any of them."""
    folder = tmp_path / "damon/kdamonds/0/contexts/0"
    folder.mkdir(parents=True)
    (folder / "avail_operations").write_text("paddr\n")
    assert "no operations 'fvaddr'" in why(Case(), tmp_path, tracing)


def test_a_context_is_told_which_way_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """In the log, as it is made."""
    caplog.set_level("INFO")
    with sleeping_program() as pid:
        context = Context(
            ProcessMemory(PidSource([pid]), ChosenByContext()), intervals=USUAL, name="db"
        )
        context.close()
    assert context.policy_name == ""
    (text,) = [each.getMessage() for each in caplog.records if "checks" in each.getMessage()]
    assert text.startswith("context 'db': the kernel checks regions of its own: the sampling")


def test_a_greater_budget_is_enough_for_the_same_intervals(tmp_path: Path, tracing: Path) -> None:
    """What pages take is known beforehand, so that the choice doesn't depend on the moment."""
    case = Case(cpu_budget=0.01)
    assert why(case, tmp_path, tracing)
    assert not why(evolve(case, cpu_budget=0.02), tmp_path, tracing)
