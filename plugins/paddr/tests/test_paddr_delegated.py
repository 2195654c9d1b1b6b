"""Backends with delegated sampling, on machines made of files."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from damon_paddr import PhysicalMemory

from damon_core import (
    DelegatedSampling,
    HookContext,
    Intervals,
    RegionLimits,
    Regions,
    Samples,
    Target,
)
from damon_core.testing import Recorder, run_virtual

#: The fixture `make_machine` of conftest.py.
MakeMachine = Callable[..., Any]
TWO_GIB = "00001000-3fffffff : System RAM\n100000000-13fffffff : System RAM\n"
INTERVALS = Intervals(5_000, 100_000, 100_000)


class Elsewhere:
    """A backend: all memory is accessed in half of the checks, that above 4 GiB isn't in use.

    Attributes:
        prepared: The sizes of targets, intervals and limits of each `prepare`.
    """

    sampling = DelegatedSampling

    def __init__(self) -> None:
        self.prepared: list[tuple[list[int], Intervals, RegionLimits]] = []
        self.closed = 0

    def prepare(self, targets: Sequence[Target], context: HookContext) -> None:
        sizes = [int(target.regions.size_bytes.sum()) for target in targets]
        self.prepared.append((sizes, context.intervals, context.limits))

    def check(self, targets: Sequence[Target], _context: HookContext) -> None:
        rng = np.random.default_rng(1)
        for target in targets:
            regions = Regions(target.regions.start, target.regions.end)
            regions.nr_accesses[:] = INTERVALS.checks / 2
            pages = np.unique(np.concatenate([regions.random_pages(rng) for _ in range(20)]))
            in_use = pages < 1 << 32
            target.regions, target.samples = regions, Samples(pages, in_use.copy(), in_use)

    def close(self) -> None:
        self.closed += 1


def test_regions_are_those_of_the_backend(make_machine: MakeMachine) -> None:
    """Their resident bytes are estimated from its samples."""
    machine = make_machine(TWO_GIB)
    machine.blocks({0: range(8), 1: range(32, 40)})
    backend = Elsewhere()
    commit = Recorder(after_aggregation=lambda context: context.commit(limits=RegionLimits(20, 30)))
    context = run_virtual(
        PhysicalMemory(machine.memory(), backend), commit, aggregations=20, intervals=INTERVALS
    )
    assert context.snapshot is not None
    node0, node1 = context.snapshot.targets
    assert node0.nr_accesses.tolist() == [INTERVALS.checks / 2] * len(node0)
    assert node0.total_bytes > 0.9 * int(node0.size_bytes.sum())
    assert node1.total_bytes < 0.1 * int(node1.size_bytes.sum())
    sizes = [0x40000000 - 0x1000, 0x40000000]
    assert backend.prepared[0] == (sizes, INTERVALS, RegionLimits())
    assert backend.prepared[1] == (sizes, INTERVALS, RegionLimits(20, 30))
    assert backend.closed == 1
