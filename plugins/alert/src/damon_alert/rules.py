"""Evaluation of rules: the state of every alert, updated by snapshots.

Durations are sums of the aggregations' durations, not differences of the time of day, so that
setting the clock doesn't affect alerts.
"""

import enum
import logging
from collections.abc import Iterable, Sequence

from attrs import define, field

from damon_alert.notification import Notification
from damon_alert.options import Condition, Rule
from damon_alert.quantities import Amount, Window, format_amount, measure
from damon_core import (
    Snapshot,
    Stats,
    TargetSnapshot,
    common_labels,
    format_duration,
    grouped_targets,
)

logger = logging.getLogger(__name__)


class Phase(enum.Enum):
    """The state of an alert."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@define
class Alert:
    """The state of one rule on one context or target.

    Attributes:
        condition: The condition of the rule.
        lasting_us: How long the condition must hold before the alert fires.
        phase: Whether the alert is inactive, pending or firing.
        since_us: When the condition began to hold, microseconds since 1970-01-01 UTC.
        fired_us: When the alert began to fire, microseconds since 1970-01-01 UTC.
    """

    condition: Condition
    lasting_us: int
    phase: Phase = Phase.INACTIVE
    since_us: int = 0
    fired_us: int = 0
    _pending_from_us: int = field(default=0, init=False)

    def observe(self, value: Amount | None, now_us: int, unix_us: int) -> bool:
        """Process one value, and return whether the alert has begun or ceased to fire.

        Args:
            value: The quantity in its unit; None if there is nothing to measure, which ends
                the alert. Where only bounds are known, both decide only what is certain.
            now_us: Monotonic time in microseconds.
            unix_us: The time of day, microseconds since 1970-01-01 UTC.
        """
        if self.phase is Phase.FIRING:
            if value is not None and not self.condition.cleared(value):
                return False
            self.phase = Phase.INACTIVE
            return True
        if value is None or not self.condition.holds(value):
            self.phase = Phase.INACTIVE
            return False
        if self.phase is Phase.INACTIVE:
            self.phase = Phase.PENDING
            self.since_us, self._pending_from_us = unix_us, now_us
        if now_us - self._pending_from_us < self.lasting_us:
            return False
        self.phase = Phase.FIRING
        self.fired_us = unix_us
        return True


class Evaluator:
    """All alerts of one run of one context.

    Args:
        rules: The rules.

    Attributes:
        firing: The firing alerts with the values of the last aggregation; may be read from any
            thread.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.firing: tuple[Notification, ...] = ()
        self._rules = rules
        self._alerts: list[dict[str | None, Alert]] = [{} for _ in rules]
        self._windows = [Window(rule.within_us) for rule in rules]
        self._warned: set[int] = set()
        self._warned_of_labels: set[int] = set()
        self._now_us = 0
        # Of the targets of each alert, as they were when it began to fire.
        self._labels: dict[tuple[int, str | None], dict[str, str]] = {}

    def evaluate(self, snapshot: Snapshot, stats: Stats) -> list[Notification]:
        """Process the result of one aggregation.

        Args:
            snapshot: The result.
            stats: The context's counts at the same time.

        Returns:
            The alerts that begin to fire, and those that are resolved, in the rules' order.
        """
        self._now_us += snapshot.elapsed_us
        changes: list[Notification] = []
        firing: list[Notification] = []
        for number, rule in enumerate(self._rules):
            values = self._measure(number, rule, snapshot, stats)
            alerts = self._alerts[number]
            gone = [target for target in alerts if target not in values]
            for target in [*values, *gone]:
                if target not in alerts:
                    alerts[target] = Alert(rule.condition, rule.lasting)
                alert, value = alerts[target], values.get(target)
                changed = alert.observe(value, self._now_us, snapshot.time_us)
                if changed or alert.phase is Phase.FIRING:
                    labels = self._labels.get((number, target), {})
                    notification = _notification(
                        rule, alert, snapshot, target, value, labels=labels
                    )
                    changes += [notification] * changed
                    firing += [notification] * (alert.phase is Phase.FIRING)
                if target not in values:
                    del alerts[target]
                    self._labels.pop((number, target), None)
        self.firing = tuple(firing)
        return changes

    def _measure(
        self, number: int, rule: Rule, snapshot: Snapshot, stats: Stats
    ) -> dict[str | None, Amount | None]:
        """Return the values of a rule by target; the key None stands for the whole context."""
        if rule.when == "missed_samples":
            grown = self._windows[number].grown(stats.missed_samples, self._now_us)
            return {None: Amount.known(grown)}
        if rule.when == "callback_failures":
            grown = self._windows[number].grown(stats.callback_failures, self._now_us)
            return {None: Amount.known(grown)}
        idle_for_us = rule.idle_for or 0
        parts: dict[str | None, Snapshot | TargetSnapshot] = {None: snapshot}
        if rule.per_labels or rule.match:
            targets = [target for target in snapshot.targets if rule.concerns(target)]
            groups = grouped_targets(targets, rule.per_labels)
            parts = {group.name if rule.per_labels else None: group for group in groups}
            if snapshot.targets and not targets:
                self._warn_of_labels(number, rule, snapshot)
        values = {name: measure(rule.when, part, idle_for_us) for name, part in parts.items()}
        for name, part in parts.items():
            alert = self._alerts[number].get(name)
            if alert is None or alert.phase is not Phase.FIRING:
                self._labels[number, name] = _labels_of(rule, part)
        self._warn_of_bounds(number, rule, snapshot, values.values())
        return values

    def _warn_of_labels(self, number: int, rule: Rule, snapshot: Snapshot) -> None:
        """Log once that a rule is about none of the targets."""
        if number not in self._warned_of_labels:
            self._warned_of_labels.add(number)
            known = sorted({label for target in snapshot.targets for label in target.labels})
            there = f"their labels are: {', '.join(known)}" if known else "they have no labels"
            logger.warning(
                "context '%s': rule '%s' concerns none of the targets: none has what 'per' and "
                "'match' name; %s",
                snapshot.context,
                rule.name,
                there,
            )

    def _warn_of_bounds(
        self, number: int, rule: Rule, snapshot: Snapshot, values: Iterable[Amount | None]
    ) -> None:
        """Log once that a rule's quantity isn't known."""
        bounds = [value for value in values if value is not None and value.low != value.high]
        if number in self._warned or not bounds:
            return
        self._warned.add(number)
        logger.warning(
            "context '%s': rule '%s': how much memory has been idle for %s isn't known yet: %s to "
            "%s; until then the rule decides what is certain",
            snapshot.context,
            rule.name,
            format_duration(rule.idle_for or 0),
            format_amount(bounds[0].low, rule.quantity.unit),
            format_amount(bounds[0].high, rule.quantity.unit),
        )


def _labels_of(rule: Rule, part: Snapshot | TargetSnapshot) -> dict[str, str]:
    """Return the labels that all targets of an alert have."""
    if isinstance(part, TargetSnapshot):
        labels = dict(part.labels)
    else:
        labels = common_labels(part.targets) if part.targets else {}
    if rule.per not in ("target", "pid"):
        labels.pop("pid", None)  # in a group it is that of one process today
    return labels


def _notification(
    rule: Rule,
    alert: Alert,
    snapshot: Snapshot,
    name: str | None,
    value: Amount | None,
    *,
    labels: dict[str, str],
) -> Notification:
    firing = alert.phase is Phase.FIRING
    return Notification(
        status="firing" if firing else "resolved",
        rule=rule,
        context=snapshot.context,
        target=name if rule.per == "target" else None,
        group=None if rule.per == "target" else name,
        target_labels=labels,
        value=None if value is None else rule.condition.shown(value),
        since_us=alert.since_us,
        fired_us=alert.fired_us,
        resolved_us=None if firing else snapshot.time_us,
    )
