"""A monitor from parts, and its tests on the kit."""

from typing import assert_type

from damon_cli.testing import command_rules

from damon_core import (
    Context,
    Intervals,
    KernelPolicy,
    KernelPolicyOptions,
    Plugins,
    Snapshot,
    VirtualClock,
    start,
    stop,
)
from damon_core.testing import (
    Recorder,
    RegionRow,
    ScriptedMemory,
    ScriptedRegion,
    assert_same_snapshot,
    eventually,
    make_snapshot,
    run_virtual,
)
from damon_core.testing.conformance import backend_rules, callback_rules, primitive_rules
from damon_racks.parts import Largest

test_largest = callback_rules("largest", {"path": "{tmp}/x"}, without={"prints-nothing": "it may"})
test_disk = primitive_rules("disk", plugins=Plugins.of("damon-racks"))
test_cache = backend_rules("cache", "disk")
test_command = command_rules("racks")


def every_second(check: int) -> float:
    """Let memory be accessed in every second check."""
    return check % 2


def monitor() -> Snapshot | None:
    """Monitor scripted memory."""
    memory = ScriptedMemory({"disk": [ScriptedRegion(0, 4096, heat=every_second)]})
    context = Context(
        memory,
        [Largest(None)],
        intervals=Intervals(sampling_us=5_000, aggregation_us=100_000, update_us=1_000_000),
        policy=KernelPolicy(KernelPolicyOptions(seed=1)),
        clock=VirtualClock(),
        name="racks",
        cpu_budget=0.02,
    )
    with context:
        start(context)
        eventually(lambda: context.snapshot)
        stop(context)
    return context.snapshot


def test_by_hand() -> None:
    """Compare snapshots."""
    expected = make_snapshot({"disk": [RegionRow(0, 4096, nr_accesses=20)]})
    recorder = Recorder(after_aggregation=lambda context: context.snapshot.number == 1)
    ended = run_virtual(ScriptedMemory({"disk": [ScriptedRegion(0, 4096)]}), recorder)
    assert_type(ended, Context)
    assert_type(recorder.snapshots, list[Snapshot])
    assert_same_snapshot(recorder.snapshots[0], expected)
