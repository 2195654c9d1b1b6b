"""Policies with one mistake each. `POLICIES` says which rule shows it."""

from pathlib import Path
from typing import Any, ClassVar

from damon_core import KernelPolicy, KernelPolicyOptions, RegionLimits, Regions


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


class LacksMethod(KernelPolicy):
    """Hasn't all methods."""

    set_limits = None  # type: ignore[assignment]


class HasRoomForFew(KernelPolicy):
    """Has room for a hundred regions."""

    def choose(self, targets: Any) -> None:
        super().choose(targets)
        if any(len(target.regions) > 100 for target in targets):
            raise IndexError("too many regions")


class MakesTooMany(KernelPolicy):
    """Makes ten times as many regions as it may."""

    def begin(self, limits: RegionLimits) -> None:
        super().begin(RegionLimits(limits.min_regions, 10 * limits.max_regions))


class BeginsOnce(KernelPolicy):
    """Can't begin again."""

    begun = False

    def begin(self, limits: RegionLimits) -> None:
        assert not self.begun
        self.begun = True
        super().begin(limits)


class KnowsTargetsOnce(KernelPolicy):
    """Keeps a table of the targets of its first check, though others come."""

    def begin(self, limits: RegionLimits) -> None:
        super().begin(limits)
        self.sums: dict[str, int] = {}

    def choose(self, targets: Any) -> None:
        super().choose(targets)
        self.sums = self.sums or {target.name: 0 for target in targets}
        for target in targets:
            self.sums[target.name] += 1


class TrustsRows(KernelPolicy):
    """Takes the regions for those that it chose samples of, though an update may come between."""

    def choose(self, targets: Any) -> None:
        super().choose(targets)
        self.sizes = [len(target.regions) for target in targets]

    def observe(self, targets: Any) -> None:
        super().observe(targets)
        assert self.sizes == [len(target.regions) for target in targets]


class SharesState(KernelPolicy):
    """Counts the aggregations of all contexts together."""

    number: ClassVar[int] = 0

    def aggregate(self, targets: Any, checks: int, elapsed_us: int) -> None:
        super().aggregate(targets, checks, elapsed_us)
        type(self).number += 1
        for target in targets:
            target.regions.age *= self.number % 2


class LeavesDescriptor(KernelPolicy):
    """Never closes its file."""

    kept: ClassVar[list[Any]] = []

    def begin(self, limits: RegionLimits) -> None:
        super().begin(limits)
        self.kept.append(Path("/dev/null").open())  # noqa: SIM115


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
    (LacksMethod, "methods"),
    (HasRoomForFew, "thousand-regions"),
    (MakesTooMany, "limits-kept"),
    (BeginsOnce, "begins-anew"),
    (KnowsTargetsOnce, "follows-updates"),
    (TrustsRows, "updates-between-calls"),
    (SharesState, "several-contexts"),
    (LeavesDescriptor, "nothing-left"),
]


def policy(cls: Any) -> Any:
    """Return the factory of a policy."""
    return lambda _options: cls(KernelPolicyOptions(seed=1))


def clear() -> None:
    """Give back what broken policies have left behind."""
    while LeavesDescriptor.kept:
        LeavesDescriptor.kept.pop().close()
    SharesState.number = 0
