"""Targets whose values are old, as the budget allows no more: which, and since when."""

from damon_prometheus.options import PrometheusOptions
from damon_prometheus.series import snapshot_metrics

from damon_core import Snapshot
from damon_core.metrics import Followed
from damon_core.testing import RegionRow, make_snapshot

SECOND = 1_000_000


def snapshot(**ages_s: int) -> Snapshot:
    """Return one of targets with values of some age."""
    return make_snapshot(
        {name: [RegionRow(0, 4096)] for name in ages_s},
        time_us=1_000 * SECOND,
        stale_us={name: age_s * SECOND for name, age_s in ages_s.items()},
    )


def late(found: Snapshot, by: tuple[str, ...] = ("target",)) -> dict[str, float]:
    """Return when the values of late targets were measured, by their names."""
    followed = Followed(found, 0, (None,) * len(found.targets), {}, 75 * SECOND)
    metrics = snapshot_metrics("db", PrometheusOptions(by=by), followed)
    samples = metrics["damon_late_target_measured_timestamp_seconds"].samples
    return {each.labels.get("target", ""): each.value for each in samples}


def test_late_targets_are_named() -> None:
    """With the time, which stays the same until there is another value."""
    assert late(snapshot(a=0, b=75, c=80, d=300)) == {"c": 920.0, "d": 700.0}


def test_the_oldest_of_a_group_counts() -> None:
    """One that is late makes its group late."""
    assert late(snapshot(a=0, b=80, c=300), by=("unit",)) == {"": 700.0}


def test_nothing_is_late() -> None:
    """Then there is no series."""
    assert late(snapshot(a=0, b=60)) == {}
