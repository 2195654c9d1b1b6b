"""Primitives, policies and formats with one mistake each."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from damon_csv.record import CsvReader, CsvWriter

from damon_core import KernelPolicy, KernelPolicyOptions, RecordInfo, Regions, Target, hookimpl
from damon_core.contract.records import RecordReader, RecordWriter

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
]


class LosesBytes(KernelPolicy):
    """Loses the last region."""

    def adapt(self, targets: Any) -> None:
        super().adapt(targets)
        for target in targets:
            regions = target.regions
            if len(regions) > 1:
                target.regions = Regions(regions.start[:-1], regions.end[:-1])


class IgnoresLimits(KernelPolicy):
    """Doesn't hear of other limits."""

    def set_limits(self, limits: Any) -> None:
        """Do nothing."""


class SamplesOutside(KernelPolicy):
    """Chooses addresses that aren't in a region."""

    def choose(self, targets: Any) -> None:
        super().choose(targets)
        for target in targets:
            target.samples.addresses += 1 << 40


class NeverAges(KernelPolicy):
    """Leaves ages as they are."""

    def aggregate(self, targets: Any, checks: int, elapsed_us: int) -> None:
        super().aggregate(targets, checks, elapsed_us)
        for target in targets:
            target.regions.age[:] = 0


class CountsTooMany(KernelPolicy):
    """Leaves more accesses than checks."""

    def aggregate(self, targets: Any, checks: int, elapsed_us: int) -> None:
        super().aggregate(targets, checks, elapsed_us)
        for target in targets:
            target.regions.nr_accesses += 1


class NeedsAll(KernelPolicy):
    """Takes the first target, though there may be none."""

    def adapt(self, targets: Any) -> None:
        super().adapt(targets)
        _ = targets[0]


class SamplesBackwards(KernelPolicy):
    """Leaves its samples in no order."""

    def choose(self, targets: Any) -> None:
        super().choose(targets)
        for target in targets:
            target.samples.addresses = target.samples.addresses[::-1].copy()


class SamplesBytes(KernelPolicy):
    """Chooses addresses within pages."""

    def choose(self, targets: Any) -> None:
        super().choose(targets)
        for target in targets:
            target.samples.addresses += 1


class AgesTwice(KernelPolicy):
    """Lets regions grow by two in an aggregation."""

    def aggregate(self, targets: Any, checks: int, elapsed_us: int) -> None:
        super().aggregate(targets, checks, elapsed_us)
        for target in targets:
            target.regions.age += 2


class AgesBelowNone(KernelPolicy):
    """Lets regions grow younger than nothing."""

    def aggregate(self, targets: Any, checks: int, elapsed_us: int) -> None:
        super().aggregate(targets, checks, elapsed_us)
        for target in targets:
            target.regions.age[:] = -1


POLICIES: list[tuple[Any, str]] = [
    (SamplesBackwards, "every-shape"),
    (SamplesBytes, "every-shape"),
    (AgesTwice, "every-shape"),
    (AgesBelowNone, "every-shape"),
    (LosesBytes, "every-shape"),
    (SamplesOutside, "every-shape"),
    (CountsTooMany, "every-shape"),
    (IgnoresLimits, "limits-change"),
    (NeverAges, "ages"),
    (NeedsAll, "nothing-there"),
]


def policy(cls: Any) -> Any:
    """Return the factory of a policy."""
    return lambda _options: cls(KernelPolicyOptions(seed=1))


def reads_anything(path: Path) -> RecordReader:
    """Take any file for one of the format, and fail on what is in it."""
    path.read_bytes().index(b"context")
    return CsvReader(path)


def overwrites(path: Path, info: RecordInfo) -> RecordWriter:
    """Remove what is in the way."""
    path.unlink(missing_ok=True)
    return CsvWriter(path, info)


def lets_all_read(path: Path, info: RecordInfo) -> RecordWriter:
    """Let anybody read the file."""
    writer = CsvWriter(path, info)
    path.chmod(0o644)
    return writer


#: How a format reads and writes, and the rule that shows the mistake.
FORMATS: list[tuple[Any, Any, str]] = [
    (reads_anything, CsvWriter, "other-file"),
    (CsvReader, overwrites, "never-overwrites"),
    (CsvReader, lets_all_read, "private"),
]
