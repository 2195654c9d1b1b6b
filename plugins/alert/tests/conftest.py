"""Hand-made snapshots and notifications."""

from collections.abc import Callable, Mapping
from itertools import accumulate

import pytest
from damon_alert import Notification, Rule

from damon_core import Intervals, Snapshot, testing
from damon_core.testing import RegionRow

MIB = 1 << 20
#: 2023-11-14 22:13:20 UTC.
UNIX_US = 1_700_000_000_000_000

SnapshotFactory = Callable[..., Snapshot]
NotificationFactory = Callable[..., Notification]


@pytest.fixture
def make_snapshot() -> SnapshotFactory:
    """Return a function that makes snapshots of regions (MiB, nr_accesses, idle_us)."""

    def make(
        targets: Mapping[str, list[tuple[int, float, int]]],
        *,
        elapsed_us: int = 1_000_000,
        time_us: int = UNIX_US,
    ) -> Snapshot:
        def rows(regions: list[tuple[int, float, int]]) -> list[RegionRow]:
            ends = list(accumulate(size for size, _, _ in regions))
            return [
                RegionRow((end - size) * MIB, end * MIB, nr, idle_us=idle)
                for end, (size, nr, idle) in zip(ends, regions, strict=True)
            ]

        return testing.make_snapshot(
            {name: rows(regions) for name, regions in targets.items()},
            context="db",
            time_us=time_us,
            elapsed_us=elapsed_us,
            intervals=Intervals(sampling_us=100_000, aggregation_us=1_000_000),
        )

    return make


@pytest.fixture
def make_notification() -> NotificationFactory:
    """Return a function that makes notifications on the working set of the context 'db'."""

    def make(number: int = 0, *, resolved: bool = False, target: str | None = None) -> Notification:
        rule = Rule(
            f"large-{number}" if number else "large",
            "working_set",
            above="64MiB",
            clear="48MiB",
            labels={"team": "storage"},
        )
        return Notification(
            status="resolved" if resolved else "firing",
            rule=rule,
            context="db",
            target=target,
            value=40.0 * MIB if resolved else 70.0 * MIB,
            since_us=UNIX_US,
            fired_us=UNIX_US + 30_000_000,
            resolved_us=UNIX_US + 90_000_000 if resolved else None,
        )

    return make
