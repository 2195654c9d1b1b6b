"""The values of metrics: what follows from a snapshot, and what a context knows of itself."""

from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from damon_core.contract.context import HookContext
from damon_core.memory.spectrum import SPECTRUM_US
from damon_core.metrics import instruments as i
from damon_core.metrics.figures import Figures, Sums
from damon_core.metrics.following import Followed
from damon_core.metrics.grouping import Groups, text
from damon_core.metrics.instruments import Instrument
from damon_core.metrics.options import MetricsOptions
from damon_core.units import format_duration


@frozen
class GroupValues:
    """Values of a metric of groups of targets, with the labels that they have in common.

    Attributes:
        instrument: The metric.
        values: The number of each group of which it is known, in `Groups`, and the value.
        labels: What these have besides the labels of their group.
    """

    instrument: Instrument
    values: Sequence[tuple[int, float]]
    labels: Mapping[str, str] = field(factory=dict)


@frozen
class Value:
    """The value of a metric of a context.

    Attributes:
        instrument: The metric.
        value: It.
        labels: What distinguishes it from others of the context.
    """

    instrument: Instrument
    value: float
    labels: Mapping[str, str] = field(factory=dict)


class SnapshotValues:
    """What follows from a snapshot, once its context runs.

    Computed for all groups at once, as it is asked for: from one step of the iteration to the next
    a thread that computes beside a worker can rest.

    Args:
        followed: The snapshot, and what was known when it was taken.
        options: What of it is exported.

    Attributes:
        groups: The groups of targets that have series.
    """

    def __init__(self, followed: Followed, options: MetricsOptions) -> None:
        self._followed, self._options = followed, options
        self._figures = Figures(followed, options.by, options.max_targets)

    @property
    def groups(self) -> Groups:
        """The groups of targets that have series, in the order of their numbers."""
        return self._figures.groups

    def of_context(self) -> Iterator[Value]:
        """Yield what is one for the whole context."""
        snapshot = self._followed.snapshot
        yield Value(i.LAST, snapshot.time_us / 1e6)
        yield Value(i.TARGETS, len(snapshot.targets))

    def of_groups(self) -> Iterator[GroupValues]:
        """Yield what each group of targets has."""
        if not self._followed.snapshot.targets:
            return
        figures, options = self._figures, self._options
        yield _of_all(i.WORKING_SET, figures.working_set())
        yield _of_all(i.ACCESSED, figures.accessed())
        yield _of_all(i.MONITORED, figures.total())
        yield _of_all(i.REGIONS, figures.regions())
        for above, sums in figures.frequency():
            yield _of_all(i.FREQUENCY, sums, above=f"{above:g}")
        for place, window_us in enumerate(options.windows):
            # Before, nothing is known of the beginning of the window.
            if self._followed.watched_us >= window_us:
                sums = figures.window(place, window_us)
                yield _of_all(i.WINDOW, sums, window=format_duration(window_us))
        yield from self._idle()
        for number, spectrum in figures.spectra():
            for within_us, size in zip(SPECTRUM_US, spectrum.within_bytes, strict=True):
                if size is not None:
                    within = {"within": format_duration(within_us)}
                    yield GroupValues(i.TOUCHED, [(number, size)], within)
        for name, sums in figures.kinds():
            yield _of_all(i.KIND, sums, memory_kind=name)
        for number, owner in figures.owners(options.max_owners):
            who = {"kind": text(owner.kind), "owner": text(owner.name)}
            yield GroupValues(i.OWNER, [(number, owner.total_bytes)], who)
            yield GroupValues(i.OWNER_WORKING_SET, [(number, owner.working_set_bytes)], who)
            yield GroupValues(i.OWNER_ACCESSED, [(number, owner.accessed_bytes)], who)
        # The others are not always the same, so that their sum may shrink, which no counter does.
        lost_us = self._followed.lost_us
        lost = [
            (number, lost_us[key] / 1e6)
            for number, key in enumerate(self.groups.keys)
            if key is not None and key in lost_us
        ]
        yield GroupValues(i.LOST, lost)
        time_us = self._followed.snapshot.time_us
        late = figures.late(self._followed.late_after_us)
        measured = [(number, (time_us - age_us) / 1e6) for number, age_us in late]
        yield GroupValues(i.LATE_MEASURED, measured)

    def _idle(self) -> Iterator[GroupValues]:
        time_us = self._followed.snapshot.time_us
        for threshold_us in self._options.idle_thresholds:
            at_least = {"at_least": format_duration(threshold_us)}
            known = list(self._figures.idle(threshold_us))
            sizes = [(number, size) for number, size, _ in known]
            yield GroupValues(i.IDLE, sizes, at_least)
            measured = [(number, (time_us - age_us) / 1e6) for number, _, age_us in known]
            yield GroupValues(i.IDLE_MEASURED, measured, at_least)
            for name, number, size in self._figures.idle_kinds(threshold_us):
                yield GroupValues(i.KIND_IDLE, [(number, size)], {"memory_kind": name, **at_least})


def _of_all(instrument: Instrument, sums: Sums, **labels: str) -> GroupValues:
    return GroupValues(instrument, list(enumerate(sums.tolist())), labels)


def context_values(context: HookContext, *, running: bool) -> Iterator[Value]:
    """Yield what a context knows of itself.

    Args:
        context: The context.
        running: Whether it monitors.
    """
    stats, intervals = context.stats, context.intervals
    yield Value(i.RUNNING, int(running))
    yield Value(i.SAMPLES, stats.samples)
    yield Value(i.MISSED, stats.missed_samples)
    yield Value(i.AGGREGATIONS, stats.aggregations)
    yield Value(i.CPU, stats.cpu_us / 1e6)
    yield Value(i.SLOWDOWN, stats.slowdown)
    yield Value(i.STALL, stats.longest_stall_us / 1e6)
    yield Value(i.STALENESS, stats.staleness_us / 1e6)
    yield Value(i.RESTING, stats.resting)
    yield Value(i.LATE, stats.late)
    yield Value(i.SAMPLING, intervals.sampling_us / 1e6)
    yield Value(i.AGGREGATION, intervals.aggregation_us / 1e6)
    for reason, count in context.left_out.items():
        yield Value(i.LEFT_OUT, count, {"reason": text(reason)})
    for name, callback in stats.callbacks.items():
        of_callback = {"callback": text(name)}
        yield Value(i.FAILURES, callback.failures, of_callback)
        yield Value(i.SWITCHED_OFF, int(callback.switched_off), of_callback)
        yield Value(i.SKIPPED, callback.skipped, of_callback)
