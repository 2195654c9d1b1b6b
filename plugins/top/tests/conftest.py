"""Contexts whose memory does what it is told, run on virtual time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from damon_top.history import History

from damon_core import Area, Context, Intervals, Regions, Target, VirtualClock, hookimpl, start

CHECKS = 10


class Scripted:
    """A primitive with given regions, which ends after some aggregations.

    Args:
        targets: Regions of each target: start, size, access frequency (a number, or what gives it
            for the number of an aggregation), and maybe resident bytes, and an area's name.
        aggregations: How many, of ten checks each.
    """

    name = "scripted"

    def __init__(self, targets: Mapping[str, Sequence[Any]], aggregations: int) -> None:
        self._targets = targets
        self._left = aggregations * CHECKS
        self._checks = 0

    @hookimpl
    def init(self, context: Context) -> None:
        for name, regions in self._targets.items():
            ranges = [(start, start + size) for start, size, *_ in regions]
            target = Target(name, Regions(*zip(*ranges, strict=True)))
            target.areas = tuple(
                Area(*range_, region[4])
                for range_, region in zip(ranges, regions, strict=True)
                if region[4:]
            )
            for index, region in enumerate(regions):
                if region[3:]:
                    target.regions.resident_bytes[index] = region[3]
            context.targets.append(target)

    @hookimpl
    def target_valid(self) -> bool:
        return self._checks < self._left

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        aggregation = self._checks // CHECKS
        self._checks += 1
        for target, regions in zip(context.targets, self._targets.values(), strict=True):
            heats = [region[2] for region in regions]
            target.regions.nr_accesses += [
                heat(aggregation) if callable(heat) else heat for heat in heats
            ]


@pytest.fixture
def history() -> History:
    """What is remembered of the contexts of a test: every aggregation."""
    return History(frame_us=1)


@pytest.fixture
def ended(history: History) -> Callable[..., Context]:
    """Return a maker of contexts that have run: an aggregation a second, on virtual time."""

    def make(
        targets: Mapping[str, Sequence[Any]],
        aggregations: int = 20,
        name: str = "memory",
        callbacks: Sequence[object] = (),
    ) -> Context:
        context = Context(
            Scripted(targets, aggregations),
            [*callbacks, history],
            intervals=Intervals(100_000, 1_000_000, 1_000_000),
            clock=VirtualClock(),
            name=name,
            cpu_budget=None,
        )
        start(context, exclusive=False)
        assert context.wait(60)
        assert context.error is None
        return context

    return make
