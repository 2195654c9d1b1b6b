"""Parts of contexts for tests: one that notes what it is called for, memory that plays a script."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from damon_core.contract.context import HookContext
from damon_core.hookspecs import hookimpl
from damon_core.memory.idle import IdleAges
from damon_core.memory.pages import PageMap
from damon_core.memory.regions import Regions
from damon_core.memory.snapshot import Snapshot
from damon_core.memory.target import Area, Owner, Target, Toll

#: What a test does in a hook; what it returns is the hook's result.
Act: TypeAlias = Callable[[Any], object]


class Recorder:
    """A part with every lifecycle hook, which notes each call and keeps each snapshot.

    It is a primitive that monitors nothing, or a callback::

        recorder = Recorder(after_aggregation=lambda context: context.snapshot.number == 3)

    Args:
        events: Where to note calls, as "hook" or "name:hook"; by default a new list.
        name: The part's name, which is noted in front of hooks; several parts that share
            `events` are told apart by it.
        acts: What to do, and to return, in the hooks of these names; it is given the context,
            or None in `release`.

    Attributes:
        events: Every call so far.
        snapshots: The snapshot of every aggregation.
    """

    def __init__(self, events: list[str] | None = None, name: str = "", **acts: Act) -> None:
        self.name = name or "recorder"
        self.events: list[str] = [] if events is None else events
        self.snapshots: list[Snapshot] = []
        self._prefix = f"{name}:" if name else ""
        self._acts = acts

    def _note(self, hook: str, context: HookContext | None) -> object:
        self.events.append(self._prefix + hook)
        act = self._acts.get(hook)
        return act(context) if act is not None else None

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Note the call."""
        self._note("init", context)

    @hookimpl
    def before_start(self, context: HookContext) -> object:
        """Note the call."""
        return self._note("before_start", context)

    @hookimpl
    def target_valid(self, context: HookContext) -> object:
        """Note the call."""
        return self._note("target_valid", context)

    @hookimpl
    def prepare_access_checks(self, context: HookContext) -> None:
        """Note the call."""
        self._note("prepare_access_checks", context)

    @hookimpl
    def after_sampling(self, context: HookContext) -> object:
        """Note the call."""
        return self._note("after_sampling", context)

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Note the call."""
        self._note("check_accesses", context)

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        """Note the call."""
        self._note("describe_regions", context)

    @hookimpl
    def label_targets(self, context: HookContext) -> None:
        """Note the call."""
        self._note("label_targets", context)

    @hookimpl
    def after_aggregation(self, context: HookContext) -> object:
        """Note the call, and keep the snapshot."""
        assert context.snapshot is not None
        self.snapshots.append(context.snapshot)
        return self._note("after_aggregation", context)

    @hookimpl
    def reset_aggregated(self, context: HookContext) -> None:
        """Note the call."""
        self._note("reset_aggregated", context)

    @hookimpl
    def update(self, context: HookContext) -> None:
        """Note the call."""
        self._note("update", context)

    @hookimpl
    def before_terminate(self, context: HookContext) -> object:
        """Note the call."""
        return self._note("before_terminate", context)

    @hookimpl
    def cleanup(self, context: HookContext) -> None:
        """Note the call."""
        self._note("cleanup", context)

    @hookimpl
    def release(self) -> None:
        """Note the call."""
        self._note("release", None)


class StopAfter:
    """A callback that asks to stop after some aggregations, or some checks, of each run.

    Args:
        aggregations: The number of aggregations; 0 for any.
        checks: The number of checks; 0 for any.
    """

    name = "stop-after"

    def __init__(self, aggregations: int = 0, checks: int = 0) -> None:
        self._aggregations = aggregations
        self._checks = checks

    @hookimpl
    def after_sampling(self, context: HookContext) -> bool:
        """Ask to stop in the iteration of the last check."""
        return context.stats.samples + 1 == self._checks

    @hookimpl
    def after_aggregation(self, context: HookContext) -> bool:
        """Ask to stop at the last aggregation."""
        return context.snapshot is not None and context.snapshot.number == self._aggregations


class ScriptedRegion(NamedTuple):
    """A region of `ScriptedMemory`.

    Attributes:
        start: Its first address.
        end: The first address behind it.
        heat: What each check adds to its nr_accesses, 0.0 to 1.0: always the same, or by the
            number of the check in its run, from 0.
        resident_bytes: How much of it is in memory; None for all.
        touched_bytes: How much of it has been accessed at the end of each aggregation; None if
            that can't be known.
        idle_10s_bytes: How much of it hasn't been accessed for 10 seconds; None if that can't be
            known.
    """

    start: int
    end: int
    heat: float | Callable[[int], float] = 1.0
    resident_bytes: int | None = None
    touched_bytes: int | None = None
    idle_10s_bytes: int | None = None


class ScriptedMemory:
    """A primitive whose targets are accessed as a test says; the same in each run.

    Args:
        targets: The regions of each target by its name, ascending and disjoint.
        checks: The number of checks after which the targets are invalid; None for no end.
        areas: The areas of targets by their names.
        owners: The owners of targets by their names.
        tolls: What each aggregation costs targets, by their names.
        idle_ages: How old the idle bytes of targets are, by their names.
        labels: What else targets are known by, by their names.
        page_maps: Every page of targets, by their names, as if the backend knew them.
        left_out: How many of what should be monitored are left out, by reason.
        name: What the primitive is called.

    Attributes:
        left_out: What is left out, as contexts ask for it.
        checks_made: How many checks were made in this run.
    """

    def __init__(
        self,
        targets: Mapping[str, Sequence[ScriptedRegion]],
        checks: int | None = None,
        *,
        areas: Mapping[str, Sequence[Area]] | None = None,
        owners: Mapping[str, Sequence[Owner]] | None = None,
        tolls: Mapping[str, Toll] | None = None,
        idle_ages: Mapping[str, IdleAges] | None = None,
        labels: Mapping[str, Mapping[str, str]] | None = None,
        page_maps: Mapping[str, PageMap] | None = None,
        left_out: Mapping[str, int] | None = None,
        name: str = "scripted",
    ) -> None:
        self.name = name
        self.left_out = left_out or {}
        self.checks_made = 0
        self._targets = targets
        self._checks = checks
        self._areas = areas or {}
        self._owners = owners or {}
        self._tolls = tolls or {}
        self._idle_ages = idle_ages or {}
        self._labels = labels or {}
        self._page_maps = page_maps or {}

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Build the targets anew."""
        self.checks_made = 0
        context.targets.clear()
        for name, regions in self._targets.items():
            table = Regions([each.start for each in regions], [each.end for each in regions])
            for row, region in enumerate(regions):
                if region.resident_bytes is not None:
                    table.resident_bytes[row] = region.resident_bytes
            target = Target(name, table)
            target.areas = tuple(self._areas.get(name, ()))
            target.labels = dict(self._labels.get(name, {}))
            context.targets.append(target)

    @hookimpl
    def target_valid(self) -> bool:
        """Return whether there are checks left."""
        return self._checks is None or self.checks_made < self._checks

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Add the accesses of the next check."""
        for target, regions in zip(context.targets, self._targets.values(), strict=True):
            target.regions.nr_accesses += [
                each.heat(self.checks_made) if callable(each.heat) else each.heat
                for each in regions
            ]
            for name in ("touched_bytes", "idle_10s_bytes"):
                sizes = [getattr(each, name) for each in regions]
                if None not in sizes:
                    setattr(target.regions, name, np.array(sizes, dtype=np.int64))
        self.checks_made += 1

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        """Say whose the memory is, what the aggregation has cost, and what is known of pages."""
        for target in context.targets:
            target.page_map = self._page_maps.get(target.name)
            target.owners = self._owners.get(target.name, ())
            target.idle_ages = self._idle_ages.get(target.name, IdleAges())
            toll = self._tolls.get(target.name)
            if toll is not None:
                target.toll = target.toll.with_cpu(toll.cpu_us).with_held(toll.held_us)
