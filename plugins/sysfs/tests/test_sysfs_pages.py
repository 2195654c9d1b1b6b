"""Pages that the kernel checks for the policy: on files, and with results like the kernel's."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
from damon_sysfs import ChosenByContext, KernelOptions, KernelPages, KernelProcesses
from damon_sysfs.events import Aggregation, Table
from damon_sysfs.pages import ReplacedPages
from damon_sysfs.plugin import make_processes
from damon_sysfs.replacing import IntColumn, PageFiles, apart
from damon_sysfs.sampler import Plan, Sampler
from damon_vaddr import Mapped, Process, ProcessTarget

from damon_core import (
    PAGE_SIZE_BYTES,
    Context,
    EvidencePolicy,
    HookContext,
    Intervals,
    PluginError,
    Range,
    RegionLimits,
    Regions,
    Samples,
    Target,
    VirtualClock,
    hookimpl,
)
from damon_core.testing import run, sleeping_program

PAGE = PAGE_SIZE_BYTES
CHOICES = [("pages", KernelPages), ("regions", KernelProcesses), ("auto", ChosenByContext)]


def pages(*numbers: int) -> IntColumn:
    """Return the addresses of pages."""
    return np.array(numbers, dtype=np.int64) * PAGE


def test_no_page_is_beside_another() -> None:
    """Of adjacent pages the first is checked; pages behind the last make up the number."""
    assert (apart(pages(1, 2, 3, 8), 5) // PAGE).tolist() == [1, 3, 8, 10, 12]


def test_more_pages_than_before_are_all_checked() -> None:
    """The number is the least."""
    assert (apart(pages(1, 5, 9), 1) // PAGE).tolist() == [1, 5, 9]


def test_pages_make_up_the_number_where_none_is_wanted() -> None:
    """The kernel takes no target without regions."""
    assert (apart(pages(), 2) // PAGE).tolist() == [2, 4]


def region_files(root: Path, *numbers: int) -> dict[tuple[int, int, str], Path]:
    """Make the files of so many regions of each target, and return them."""
    files = {}
    (root / "state").touch()
    for target, number in enumerate(numbers):
        for region in range(number):
            folder = root / f"contexts/0/targets/{target}/regions/{region}"
            folder.mkdir(parents=True)
            for name in ("start", "end"):
                files[target, region, name] = folder / name
                files[target, region, name].write_text("")
    return files


def test_only_pages_that_change_are_written(tmp_path: Path) -> None:
    """Of each target; others keep what was in their files."""
    files = region_files(tmp_path, 2, 1)
    written = PageFiles(tmp_path, [pages(1, 3), pages(7)])
    written.write([pages(1, 5), pages(9)])
    written.close()
    assert {key: int(file.read_text()) for key, file in files.items() if file.read_text()} == {
        (0, 1, "start"): 5 * PAGE,
        (0, 1, "end"): 6 * PAGE,
        (1, 0, "start"): 9 * PAGE,
        (1, 0, "end"): 10 * PAGE,
    }


def test_files_of_very_many_pages_are_written(tmp_path: Path) -> None:
    """Also of those for which no file stays open."""
    number = 1_000
    files = region_files(tmp_path, number)
    before = len(os.listdir("/proc/self/fd"))
    written = PageFiles(tmp_path, [pages(*range(0, 2 * number, 2))])
    assert len(os.listdir("/proc/self/fd")) - before < number
    written.write([pages(*range(10, 2 * number + 10, 2))])
    written.close()
    assert files[0, number - 1, "start"].read_text() == str((2 * number + 8) * PAGE)
    assert len(os.listdir("/proc/self/fd")) == before


def test_another_number_of_pages_does_not_fit(tmp_path: Path) -> None:
    """Of any target."""
    region_files(tmp_path, 2)
    written = PageFiles(tmp_path, [pages(1, 3)])
    assert written.fits([pages(5, 9)])
    assert not written.fits([pages(5)])
    assert not written.fits([pages(5, 9), pages(1)])
    written.close()


class Scripted(Sampler):
    """A kdamond whose results are given.

    Attributes:
        given: The pages that it was given last, of each target.
        results: What each call of `collect` returns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plan: Plan | None = None
        self.given: Sequence[IntColumn] = ()
        self.results: list[list[Aggregation]] = []

    def claim(self) -> None:
        """Do nothing."""

    def check_pages(self, plan: Plan, pages: Sequence[IntColumn]) -> None:
        """Keep what is wanted; as the kernel, refuse a process that has ended."""
        for target in plan.targets:
            assert target.pid is not None
            os.kill(target.pid, 0)
        self.plan, self.given = plan, pages

    def collect(self) -> list[Aggregation]:
        """Return the next results."""
        return self.results.pop(0) if self.results else []

    def close(self) -> None:
        """Do nothing."""


class Attributes:
    """What the backend reads of a context."""

    intervals = Intervals(5_000, 100_000, 1_000_000)
    limits = RegionLimits()


CONTEXT = cast(HookContext, Attributes())


def result(*tables: tuple[IntColumn, Sequence[int]]) -> Aggregation:
    """Return the kernel's results for pages of each target, with their counts."""
    return Aggregation(
        0,
        {
            number: Table(start, start + PAGE, np.array(counts), np.zeros(len(start), np.int64))
            for number, (start, counts) in enumerate(tables)
        },
    )


@pytest.fixture
def sampler() -> Scripted:
    """Return a kdamond."""
    return Scripted()


@pytest.fixture
def backend(sampler: Scripted) -> Iterator[KernelPages]:
    """Return a backend with it."""
    backend = KernelPages(sampler=sampler)
    yield backend
    backend.close()


def watched(backend: KernelPages, pid: int, *numbers: int) -> ProcessTarget:
    """Return a process that is added, with pages to check."""
    mapped = Mapped.of([Range(0, 100 * PAGE)])
    target = ProcessTarget("watched", process=Process.open(pid), mapped=mapped)
    target.samples = Samples(pages(*numbers))
    backend.add(target)
    return target


def checked(target: ProcessTarget) -> tuple[list[bool], list[bool]]:
    """Return which pages were accessed, and of which that is known."""
    assert target.samples is not None
    return target.samples.accessed.tolist(), target.samples.known.tolist()


def test_the_second_aggregation_with_the_pages_counts(
    backend: KernelPages, sampler: Scripted
) -> None:
    """In the first, at whose end they were taken in, the kernel has no counts; before, others."""
    target = watched(backend, os.getpid(), 1, 3, 5)
    assert backend.prepare([target], CONTEXT) == []
    (given,) = sampler.given
    others = pages(7, 9, 11)
    sampler.results = [
        [result((others, (1, 1, 1))), result((given, (0, 0, 0)))],
        [result((given, (0, 1, 1)))],
    ]
    assert backend.check([target]) == []
    assert checked(target) == ([False, True, True], [True] * 3)


def test_a_page_beside_another_is_unknown(backend: KernelPages, sampler: Scripted) -> None:
    """It can't be checked at the same time."""
    target = watched(backend, os.getpid(), 1, 2, 5)
    backend.prepare([target], CONTEXT)
    (given,) = sampler.given
    sampler.results = [[result((given, (1, 1))), result((given, (1, 1)))]]
    backend.check([target])
    assert checked(target) == ([True, False, True], [True, False, True])


def test_a_page_that_is_not_mapped_was_not_accessed(
    backend: KernelPages, sampler: Scripted
) -> None:
    """It isn't checked: it may be memory that isn't to be monitored."""
    target = watched(backend, os.getpid(), 1, 3, 200)
    backend.prepare([target], CONTEXT)
    (given,) = sampler.given
    assert given.tolist() == pages(1, 3).tolist()
    sampler.results = [[result((given, (1, 1))), result((given, (1, 1)))]]
    backend.check([target])
    assert checked(target) == ([True, True, False], [True, True, True])


def test_the_number_of_pages_does_not_shrink(backend: KernelPages, sampler: Scripted) -> None:
    """As another number takes the kernel longer."""
    target = watched(backend, os.getpid(), 1, 3, 5)
    backend.prepare([target], CONTEXT)
    target.samples = Samples(pages(8))
    backend.prepare([target], CONTEXT)
    assert [each.tolist() for each in sampler.given] == [pages(8, 10, 12).tolist()]


def test_the_kernel_makes_one_check_an_aggregation(backend: KernelPages, sampler: Scripted) -> None:
    """In the context's sampling interval."""
    target = watched(backend, os.getpid(), 1)
    backend.prepare([target], CONTEXT)
    assert sampler.plan is not None
    assert sampler.plan.operations == "fvaddr"
    intervals = sampler.plan.intervals
    assert (intervals.sampling_us, intervals.aggregation_us) == (5_000, 5_000)


@pytest.mark.parametrize(
    ("intervals", "step_us"),
    [
        (Intervals(5_000, 100_000, 1_000_000), 10_000),
        (Intervals(100_000, 100_000, 1_000_000), 100_000),
    ],
)
def test_a_check_takes_two_sampling_intervals(
    backend: KernelPages, intervals: Intervals, step_us: int
) -> None:
    """But not longer than an aggregation."""
    assert backend.sampling(EvidencePolicy()).step_us(intervals) == step_us


def seen(accessed: Sequence[bool], lost_us: int = 0) -> Context:
    """Return a context after aggregations in which one page was looked at with these results.

    Args:
        accessed: Whether each look found it accessed.
        lost_us: How long each look takes.
    """

    class Memory:
        """A page that the policy is given."""

        name = "memory"
        sampling = ReplacedPages

        def __init__(self) -> None:
            self.looks = iter(accessed)

        @hookimpl
        def init(self, context: HookContext) -> None:
            context.targets.append(Target("page", Regions([PAGE], [2 * PAGE])))

        @hookimpl
        def target_valid(self, context: HookContext) -> bool:
            return context.stats.samples < 2 * len(accessed)

        @hookimpl
        def check_accesses(self, context: HookContext) -> None:
            clock.advance(lost_us)
            (target,) = context.targets
            assert target.samples is not None
            target.samples.accessed[:] = next(self.looks)

    clock = VirtualClock()
    intervals = Intervals(5_000, 100_000, 1_000_000)
    with Context(Memory(), intervals=intervals, clock=clock, cpu_budget=None) as context:
        run(context)
    return context


def test_a_look_stands_for_two_checks() -> None:
    """So counts are out of as many checks as there are sampling intervals; ages are right."""
    snapshot = seen([True] * 30).snapshot
    assert snapshot is not None
    assert snapshot.max_nr_accesses == 20
    assert snapshot.targets[0].nr_accesses.tolist() == [20]
    assert snapshot.targets[0].age.tolist() == [2]


def test_checks_that_a_report_calls_missed_are_missed() -> None:
    """Where looks take longer than they should: what intervals demand, less what was made."""
    context = seen([True] * 20, lost_us=20_000)
    snapshot = context.snapshot
    assert snapshot is not None
    demanded = snapshot.elapsed_us // snapshot.intervals.sampling_us
    missed = demanded - snapshot.max_nr_accesses
    assert missed > 0
    assert context.stats.missed_samples == missed * context.stats.aggregations


def test_a_process_that_has_ended_is_left_out(backend: KernelPages, sampler: Scripted) -> None:
    """The others are checked."""
    stays = watched(backend, os.getpid(), 1)
    with sleeping_program() as pid:
        ends = watched(backend, pid, 3)
        assert backend.prepare([ends, stays], CONTEXT) == []
    assert backend.prepare([ends, stays], CONTEXT) == [ends]
    backend.forget(ends)
    assert [each.tolist() for each in sampler.given] == [pages(1).tolist()]
    sampler.results = [[result((pages(1), (1,))), result((pages(1), (1,)))]]
    assert backend.check([stays]) == []
    assert checked(stays) == ([True], [True])


def test_the_end_of_the_only_process_is_no_error(backend: KernelPages) -> None:
    """Its kdamond ends with it."""
    with sleeping_program() as pid:
        target = watched(backend, pid, 1)
        backend.prepare([target], CONTEXT)
    assert backend.check([target]) == [target]
    assert checked(target) == ([False], [False])


def test_a_kdamond_that_ends_before_its_process_is_an_error(backend: KernelPages) -> None:
    """Another program has switched it off."""
    target = watched(backend, os.getpid(), 1)
    backend.prepare([target], CONTEXT)
    with pytest.raises(PluginError, match="another program has switched the kdamond off"):
        backend.check([target])


def test_a_kdamond_that_checks_something_else_is_an_error(
    backend: KernelPages, sampler: Scripted
) -> None:
    """Instead of a wait for ever."""
    target = watched(backend, os.getpid(), 1)
    backend.prepare([target], CONTEXT)
    sampler.results = [[result((pages(9), (1,)))] * 100] * 100
    with pytest.raises(PluginError, match="checks other memory"):
        backend.check([target])


def test_a_target_that_was_added_after_the_commit_has_no_results(
    backend: KernelPages, sampler: Scripted
) -> None:
    """It is checked the next time."""
    first = watched(backend, os.getpid(), 1)
    backend.prepare([first], CONTEXT)
    (given,) = sampler.given
    sampler.results = [[result((given, (1,))), result((given, (1,)))]]
    with sleeping_program() as pid:
        second = watched(backend, pid, 3)
        second.samples = None
        assert backend.check([first, second]) == []
    assert checked(first) == ([True], [True])


@pytest.mark.parametrize(("checks", "backend"), CHOICES)
def test_what_the_kernel_checks_can_be_chosen(
    checks: Literal["auto", "pages", "regions"], backend: type
) -> None:
    """Pages that the policy chooses, its own regions, or what suits the context."""
    assert type(make_processes(KernelOptions(checks))) is backend
