"""What type checkers have to refuse: a comment that isn't needed is an error of theirs."""

from damon_core import (
    Backend,
    Callback,
    Context,
    HookContext,
    Intervals,
    Primitive,
    RegionLimits,
    Snapshot,
    format_size,
    start,
)
from damon_core.testing import RegionRow, make_snapshot, run_virtual

Primitive("disk")  # type: ignore[call-arg]
Backend("cache", dict)  # type: ignore[call-arg]
Callback(7, dict)  # type: ignore[arg-type]
Intervals(sampling_us="5ms")  # type: ignore[arg-type]
RegionLimits(1, 2, 3)  # type: ignore[call-arg]
start("racks")  # type: ignore[arg-type]
format_size("64")  # type: ignore[arg-type]
run_virtual(object(), aggregations="3")  # type: ignore[arg-type]
make_snapshot({"disk": [RegionRow(0)]})  # type: ignore[call-arg]


def wrong(context: HookContext, snapshot: Snapshot) -> str:
    """Return a number, change what is frozen, ask for what isn't there."""
    snapshot.number = 2  # type: ignore[misc]
    context.take_snapshot()  # type: ignore[attr-defined]
    Context()  # type: ignore[call-arg]
    return snapshot.number  # type: ignore[return-value]
