"""What a context says of what it can't monitor."""

from __future__ import annotations

from collections.abc import Mapping

from damon_core import Context, Regions, Target, hookimpl
from damon_core.testing import Recorder, run_virtual


class Partial:
    """A primitive that leaves something out."""

    name = "partial"

    def __init__(self) -> None:
        self.left_out: Mapping[str, int] = {"unreadable": 3, "hidden": 0}

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(Target("a", Regions([0], [4096])))


def test_what_is_left_out_is_counted_by_reason() -> None:
    """Reasons that nothing is left out for aren't there."""
    assert run_virtual(Partial(), aggregations=1).left_out == {"unreadable": 3}


def test_callbacks_read_what_is_left_out() -> None:
    """It is there at each aggregation."""
    seen: list[Mapping[str, int]] = []
    recorder = Recorder(after_aggregation=lambda context: seen.append(context.left_out))
    run_virtual(Partial(), recorder, aggregations=2)
    assert seen[0] == {"unreadable": 3}


def test_a_primitive_that_does_not_count() -> None:
    """It leaves nothing out, as far as it says."""

    class Whole(Partial):
        def __init__(self) -> None:
            pass

    assert run_virtual(Whole(), aggregations=1).left_out == {}
