"""Contexts whose memory does what a test says, run on virtual time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from damon_top.history import History

from damon_core import Area, Context, Intervals
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual

CHECKS = 10


def scripted(
    start: int,
    size: int,
    heat: float | Callable[[int], float],
    resident: int | None = None,
    _area: str = "",
) -> ScriptedRegion:
    """Return a region; its heat may change with the number of the aggregation, from 0."""
    by_check = (lambda check: heat(check // CHECKS)) if callable(heat) else heat
    return ScriptedRegion(start, start + size, by_check, resident)


@pytest.fixture
def history() -> History:
    """What is remembered of the contexts of a test: every aggregation."""
    return History(frame_us=1)


@pytest.fixture
def ended(history: History) -> Callable[..., Context]:
    """Return a maker of contexts that have run: an aggregation a second, on virtual time.

    Regions are given as start, size, access frequency (a number, or what returns it for the
    number of an aggregation), and maybe resident bytes, and an area's name.
    """

    def make(
        targets: Mapping[str, Sequence[Any]],
        aggregations: int = 20,
        name: str = "memory",
        callbacks: Sequence[object] = (),
    ) -> Context:
        areas = {
            target: [Area(row[0], row[0] + row[1], row[4]) for row in rows if row[4:]]
            for target, rows in targets.items()
        }
        memory = ScriptedMemory(
            {target: [scripted(*row) for row in rows] for target, rows in targets.items()},
            aggregations * CHECKS,
            areas=areas,
        )
        return run_virtual(
            memory,
            *callbacks,
            history,
            intervals=Intervals(100_000, 1_000_000, 1_000_000),
            name=name,
            cpu_budget=None,
        )

    return make
