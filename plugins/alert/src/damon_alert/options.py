"""The options of the alert callback: rules and receivers, checked at construction."""

import fnmatch
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import Attribute, field, fields, frozen

from damon_alert.quantities import (
    QUANTITIES,
    Amount,
    Quantity,
    QuantityName,
    parse_threshold,
)
from damon_core import AttributeValueError, Microseconds, TargetSnapshot, label_of, validators

#: The severity of an alert; it determines the log's level.
Severity = Literal["info", "warning", "critical"]
#: The kinds of receivers.
ReceiverKind = Literal["log", "program", "http", "alertmanager"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
#: Labels that are set from the rule and the snapshot.
_RESERVED_LABELS = ("alertname", "severity", "context", "target")
_DEFAULT_WITHIN_US = Microseconds(60_000_000)


def _labels(
    _instance: object, attribute: "Attribute[dict[str, str]]", value: dict[str, str]
) -> None:
    for label in value:
        if not _LABEL.fullmatch(label):
            raise AttributeValueError(
                attribute.name,
                repr(label),
                f"the name {label!r} must be letters, digits and '_', and not begin with a digit",
            )
        if label in _RESERVED_LABELS:
            raise AttributeValueError(
                attribute.name, repr(label), f"{label!r} is set by the rule itself"
            )


def _per(_instance: object, _attribute: "Attribute[str]", value: object) -> None:
    if not isinstance(value, str) or not all(map(_LABEL.fullmatch, value.split(","))):
        raise AttributeValueError(
            "per", repr(value), "write context, target, or names of labels like namespace,pod"
        )


def _match(
    _instance: object, _attribute: "Attribute[dict[str, str]]", value: dict[str, str]
) -> None:
    for label in value:
        if not _LABEL.fullmatch(label):
            raise AttributeValueError("match", repr(label), "write labels and patterns of values")


@frozen
class Condition:
    """The thresholds of a rule, as numbers in the unit of its quantity.

    Attributes:
        comparison: Whether the condition holds above or below the threshold.
        threshold: The condition holds beyond this value, not at it.
        clear: A firing alert is resolved when the quantity is back at or within this value.
    """

    comparison: Literal["above", "below"]
    threshold: float
    clear: float

    def holds(self, amount: Amount) -> bool:
        """Return whether a value certainly lies beyond the threshold."""
        if self.comparison == "above":
            return amount.low > self.threshold
        return amount.high < self.threshold

    def cleared(self, amount: Amount) -> bool:
        """Return whether a value certainly resolves a firing alert."""
        return amount.high <= self.clear if self.comparison == "above" else amount.low >= self.clear

    def shown(self, amount: Amount) -> float:
        """Return what is shown of a value: the bound that the threshold is compared with."""
        return amount.low if self.comparison == "above" else amount.high


@frozen
class Rule:
    """One rule: a quantity, its thresholds, how long they must be exceeded, and the alert's name.

    Raises:
        AttributeValueError: A field, or its combination with others, makes no sense.
    """

    name: str = field(validator=validators.printable, metadata={"help": "name of the alert"})
    when: QuantityName = field(metadata={"help": "the quantity to compare with the threshold"})
    above: str | float | None = field(
        default=None, metadata={"help": "the condition holds above this: '64MiB', '20%', '10'"}
    )
    below: str | float | None = field(
        default=None, metadata={"help": "the condition holds below this: '64MiB', '20%', '10'"}
    )
    clear: str | float | None = field(
        default=None,
        metadata={"help": "value at which a firing alert is resolved; default: the threshold"},
    )
    lasting: Microseconds = field(
        default=Microseconds(0),
        validator=validators.at_least(0),
        metadata={"help": "how long the condition must hold before the alert fires"},
    )
    per: str = field(
        default="context",
        validator=_per,
        metadata={
            "help": "one alert for the context, or one for each target, or for each value of a "
            "label such as unit, or of several like namespace,pod"
        },
    )
    match: dict[str, str] = field(
        factory=dict,
        validator=_match,
        metadata={"help": "only targets with these labels: { unit = 'redis*' }"},
    )
    idle_for: Microseconds | None = field(
        default=None,
        metadata={"help": "for idle and idle_share: minimum idle time of the memory"},
    )
    within: Microseconds | None = field(
        default=None,
        metadata={"help": "for counts: the time span that is counted; default: 1m"},
    )
    severity: Severity = field(default="warning", metadata={"help": "severity of the alert"})
    labels: dict[str, str] = field(
        factory=dict, validator=_labels, metadata={"help": "labels to route and group by"}
    )

    def __attrs_post_init__(self) -> None:
        quantity = self.quantity
        if self.per != "context" and not quantity.of_targets:
            raise AttributeValueError("per", repr(self.per), f"{self.when} belongs to the context")
        if self.match and not quantity.of_targets:
            raise AttributeValueError("match", "given", f"{self.when} belongs to the context")
        self._check_duration("idle_for", self.when in ("idle", "idle_share"), "idle or idle_share")
        self._check_duration("within", quantity.unit == "count", "a count")
        _ = self.condition  # raises if the thresholds make no sense

    @property
    def quantity(self) -> Quantity:
        """The unit and description of the rule's quantity."""
        return QUANTITIES[self.when]

    @property
    def per_labels(self) -> tuple[str, ...]:
        """The labels of which each combination of values has an alert; empty without `per`."""
        return () if self.per == "context" else tuple(self.per.split(","))

    def concerns(self, target: TargetSnapshot) -> bool:
        """Return whether the rule is about a target: it has the labels that `match` and `per`."""
        return all(
            fnmatch.fnmatchcase(label_of(target, label), pattern)
            for label, pattern in self.match.items()
        ) and all(label_of(target, label) for label in self.per_labels)

    @property
    def within_us(self) -> int:
        """The time span in which a count is counted, in microseconds."""
        return _DEFAULT_WITHIN_US if self.within is None else self.within

    @property
    def condition(self) -> Condition:
        """The thresholds as numbers in the unit of the quantity."""
        if (self.above is None) == (self.below is None):
            found = "nothing" if self.above is None else "given with 'below'"
            raise AttributeValueError("above", found, "give one of 'above' and 'below'")
        comparison: Literal["above", "below"] = "above" if self.below is None else "below"
        text = self.above if self.above is not None else self.below
        assert text is not None
        unit = self.quantity.unit
        threshold = parse_threshold(comparison, text, unit)
        clear = threshold if self.clear is None else parse_threshold("clear", self.clear, unit)
        if (clear > threshold) if comparison == "above" else (clear < threshold):
            side = "not be above" if comparison == "above" else "not be below"
            raise AttributeValueError(
                "clear", repr(self.clear), f"must {side} the threshold {text!r}"
            )
        return Condition(comparison, threshold, clear)

    def _check_duration(self, name: str, fits: bool, allowed_for: str) -> None:
        value: int | None = getattr(self, name)
        if value is None:
            return
        if not fits:
            raise AttributeValueError(
                name, f"given for {self.when}", f"only a rule on {allowed_for} has it"
            )
        validators.check(validators.positive, name, value)


#: The fields of `Notify` that only some kinds of receivers have.
_WEB_FIELDS = {"url", "headers", "headers_from_env", "headers_from_file", "ca_file", "time_limit"}
_FIELDS_OF_KIND: dict[ReceiverKind, set[str]] = {
    "log": set(),
    "program": {"command", "time_limit"},
    "http": _WEB_FIELDS,
    "alertmanager": _WEB_FIELDS | {"repeat"},
}
_COMMON_FIELDS = {"to", "queue_length", "retry_for"}


@frozen
class Notify:
    """One receiver of alerts.

    Raises:
        AttributeValueError: A field is wrong, missing, or doesn't apply to this kind of receiver.
    """

    to: ReceiverKind = field(metadata={"help": "the kind of receiver"})
    command: tuple[str, ...] = field(
        default=(),
        metadata={"help": "program: the program and its arguments; no shell is involved"},
    )
    url: str | None = field(
        default=None,
        metadata={"help": "http: address to post to; alertmanager: its address, without /api"},
    )
    headers: dict[str, str] = field(
        factory=dict, metadata={"help": "http, alertmanager: headers of each request"}
    )
    headers_from_env: dict[str, str] = field(
        factory=dict,
        metadata={
            "help": "http, alertmanager: headers and environment variables with their values"
        },
    )
    headers_from_file: dict[str, Path] = field(
        factory=dict,
        metadata={"help": "http, alertmanager: headers and files with their values"},
    )
    ca_file: Path | None = field(
        default=None,
        metadata={"help": "http, alertmanager: certificates to trust instead of the system's"},
    )
    time_limit: Microseconds = field(
        default=Microseconds(10_000_000),
        validator=validators.positive,
        metadata={"help": "program, http, alertmanager: maximum duration of one attempt"},
    )
    repeat: Microseconds = field(
        default=Microseconds(60_000_000),
        validator=validators.positive,
        metadata={"help": "alertmanager: how often a firing alert is sent again"},
    )
    queue_length: int = field(
        default=100,
        validator=validators.between(1, 1_000_000),
        metadata={"help": "how many notifications may wait; more are dropped and counted"},
    )
    retry_for: Microseconds = field(
        default=Microseconds(300_000_000),
        validator=validators.at_least(0),
        metadata={"help": "how long a notification is retried before it is given up"},
    )

    def __attrs_post_init__(self) -> None:
        allowed = _FIELDS_OF_KIND[self.to]
        for attribute in fields(Notify):
            if attribute.name in allowed | _COMMON_FIELDS:
                continue
            default = {} if "headers" in attribute.name else attribute.default
            if getattr(self, attribute.name) != default:
                kinds = [
                    f"'{kind}'"
                    for kind, names in _FIELDS_OF_KIND.items()
                    if attribute.name in names
                ]
                raise AttributeValueError(
                    attribute.name,
                    f"given for to = '{self.to}'",
                    f"only to = {' or '.join(kinds)} has it",
                )
        if self.to == "program" and not self.command:
            raise AttributeValueError(
                "command", "nothing", "write a list like ['/usr/bin/logger', '-t', 'damon']"
            )
        if "url" in allowed:
            _check_url(self.url)
            _check_headers(self)


def _check_url(url: str | None) -> None:
    if url is None:
        raise AttributeValueError("url", "nothing", "write one like 'http://127.0.0.1:9093'")
    # A hook's address is often secret, so messages repeat no more of it than needed.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise AttributeValueError("url", "not plain", "must be ASCII; escape the rest with %XX")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise AttributeValueError("url", repr(url), "must be like http://HOST:PORT or https://HOST")
    if parts.username is not None:
        raise AttributeValueError(
            "url", "with a user's name", "put credentials into headers_from_file or _from_env"
        )
    if parts.fragment:
        raise AttributeValueError("url", "with a '#'", "leave the fragment out")


def _check_headers(notify: Notify) -> None:
    seen: set[str] = set()
    for name in [*notify.headers, *notify.headers_from_env, *notify.headers_from_file]:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise AttributeValueError("headers", repr(name), "isn't the name of a header")
        if name.lower() in seen:
            raise AttributeValueError("headers", repr(name), "is given more than once")
        seen.add(name.lower())
    for name, value in notify.headers.items():
        if not value.isprintable() or not value.isascii():
            raise AttributeValueError("headers", repr(name), "its value must be printable ASCII")
    for variable in notify.headers_from_env.values():
        if not variable or not variable.isprintable():
            allowed = "must be the name of an environment variable"
            raise AttributeValueError("headers_from_env", repr(variable), allowed)


@frozen
class AlertOptions:
    """Rules and receivers.

    Raises:
        AttributeValueError: There is no rule, or two rules have the same name.
    """

    rule: tuple[Rule, ...] = field(
        validator=validators.not_empty, metadata={"help": "the rules, at least one"}
    )
    notify: tuple[Notify, ...] = field(
        default=(Notify("log"),), metadata={"help": "the receivers; default: the log"}
    )
    flush_timeout: Microseconds = field(
        default=Microseconds(5_000_000),
        validator=validators.at_least(0),
        metadata={"help": "maximum time, at the end, for delivering queued notifications"},
    )

    def __attrs_post_init__(self) -> None:
        seen: set[str] = set()
        for rule in self.rule:
            if rule.name in seen:
                raise AttributeValueError("rule", f"'{rule.name}' twice", "names must differ")
            seen.add(rule.name)
