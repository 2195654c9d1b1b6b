"""A primitive, a backend, a policy and a callback."""

from collections.abc import Callable, Mapping, Sequence
from typing import assert_type

import numpy as np
import numpy.typing as npt

from damon_core import (
    AccumulatingSampling,
    Backend,
    Callback,
    Costs,
    Finding,
    HookContext,
    InputError,
    KernelPolicy,
    KernelPolicyOptions,
    Measure,
    NoOptions,
    PageSampling,
    Policy,
    Primitive,
    Range,
    RegionLimits,
    RegionPolicy,
    Regions,
    Snapshot,
    Stats,
    Target,
    TargetForecast,
    TargetSnapshot,
    hookimpl,
    make_backend,
)
from damon_racks.options import DiskOptions


class Disk:
    """A primitive."""

    name = "disk"
    sampling = AccumulatingSampling

    def __init__(self, options: DiskOptions, backend: object) -> None:
        self.left_out: Mapping[str, int] = {}
        self._options = options
        self._backend = backend

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Build the targets."""
        space = [Range(0, self._options.size)]
        target = Target(str(self._options.path), Regions.evenly(space, context.limits))
        target.labels = {"rack": "b7"}
        context.targets.append(target)

    @hookimpl
    def target_valid(self) -> bool:
        """Answer."""
        return self._options.path.exists()

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Count."""
        assert_type(context.targets, list[Target])
        for target in context.targets:
            assert_type(target.regions.nr_accesses, npt.NDArray[np.float64])
            target.regions.nr_accesses += 1

    @hookimpl
    def release(self) -> None:
        """Give back nothing."""

    def measures(self, _context: object) -> Sequence[Measure]:
        """Return what it knows of itself."""
        return [Measure("disk_reads", 7, "Reads.", {"to": "ops"}, counter=True)]


def make_disk(options: DiskOptions, backends: Mapping[str, Backend]) -> Disk:
    """Make the primitive."""
    if not options.path.exists():
        raise InputError(f"{options.path} isn't there")
    return Disk(options, make_backend("disk", options.backend, backends))


def forecast_disk(options: DiskOptions) -> Sequence[TargetForecast]:
    """Foretell."""
    return [TargetForecast(str(options.path), facts={"resident_bytes": options.size})]


def forecast_cache(targets: Sequence[TargetForecast]) -> Costs:
    """Foretell the cost."""
    return Costs(sampling=PageSampling, check_us=50 * len(targets))


def make_cache(_options: NoOptions) -> object:
    """Make the backend."""
    return object()


def probe() -> Sequence[Finding]:
    """Report what is there."""
    return [Finding("a disk", False, "buy one", required=False)]


class Timid(KernelPolicy):
    """A policy that keeps few regions."""

    def set_limits(self, limits: RegionLimits) -> None:
        """Take the fewest."""
        super().set_limits(RegionLimits(limits.min_regions, limits.min_regions))


def make_timid(options: KernelPolicyOptions) -> RegionPolicy:
    """Make the policy."""
    return Timid(options)


class Largest:
    """A callback."""

    name = "largest"

    def __init__(self, options: object) -> None:
        self.largest: TargetSnapshot | None = None

    @hookimpl(trylast=True)
    def after_aggregation(self, context: HookContext) -> bool:
        """Keep the largest target, and stop once it is very large."""
        snapshot = context.snapshot
        assert snapshot is not None
        assert_type(snapshot, Snapshot)
        assert_type(context.stats, Stats)
        assert_type(snapshot.working_set_bytes(), int)
        for target in snapshot.targets:
            assert_type(target, TargetSnapshot)
            if self.largest is None or target.total_bytes > self.largest.total_bytes:
                self.largest = target
        return snapshot.total_bytes > 1 << 40

    @hookimpl
    def label_targets(self, context: HookContext) -> None:
        """Label."""
        for target in context.targets:
            target.labels = {**target.labels, "row": "3"}


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register."""
    register(Primitive("disk", make_disk, DiskOptions, "A disk", forecast=forecast_disk))


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register."""
    register(
        Backend(
            "cache",
            make_cache,
            serves=("disk",),
            preference=3,
            probe=probe,
            forecast=forecast_cache,
        )
    )


@hookimpl
def register_policies(register: Callable[[Policy], None]) -> None:
    """Register."""
    register(Policy("timid", make_timid, KernelPolicyOptions, "Few regions"))


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Register."""
    register(Callback("largest", Largest, summary="Keeps the largest target"))
