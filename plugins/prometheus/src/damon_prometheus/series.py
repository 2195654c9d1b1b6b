"""The series of a snapshot."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Metric

from damon_core import SPECTRUM_US, format_duration
from damon_prometheus import families as f
from damon_prometheus.figures import Figures, Sums
from damon_prometheus.following import Followed
from damon_prometheus.grouping import text
from damon_prometheus.options import PrometheusOptions

Labels = Mapping[str, str]


class Page:
    """Metrics that are filled step by step.

    Args:
        families: Which ones.

    Attributes:
        metrics: The metrics by the names of their series.
    """

    def __init__(self, families: Iterable[f.Family]) -> None:
        self.metrics = {family.name: family.empty() for family in families}

    def add(self, family: f.Family, labels: Labels, value: float) -> None:
        """Add a series."""
        self.metrics[family.name].add_sample(family.name, dict(labels), value)

    def add_sums(
        self, family: f.Family, labels: Iterable[Labels], values: Sums, **label: str
    ) -> None:
        """Add a series for each group, with a further label."""
        metric = self.metrics[family.name]
        for each, value in zip(labels, values.tolist(), strict=True):
            metric.add_sample(family.name, {**each, **label}, value)


def snapshot_metrics(
    context: str,
    options: PrometheusOptions,
    followed: Followed,
    rest: Callable[[], None] = lambda: None,
) -> dict[str, Metric]:
    """Return what follows from a snapshot, by the names of the series.

    Args:
        context: What the series call the context.
        options: What to serve of it.
        followed: The snapshot, and what was known when it was taken.
        rest: Called often.
    """
    page, snapshot = Page(f.OF_SNAPSHOTS), followed.snapshot
    own = {"context": text(context)}
    page.add(f.LAST, own, snapshot.time_us / 1e6)
    page.add(f.TARGETS, own, len(snapshot.targets))
    if not snapshot.targets:
        return page.metrics
    figures = Figures(followed, options.by, options.max_targets)
    labels = [{**own, **each} for each in figures.groups.labels]
    page.add_sums(f.WORKING_SET, labels, figures.working_set())
    page.add_sums(f.ACCESSED, labels, figures.accessed())
    page.add_sums(f.MONITORED, labels, figures.total())
    page.add_sums(f.REGIONS, labels, figures.regions())
    rest()
    for above, sums in figures.frequency():
        page.add_sums(f.FREQUENCY, labels, sums, above=f"{above:g}")
        rest()
    for place, window_us in enumerate(options.windows):
        # Before, nothing is known of the beginning of the window.
        if followed.watched_us >= window_us:
            sums = figures.window(place, window_us)
            page.add_sums(f.WINDOW, labels, sums, window=format_duration(window_us))
    rest()
    _add_idle(page, options, figures, labels, rest)
    for number, spectrum in figures.spectra():
        for within_us, size in zip(SPECTRUM_US, spectrum.within_bytes, strict=True):
            if size is not None:
                within = {**labels[number], "within": format_duration(within_us)}
                page.add(f.TOUCHED, within, size)
    rest()
    _add_owners(page, options, figures, labels)
    for of_group, key, info in zip(labels, figures.groups.keys, figures.groups.info, strict=True):
        if info is not None:
            page.add(f.TARGET_INFO, {**of_group, **info, **of_group}, 1)
        # The others are not always the same, so that their sum may shrink, which no counter does.
        if key is not None and key in followed.lost_us:
            page.add(f.LOST, of_group, followed.lost_us[key] / 1e6)
    return page.metrics


def _add_idle(
    page: Page,
    options: PrometheusOptions,
    figures: Figures,
    labels: list[dict[str, str]],
    rest: Callable[[], None],
) -> None:
    for threshold_us in options.idle_thresholds:
        at_least = format_duration(threshold_us)
        for number, idle_bytes, age_us in figures.idle(threshold_us):
            of_threshold = {**labels[number], "at_least": at_least}
            page.add(f.IDLE, of_threshold, idle_bytes)
            measured_us = figures.snapshot.time_us - age_us
            page.add(f.IDLE_MEASURED, of_threshold, measured_us / 1e6)
        rest()


def _add_owners(
    page: Page, options: PrometheusOptions, figures: Figures, labels: list[dict[str, str]]
) -> None:
    for number, owner in figures.owners(options.max_owners):
        of_owner = {**labels[number], "kind": text(owner.kind), "owner": text(owner.name)}
        page.add(f.OWNER_BYTES, of_owner, owner.total_bytes)
        page.add(f.OWNER_WORKING_SET, of_owner, owner.working_set_bytes)
        page.add(f.OWNER_ACCESSED, of_owner, owner.accessed_bytes)
