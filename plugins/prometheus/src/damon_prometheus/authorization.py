"""Who may scrape: a bearer token or a user's password."""

import base64
import hmac
import os
from pathlib import Path

from attrs import field, frozen

from damon_core import InputError
from damon_prometheus.options import ListenerOptions


@frozen
class Authorization:
    """The only ``Authorization`` header that is accepted.

    Attributes:
        scheme: ``Bearer`` or ``Basic``.
        credentials: The credentials that must follow the scheme.
    """

    scheme: str
    credentials: bytes = field(repr=False)

    @property
    def challenge(self) -> str:
        """The ``WWW-Authenticate`` header of a 401 response."""
        return f'{self.scheme} realm="damon"'

    def accepts(self, header: str | None) -> bool:
        """Return whether a request with this ``Authorization`` header is allowed.

        The comparison takes constant time, so its duration doesn't reveal correct characters.
        """
        scheme, _, credentials = (header or "").partition(" ")
        given = credentials.strip().encode("utf-8", "surrogateescape")
        correct = hmac.compare_digest(given, self.credentials)
        return scheme.lower() == self.scheme.lower() and correct


def read_authorization(options: ListenerOptions) -> Authorization | None:
    """Return the authorization that a listener with these options demands; None if it is open.

    Raises:
        InputError: A secret can't be read, is empty, or can't be sent in a header.
    """
    if options.basic_auth is not None:
        where = f"password_file {options.basic_auth.password_file}"
        password = _read_line(options.basic_auth.password_file, where)
        pair = f"{options.basic_auth.user}:{password}"
        return Authorization("Basic", base64.b64encode(pair.encode()))
    if options.bearer_token_file is not None:
        where = f"bearer_token_file {options.bearer_token_file}"
        token = _read_line(options.bearer_token_file, where)
    elif options.bearer_token_variable is not None:
        where = f"environment variable {options.bearer_token_variable}"
        token = os.environ.get(options.bearer_token_variable, "").strip()
        if not token:
            raise InputError(f"{where}: is not set or empty: set it to the bearer token")
    else:
        return None
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(f"{where}: a bearer token must be printable ASCII without spaces")
    return Authorization("Bearer", token.encode())


def _read_line(path: Path, where: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise InputError(f"{where}: can't be read: {reason}") from error
    if not text.strip():
        raise InputError(f"{where}: is empty: put the secret on its first line")
    if "\n" in text:
        raise InputError(f"{where}: has more than one line: the secret must be the only one")
    return text
