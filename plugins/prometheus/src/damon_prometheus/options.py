"""The options of the callback, as they are written in TOML or made in Python."""

from pathlib import Path

from attrs import Attribute, field, frozen
from attrs.validators import optional

from damon_core import Microseconds, validators
from damon_core.metrics import MetricsOptions

DEFAULT_STALE_AFTER = Microseconds(120_000_000)
#: The options that contexts share a listener by.
_LISTENER = ("address", "port")


def _user(_instance: object, _attribute: "Attribute[str]", value: str) -> None:
    if not value or ":" in value or not value.isprintable():
        raise ValueError("must be a user name, and can't contain a colon")


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
        default=None,
        metadata={"help": "Serve HTTPS: certificate_file and key_file", "same_with": _LISTENER},
    )
    bearer_token_file: Path | None = field(
        default=None,
        metadata={"help": "Demand the bearer token in this file", "same_with": _LISTENER},
    )
    bearer_token_variable: str | None = field(
        default=None,
        validator=optional(validators.printable),
        metadata={
            "help": "Demand the bearer token in this environment variable",
            "same_with": _LISTENER,
        },
    )
    basic_auth: BasicAuthOptions | None = field(
        default=None,
        metadata={
            "help": "Demand basic authentication: user and password_file",
            "same_with": _LISTENER,
        },
    )
    reload: bool = field(
        default=False,
        metadata={
            "help": "Let clients have the configuration read again: POST /-/reload",
            "same_with": _LISTENER,
        },
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
class PrometheusOptions(MetricsOptions, ListenerOptions):
    """The options of `PrometheusCallback`.

    Attributes:
        stale_after: Age of the last aggregation, microseconds, at which `/-/healthy` fails, if
            that is longer than three aggregation intervals.
    """

    stale_after: Microseconds = field(
        default=DEFAULT_STALE_AFTER,
        validator=validators.at_least(1_000_000),
        metadata={"help": "Age of the last aggregation at which /-/healthy fails"},
    )
