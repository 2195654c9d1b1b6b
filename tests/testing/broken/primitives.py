"""Primitives with one mistake each. `PRIMITIVES` says which rule shows it."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from damon_core import DelegatedSampling, Regions, Target, hookimpl

PAGE = 4096


class Memory:
    """A primitive that does nothing wrong."""

    name = "broken"

    def __init__(self, options: Any, _backends: Any) -> None:
        self.options = options

    @hookimpl
    def init(self, context: Any) -> None:
        context.targets.append(Target("process", Regions([0, 4 * PAGE], [PAGE, 8 * PAGE])))

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        for target in context.targets:
            target.regions.nr_accesses += 1


class BuildsNothing(Memory):
    """Leaves no targets in init."""

    @hookimpl
    def init(self, context: Any) -> None:
        pass


class CountsTwice(Memory):
    """Adds two accesses in one check."""

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        for target in context.targets:
            target.regions.nr_accesses += 2


class ResidentBeyondSize(Memory):
    """Says that more of a region is in memory than the region has."""

    @hookimpl
    def describe_regions(self, context: Any) -> None:
        for target in context.targets:
            target.regions.resident_bytes[:] = 100 * PAGE


class TouchedBeyondResident(Memory):
    """Says that more was touched than is in memory."""

    @hookimpl
    def describe_regions(self, context: Any) -> None:
        for target in context.targets:
            target.regions.resident_bytes[:] = 0
            target.regions.touched_bytes = np.full(len(target.regions), PAGE)


class RenamesTargets(Memory):
    """Gives a target another name in every update."""

    @hookimpl
    def update(self, context: Any) -> None:
        for target in context.targets:
            target.name += "'"


class StartsOnce(Memory):
    """Can't be initialized again."""

    begun = False

    @hookimpl
    def init(self, context: Any) -> None:
        assert not self.begun
        self.begun = True
        super().init(context)


class CleansUpOnce(Memory):
    """Closes in cleanup what only init opens."""

    @hookimpl
    def init(self, context: Any) -> None:
        super().init(context)
        self.file = Path("/dev/null").open()  # noqa: SIM115

    @hookimpl
    def cleanup(self) -> None:
        self.file.close()


class OpensEachRun(Memory):
    """Opens a file in each run and closes only the last."""

    kept: ClassVar[list[Any]] = []

    @hookimpl
    def init(self, context: Any) -> None:
        super().init(context)
        self.kept.append(Path("/dev/null").open())  # noqa: SIM115

    @hookimpl
    def release(self) -> None:
        while self.kept:
            self.kept.pop().close()


class CountsInThread(Memory):
    """Counts accesses in a thread, beside the worker."""

    @hookimpl
    def init(self, context: Any) -> None:
        super().init(context)
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._count, args=(list(context.targets),))
        self.thread.start()

    def _count(self, targets: Sequence[Target]) -> None:
        while not self.ends.is_set():
            for target in targets:
                target.regions.nr_accesses[:] = (target.regions.nr_accesses + 0.01) % 1
            time.sleep(0.001)

    @hookimpl
    def cleanup(self) -> None:
        if hasattr(self, "thread"):
            self.ends.set()
            self.thread.join()


class AnswersInWords(Memory):
    """Answers target_valid by a word."""

    @hookimpl
    def target_valid(self) -> str:
        return "yes"


class LeftOutIsACount(Memory):
    """Has a number where reasons with counts should be."""

    left_out = 3


class CountsBelowNone(Memory):
    """Takes accesses away."""

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        for target in context.targets:
            target.regions.nr_accesses -= 1


class EndsBeforeItBegins(Memory):
    """Moves a region so that it ends before it begins."""

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        for target in context.targets:
            target.regions.start[1] = 9 * PAGE


class MakesTooMany(Memory):
    """Takes more regions from a device than the limits allow."""

    sampling = DelegatedSampling

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        starts = range(0, 40 * PAGE, 2 * PAGE)
        for target in context.targets:
            target.regions = Regions([*starts], [start + PAGE for start in starts])


class NeedsCheck(Memory):
    """Closes in cleanup what only a check opens, though a run may be stopped before the first."""

    @hookimpl
    def init(self, context: Any) -> None:
        super().init(context)
        self.began = True

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        super().check_accesses(context)
        self.checks = context.stats.samples

    @hookimpl
    def cleanup(self) -> None:
        if hasattr(self, "began"):
            del self.began, self.checks


class FailsWithCallbacks(Memory):
    """Gives up as soon as a callback has failed."""

    @hookimpl
    def target_valid(self, context: Any) -> bool:
        return not context.stats.callback_failures


class LeavesDescriptor(Memory):
    """Never closes its file."""

    kept: ClassVar[list[Any]] = []

    def __init__(self, options: Any, backends: Any) -> None:
        super().__init__(options, backends)
        self.kept.append(Path("/dev/null").open())  # noqa: SIM115


class SharesTargets(Memory):
    """Keeps the targets of all contexts in one list of the class."""

    all_targets: ClassVar[list[Target]] = []

    @hookimpl
    def init(self, context: Any) -> None:
        number = len(self.all_targets)
        self.all_targets.append(Target(f"process[{number}]", Regions([0], [PAGE])))
        context.targets.extend(self.all_targets)

    @hookimpl
    def release(self) -> None:
        if len(self.all_targets) > 2:
            self.all_targets.clear()


class ChangesLeftOut(Memory):
    """Changes the mapping of what it leaves out, which other threads read."""

    def __init__(self, options: Any, backends: Any) -> None:
        super().__init__(options, backends)
        self.left_out: dict[str, int] = {"unreadable": 0}

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        super().check_accesses(context)
        self.left_out["unreadable"] += 1


class SpendsLess(Memory):
    """Says in each check that others have spent less for it than it said before."""

    spent_elsewhere_us = 1_000_000

    @hookimpl
    def check_accesses(self, context: Any) -> None:
        super().check_accesses(context)
        self.spent_elsewhere_us -= 1


class HasRoomForFew(Memory):
    """Has room for a hundred regions."""

    @hookimpl
    def init(self, context: Any) -> None:
        super().init(context)
        if context.limits.max_regions > 100:
            raise IndexError("too many regions")


PRIMITIVES: list[tuple[Any, str]] = [
    (CountsBelowNone, "counts-possible"),
    (EndsBeforeItBegins, "regions-possible"),
    (BuildsNothing, "builds-targets"),
    (CountsTwice, "counts-possible"),
    (ResidentBeyondSize, "counts-possible"),
    (TouchedBeyondResident, "counts-possible"),
    (RenamesTargets, "update-keeps-targets"),
    (StartsOnce, "restart"),
    (CleansUpOnce, "cleanup-any-time"),
    (OpensEachRun, "nothing-gathers"),
    (CountsInThread, "in-the-worker"),
    (AnswersInWords, "target-valid"),
    (LeftOutIsACount, "attributes"),
    (ChangesLeftOut, "attributes"),
    (SpendsLess, "attributes"),
    (MakesTooMany, "limits-kept"),
    (HasRoomForFew, "thousand-regions"),
    (NeedsCheck, "stop-anywhere"),
    (FailsWithCallbacks, "failing-callbacks"),
    (LeavesDescriptor, "nothing-left"),
    (SharesTargets, "several-contexts"),
]


def clear() -> None:
    """Give back what broken primitives have left behind."""
    for kept in (LeavesDescriptor.kept, OpensEachRun.kept):
        while kept:
            kept.pop().close()
    SharesTargets.all_targets.clear()
