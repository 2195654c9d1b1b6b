"""The options of the callback, as they are written in TOML or made in Python."""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen
from attrs.validators import optional

from damon_core import AttributeValueError, Microseconds, validators
from damon_core.metrics import MetricsOptions


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


@frozen
class OtlpOptions(MetricsOptions):
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
