"""A notification: one alert that has begun to fire or was resolved."""

import datetime
import socket
from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from damon_alert.options import Rule
from damon_alert.quantities import format_amount
from damon_core import CADVISOR_NAMES, format_duration

#: The version of the JSON document; it changes if a field is removed or changes its meaning.
JSON_VERSION = 1


def rfc3339(unix_us: int) -> str:
    """Return microseconds since 1970-01-01 UTC as a time in the format of RFC 3339."""
    epoch = datetime.datetime(1970, 1, 1)
    return (epoch + datetime.timedelta(microseconds=unix_us)).isoformat("T", "microseconds") + "Z"


@frozen
class Notification:
    """The news that an alert of one rule has begun to fire, or was resolved.

    Times are microseconds since 1970-01-01 UTC.

    Attributes:
        status: Whether the alert fires or is resolved.
        rule: The rule.
        context: The context's name.
        target: The target's name, None for an alert of the whole context.
        value: The quantity at that moment, in its unit; None if there was nothing to measure.
        since_us: When the condition began to hold.
        fired_us: When the alert began to fire.
        resolved_us: When the alert was resolved, None while it fires.
        host: The name of the machine.
        group: The values of the labels of a rule that is per label; None for others.
        target_labels: The labels that all targets of the alert had when it began to fire.
    """

    status: Literal["firing", "resolved"]
    rule: Rule
    context: str
    target: str | None
    value: float | None
    since_us: int
    fired_us: int
    resolved_us: int | None = None
    host: str = field(factory=socket.gethostname, kw_only=True)
    group: str | None = field(default=None, kw_only=True)
    target_labels: Mapping[str, str] = field(factory=dict, kw_only=True)

    @property
    def key(self) -> tuple[str, str, str | None]:
        """The identity of the alert, the same when it fires and when it is resolved."""
        return self.rule.name, self.context, self.target or self.group

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.rule.name

    @property
    def severity(self) -> str:
        """The rule's severity."""
        return self.rule.severity

    @property
    def labels(self) -> dict[str, str]:
        """The labels that identify and route the alert.

        Those of targets are called as cAdvisor calls them, as in metrics.
        """
        labels = {
            **{CADVISOR_NAMES.get(name, name): value for name, value in self.target_labels.items()},
            # Without it the same rule on two machines would be one alert.
            "instance": self.host,
            **self.rule.labels,
            "alertname": self.rule.name,
            "severity": self.rule.severity,
            "context": self.context,
        }
        return labels if self.target is None else {**labels, "target": self.target}

    @property
    def value_text(self) -> str:
        """The value with its unit, for people."""
        return "nothing" if self.value is None else self._amount(self.value)

    @property
    def threshold_text(self) -> str:
        """The threshold with its unit, for people."""
        return self._amount(self.rule.condition.threshold)

    @property
    def summary(self) -> str:
        """One line for people: the quantity, its value, the threshold, and for how long."""
        rule = self.rule
        what = rule.quantity.words
        if rule.idle_for is not None:
            what += f" for at least {format_duration(rule.idle_for)}"
        if rule.quantity.unit == "count":
            what += f" within {format_duration(rule.within_us)}"
        part = self.target or self.group
        whose = self.context if part is None else f"{part} in {self.context}"
        limit = f"{rule.condition.comparison} {self.threshold_text}"
        if self.value is None:
            return f"{what} of {whose}: no longer measured"
        if self.status == "resolved":
            return f"{what} of {whose}: {self.value_text}, no longer {limit}"
        lasting = f" for {format_duration(rule.lasting)}" if rule.lasting else ""
        return f"{what} of {whose}: {self.value_text}, {limit}{lasting}"

    def as_json(self) -> dict[str, Any]:
        """Return the JSON document for programs and HTTP hooks; README.md describes it."""
        rule, condition = self.rule, self.rule.condition
        return {
            "version": JSON_VERSION,
            "status": self.status,
            "alert": rule.name,
            "severity": rule.severity,
            "host": self.host,
            "context": self.context,
            "target": self.target,
            "group": self.group,
            "target_labels": dict(self.target_labels),
            "labels": dict(rule.labels),
            "quantity": rule.when,
            "unit": rule.quantity.unit,
            "comparison": condition.comparison,
            "threshold": condition.threshold,
            "clear": condition.clear,
            "lasting_us": rule.lasting,
            "value": self.value,
            "since": rfc3339(self.since_us),
            "fired_at": rfc3339(self.fired_us),
            "resolved_at": None if self.resolved_us is None else rfc3339(self.resolved_us),
            "summary": self.summary,
        }

    def _amount(self, amount: float) -> str:
        return format_amount(amount, self.rule.quantity.unit)
