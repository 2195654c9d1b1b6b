"""The options of the callback, as they are written in TOML or made in Python."""

import re
from pathlib import Path

from attrs import Attribute, field, frozen
from attrs.validators import optional

from damon_core import TARGET, Microseconds, format_duration, validators
from damon_prometheus.grouping import exposed

DEFAULT_WINDOWS = tuple(Microseconds(seconds * 1_000_000) for seconds in (60, 600, 3_600))
DEFAULT_STALE_AFTER = Microseconds(120_000_000)
DEFAULT_IDLE_THRESHOLDS = tuple(
    Microseconds(seconds * 1_000_000) for seconds in (1, 10, 60, 600, 3_600)
)


def _user(_instance: object, _attribute: "Attribute[str]", value: str) -> None:
    if not value or ":" in value or not value.isprintable():
        raise ValueError("must be a user name, and can't contain a colon")


def _ascending(
    _instance: object,
    _attribute: "Attribute[tuple[Microseconds, ...]]",
    value: tuple[Microseconds, ...],
) -> None:
    if any(threshold < 1 for threshold in value) or list(value) != sorted(value):
        raise ValueError("must be durations above 0, the shortest first")
    # Each becomes a label, and no two series may have the same labels.
    if len({format_duration(threshold) for threshold in value}) < len(value):
        raise ValueError("must be durations that differ by more than rounding")


#: Labels of our own series.
_TAKEN = frozenset({"context", "above", "at_least", "within", "window", "kind", "owner", "le"})
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _labels(_instance: object, _attribute: "Attribute[tuple[str, ...]]", value: object) -> None:
    labels = value if isinstance(value, tuple) else ()
    for label in labels:
        if not isinstance(label, str) or not _LABEL.fullmatch(label) or label.startswith("__"):
            raise ValueError("must be names of labels: letters, digits and _")
        if exposed(label) in _TAKEN:
            raise ValueError(f"can't have '{label}': series have another label of this name")
    if len({exposed(label) for label in labels}) < len(labels):
        raise ValueError("must be labels that differ, in Prometheus too")


@frozen
class TlsOptions:
    """A certificate and its key, in PEM files.

    Attributes:
        certificate_file: The certificate, followed by those of the chain if there are any.
        key_file: The private key, not encrypted.
    """

    certificate_file: Path = field(metadata={"help": "PEM file of the certificate and its chain"})
    key_file: Path = field(metadata={"help": "PEM file of the private key, not encrypted"})


@frozen
class BasicAuthOptions:
    """A user and a password for HTTP basic authentication.

    Attributes:
        user: The user's name.
        password_file: A file with the password on its only line.
    """

    user: str = field(validator=_user, metadata={"help": "User name that a scrape must give"})
    password_file: Path = field(metadata={"help": "File with the password on its only line"})


@frozen
class ListenerOptions:
    """Where metrics are served, and who may read them.

    Attributes:
        address: The address to listen on: IPv4, IPv6 or a name of this machine.
        port: The port to listen on; 0 takes any free one (see `Listener.port`).
        tls: Serve HTTPS with this certificate; None serves HTTP.
        bearer_token_file: Demand the bearer token on the only line of this file.
        bearer_token_variable: Demand the bearer token in this environment variable.
        basic_auth: Demand this user's name and password.
        reload: Whether clients may have the configuration read again.

    Raises:
        ValueError: A value is out of range, or more than one kind of authentication is given.
    """

    address: str = field(
        default="127.0.0.1",
        validator=validators.not_empty,
        metadata={"help": "Address to listen on"},
    )
    port: int = field(
        default=9464,
        validator=validators.between(0, 65_535),
        metadata={"help": "Port to listen on; 0: any free one"},
    )
    tls: TlsOptions | None = field(
        default=None, metadata={"help": "Serve HTTPS: certificate_file and key_file"}
    )
    bearer_token_file: Path | None = field(
        default=None, metadata={"help": "Demand the bearer token in this file"}
    )
    bearer_token_variable: str | None = field(
        default=None,
        validator=optional(validators.printable),
        metadata={"help": "Demand the bearer token in this environment variable"},
    )
    basic_auth: BasicAuthOptions | None = field(
        default=None, metadata={"help": "Demand basic authentication: user and password_file"}
    )
    reload: bool = field(
        default=False,
        metadata={"help": "Let clients have the configuration read again: POST /-/reload"},
    )

    def __attrs_post_init__(self) -> None:
        if len(self.authentication) > 1:
            raise ValueError(
                "must have only one of bearer_token_file, bearer_token_variable, basic_auth"
            )

    @property
    def authentication(self) -> tuple[object, ...]:
        """The configured kinds of authentication: none or one."""
        kinds = (self.bearer_token_file, self.bearer_token_variable, self.basic_auth)
        return tuple(kind for kind in kinds if kind is not None)


@frozen
class PrometheusOptions(ListenerOptions):
    """The options of `PrometheusCallback`.

    Attributes:
        by: The labels by which targets are added up; each combination has series with these
            labels, and so has ``target``, the name of each target, by default. Without any the
            context has one of each.
        max_targets: Number of targets, or groups of them, of a context with their own series:
            those with the largest working sets. All others are added up as ``target="other"``.
        max_owners: Number of owners of a context's memory with their own series: those with the
            largest working sets. All others are added up as ``owner="other"``.
        idle_thresholds: Idle times, microseconds, ascending; each gives one series per target,
            with the bytes that have been idle for at least that time.
        windows: Windows, microseconds, ascending; each gives one series per target, with the bytes
            that were accessed within it.
        stale_after: Age of the last aggregation, microseconds, at which `/-/healthy` fails, if
            that is longer than three aggregation intervals.
    """

    by: tuple[str, ...] = field(
        default=(TARGET,),
        validator=_labels,
        metadata={"help": "Add up targets by these labels, such as unit; target: its name"},
    )
    max_targets: int = field(
        default=20,
        validator=validators.between(1, 1_000_000),
        metadata={"help": 'Number of targets with their own series; the rest is target="other"'},
    )
    max_owners: int = field(
        default=100,
        validator=validators.between(1, 1_000_000),
        metadata={"help": 'Number of owners with their own series; the rest is owner="other"'},
    )
    idle_thresholds: tuple[Microseconds, ...] = field(
        default=DEFAULT_IDLE_THRESHOLDS,
        validator=_ascending,
        metadata={"help": "Report bytes idle for at least each of these durations"},
    )
    windows: tuple[Microseconds, ...] = field(
        default=DEFAULT_WINDOWS,
        validator=_ascending,
        metadata={"help": "Report bytes accessed within each of these durations"},
    )
    stale_after: Microseconds = field(
        default=DEFAULT_STALE_AFTER,
        validator=validators.at_least(1_000_000),
        metadata={"help": "Age of the last aggregation at which /-/healthy fails"},
    )
