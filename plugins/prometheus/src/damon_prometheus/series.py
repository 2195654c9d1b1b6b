"""The series of a snapshot."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Metric

from damon_core import CADVISOR_NAMES
from damon_core.metrics import Followed, Groups, MetricsOptions, SnapshotValues, text
from damon_prometheus import families as f
from damon_prometheus.lines import GroupLines, Lines, are_plain

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


def exposed(labels: Labels) -> dict[str, str]:
    """Return labels of targets as Prometheus has them: as cAdvisor calls them."""
    return {CADVISOR_NAMES.get(name, name): value for name, value in labels.items()}


def snapshot_metrics(
    context: str,
    options: MetricsOptions,
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
    page, values = Page(f.SNAPSHOTS), SnapshotValues(followed, options)
    own = {"context": text(context)}
    for value in values.of_context():
        page.add(f.BY_INSTRUMENT[value.instrument], {**own, **value.labels}, value.value)
    labels = [{**own, **exposed(each)} for each in values.groups.labels]
    for of_groups in values.of_groups():
        family = f.BY_INSTRUMENT[of_groups.instrument]
        metric = page.metrics[family.name]
        for number, each in of_groups.values:
            metric.add_sample(family.name, {**labels[number], **of_groups.labels}, each)
        rest()
    _add_info(page, values.groups, labels)
    return page.metrics


def snapshot_lines(
    context: str,
    options: MetricsOptions,
    followed: Followed,
    lines: Lines,
    rest: Callable[[], None] = lambda: None,
) -> dict[str, bytes] | None:
    """Return what `snapshot_metrics` returns, rendered; None if names aren't plain.

    A series takes a fraction of the time: most have their labels in common with others.

    Args:
        context: What the series call the context.
        options: What to serve of it.
        followed: The snapshot, and what was known when it was taken.
        lines: What renders labels.
        rest: Called often.
    """
    values = SnapshotValues(followed, options)
    own = {"context": text(context)}
    groups = values.groups
    labels = [{**own, **exposed(each)} for each in groups.labels]
    infos = [
        {**of_group, **exposed(known), **of_group}
        for of_group, known in zip(labels, groups.known, strict=True)
        if known is not None
    ]
    if not are_plain({name for each in (*labels, *infos) for name in each}):
        return None
    found: dict[str, list[str]] = {family.name: [] for family in f.SNAPSHOTS}
    for value in values.of_context():
        name = f.BY_INSTRUMENT[value.instrument].name
        found[name].append(lines.series(name, {**own, **value.labels}, value.value))
    of_each = GroupLines(lines, labels)
    for of_groups in values.of_groups():
        name = f.BY_INSTRUMENT[of_groups.instrument].name
        found[name].append(of_each.of(name, of_groups.values, of_groups.labels))
        rest()
    name = f.TARGET_INFO.name
    for each in infos:
        found[name].append(lines.series(name, each, 1))
        rest()
    return {name: "".join(each).encode() for name, each in found.items()}


def _add_info(page: Page, groups: Groups, labels: list[dict[str, str]]) -> None:
    for of_group, known in zip(labels, groups.known, strict=True):
        if known is not None:
            page.add(f.TARGET_INFO, {**of_group, **exposed(known), **of_group}, 1)
