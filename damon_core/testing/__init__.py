"""What tests of parts share: parts that note or play, time that passes at once, results by hand.

A test of a callback runs it over memory that behaves as the test says, on virtual time::

    from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual

    def test_my_callback() -> None:
        callback = MyCallback()
        hot, cold = ScriptedRegion(0, 1 << 20, heat=1.0), ScriptedRegion(1 << 20, 1 << 30, heat=0.0)
        run_virtual(ScriptedMemory({"process": [hot, cold]}), callback, aggregations=3)
        assert callback.working_set_bytes == 1 << 20

A test of a primitive runs it with a `Recorder`, which keeps the snapshots. Nothing here needs
pytest.
"""

from damon_core.testing.clock import NotingClock
from damon_core.testing.kernel_files import KernelFiles
from damon_core.testing.parts import Recorder, ScriptedMemory, ScriptedRegion, StopAfter
from damon_core.testing.running import (
    eventually,
    free_port,
    run,
    run_virtual,
    sleeping_program,
)
from damon_core.testing.snapshots import (
    RegionRow,
    assert_possible,
    assert_same_pages,
    assert_same_snapshot,
    make_snapshot,
)

__all__ = [
    "KernelFiles",
    "NotingClock",
    "Recorder",
    "RegionRow",
    "ScriptedMemory",
    "ScriptedRegion",
    "StopAfter",
    "assert_possible",
    "assert_same_pages",
    "assert_same_snapshot",
    "eventually",
    "free_port",
    "make_snapshot",
    "run",
    "run_virtual",
    "sleeping_program",
]
