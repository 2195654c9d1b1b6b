"""Tests on virtual time: hours of monitoring in milliseconds, with the same result every time."""

from pathlib import Path

from damon_example import Tally, TallyOptions, Tick, plugin

from damon_core import Plugins
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual


def test_one_region_after_the_other_is_hot() -> None:
    """In 20 checks each of 10 regions is accessed twice."""
    snapshot = run_virtual(Tick(), aggregations=1).snapshot
    assert snapshot is not None
    assert snapshot.nr_accesses.tolist() == [2.0] * 10


def test_a_line_for_each_aggregation(tmp_path: Path) -> None:
    """Three aggregations give three lines with their working sets."""
    path = tmp_path / "tally.txt"
    hot, cold = ScriptedRegion(0, 4096, heat=1.0), ScriptedRegion(4096, 1 << 20, heat=0.0)
    memory = ScriptedMemory({"process": [hot, cold]})
    run_virtual(memory, Tally(TallyOptions(path)), aggregations=3, name="test")
    assert path.read_text() == "test 1 4096\ntest 2 4096\ntest 3 4096\n"


def test_everything_is_offered() -> None:
    """A manager with nothing but this package lists all that it registers."""
    (info,) = Plugins({"example": plugin}).infos()
    assert (info.skipped, info.primitives, info.backends, info.callbacks) == (
        "",
        ("tick",),
        ("tick.random",),
        ("tally",),
    )
