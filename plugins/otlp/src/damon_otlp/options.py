"""The options of the callback, as they are written in TOML or made in Python."""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen
from attrs.validators import optional

from damon_core import AttributeValueError, Microseconds, format_duration, validators

_IDLE_THRESHOLDS = tuple(Microseconds(seconds * 1_000_000) for seconds in (1, 10, 60, 600, 3_600))


def _url(_instance: object, attribute: "Attribute[str]", value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not value.isprintable():
        allowed = "must be a URL like 'http://127.0.0.1:4318/v1/metrics'"
        raise AttributeValueError(attribute.name, repr(value), allowed)
    if parts.username is not None or parts.password is not None:
        allowed = "must have no user and password: headers_file can have them"
        raise AttributeValueError(attribute.name, f"'{parts.scheme}://…@{parts.hostname}'", allowed)


def _only_one(instance: "OtlpOptions", attribute: "Attribute[Any]", value: object) -> None:
    if value is not None and instance.headers_file is not None:
        allowed = "must not be given beside headers_file: keep one"
        raise AttributeValueError(attribute.name, repr(value), allowed)


def _ascending(
    _instance: object, attribute: "Attribute[Any]", value: tuple[Microseconds, ...]
) -> None:
    # Each becomes an attribute of points, and no two points may have the same attributes.
    texts = [format_duration(threshold) for threshold in value]
    if (
        any(each < 1 for each in value)
        or list(value) != sorted(value)
        or len({*texts}) < len(texts)
    ):
        allowed = "must be different durations above 0, the shortest first"
        raise AttributeValueError(attribute.name, repr(texts), allowed)


@frozen
class OtlpOptions:
    """The options of `OtlpCallback`.

    Attributes:
        endpoint: The whole URL that metrics are posted to.
        headers_file: Send the headers in this file, one ``Name: value`` a line.
        headers_variable: Send those in this environment variable.
        ca_file: Trust the certificates in this PEM file, instead of the system's.
        interval: How often to send.
        timeout: How long a delivery may take, with everything that is tried again.
        temporality: Whether counters say what was counted since the start, or since the last
            delivery.
        service_name: The resource attribute ``service.name``.
        max_targets: Number of targets of a context with their own points: those with the largest
            working sets. All others are added up as ``other``.
        max_owners: Likewise of owners of memory.
        idle_thresholds: Idle times, microseconds, ascending; each gives one point per target.
    """

    endpoint: str = field(
        default="http://127.0.0.1:4318/v1/metrics",
        validator=_url,
        metadata={"help": "the whole URL that metrics are posted to"},
    )
    headers_file: Path | None = field(
        default=None, metadata={"help": "send the headers in this file, one 'Name: value' a line"}
    )
    headers_variable: str | None = field(
        default=None,
        validator=[optional(validators.not_empty), _only_one],
        metadata={"help": "send the headers in this environment variable"},
    )
    ca_file: Path | None = field(
        default=None, metadata={"help": "trust the certificates in this PEM file"}
    )
    interval: Microseconds = field(
        default=Microseconds(15_000_000),
        validator=validators.at_least(100_000),
        metadata={"help": "how often to send"},
    )
    timeout: Microseconds = field(
        default=Microseconds(10_000_000),
        validator=validators.at_least(100_000),
        metadata={"help": "how long a delivery may take, retries included"},
    )
    temporality: Literal["cumulative", "delta"] = field(
        default="cumulative",
        metadata={"help": "counters since the start, or since the last delivery"},
    )
    service_name: str = field(
        default="damon",
        validator=validators.printable,
        metadata={"help": "the resource attribute service.name"},
    )
    max_targets: int = field(
        default=20,
        validator=validators.between(1, 1_000_000),
        metadata={"help": "number of targets with their own points; the rest is 'other'"},
    )
    max_owners: int = field(
        default=100,
        validator=validators.between(1, 1_000_000),
        metadata={"help": "number of owners with their own points; the rest is 'other'"},
    )
    idle_thresholds: tuple[Microseconds, ...] = field(
        default=_IDLE_THRESHOLDS,
        validator=_ascending,
        metadata={"help": "report bytes idle for at least each of these durations"},
    )
