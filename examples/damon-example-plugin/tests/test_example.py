"""Tests on virtual time: hours of monitoring in milliseconds, with the same result every time."""

from pathlib import Path

from damon_example import Tally, TallyOptions, Tick, plugin

from damon_core import Context, Plugins, VirtualClock, hookimpl, start


class StopAt:
    """A callback that asks to stop after some aggregations."""

    def __init__(self, number: int) -> None:
        self._number = number

    @hookimpl
    def after_aggregation(self, context: Context) -> bool:
        return context.stats.aggregations >= self._number


def test_one_region_after_the_other_is_hot() -> None:
    """In 20 checks each of 10 regions is accessed twice."""
    context = Context(Tick(), callbacks=[StopAt(1)], clock=VirtualClock())
    start(context)
    assert context.wait(10)
    assert context.snapshot is not None
    assert context.snapshot.nr_accesses.tolist() == [2.0] * 10


def test_a_line_for_each_aggregation(tmp_path: Path) -> None:
    """Three aggregations give three lines with their working sets."""
    path = tmp_path / "tally.txt"
    parts = [Tally(TallyOptions(path)), StopAt(3)]
    context = Context(Tick(), callbacks=parts, clock=VirtualClock(), name="test")
    start(context)
    assert context.wait(10)
    assert path.read_text() == "test 1 67108864\ntest 2 67108864\ntest 3 67108864\n"


def test_everything_is_offered() -> None:
    """A manager with nothing but this package lists all that it registers."""
    (info,) = Plugins({"example": plugin}).infos()
    assert (info.skipped, info.primitives, info.backends, info.callbacks) == (
        "",
        ("tick",),
        ("tick.random",),
        ("tally",),
    )
