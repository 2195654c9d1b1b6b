"""HTTP POST of one JSON document to one configured address.

This uses `http.client` because it neither follows redirects nor uses proxies from environment
variables, so a document and its credentials go to the configured host or nowhere.
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from damon_alert.notifiers.base import DeliveryError
from damon_alert.options import Notify
from damon_core import InputError, format_duration

#: Statuses below 500 after which another attempt may succeed; all from 500 on are temporary too.
_TEMPORARY = (408, 425, 429)
_LONGEST_SECRET_BYTES = 65_536
#: How soon an attempt that is cancelled is abandoned.
_LOOK_S = 0.05


class Endpoint:
    """An address to post JSON to.

    Args:
        notify: The options of a receiver of the kind ``http`` or ``alertmanager``.
        path: A path to append to that of the address.

    Raises:
        InputError: A header's variable or file, or the file of certificates, is missing or not
            readable.
    """

    def __init__(self, notify: Notify, path: str = "") -> None:
        parts = urlsplit(notify.url or "")
        assert parts.hostname is not None, "checked by Notify"
        self._host = parts.hostname
        # Always explicit: without a port, http.client takes the last part of an IPv6 address.
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._path = (parts.path.rstrip("/") + path if path else parts.path) or "/"
        if parts.query:
            self._path += f"?{parts.query}"
        self._timeout_s = notify.time_limit / 1e6
        self._tls = _tls(notify.ca_file) if parts.scheme == "https" else None
        # Without path and query: those of a hook are often secret.
        self.address = f"{parts.scheme}://{parts.netloc}"
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "damon-alert",
            **notify.headers,
            **{name: _variable(name, key) for name, key in notify.headers_from_env.items()},
        }
        self._header_files = dict(notify.headers_from_file)
        self._file_headers()  # to report a missing file at once, not at the first alert

    def post(self, document: Any, cancelled: threading.Event) -> None:
        """Post a document once, within the time limit for the whole of it.

        Args:
            document: The document.
            cancelled: Set when the attempt should be abandoned.

        Raises:
            DeliveryError: The host can't be reached, takes too long, or its response isn't a
                success; or the attempt was abandoned.
        """
        try:
            headers = self._headers | self._file_headers()
        except InputError as error:
            raise DeliveryError(str(error), temporary=True) from error
        # The timeout of a socket is for each of its operations, and a name's resolution has none:
        # a thread can be left alone.
        connection = self.connection()
        exchange: Future[tuple[int, bytes]] = Future()
        work = partial(self._exchange_into, exchange, connection, document, headers)
        threading.Thread(target=work, name=f"post to {self._host}", daemon=True).start()
        deadline_s = time.monotonic() + self._timeout_s
        while not cancelled.is_set() and (left_s := deadline_s - time.monotonic()) > 0:
            try:
                status, body = exchange.result(min(left_s, _LOOK_S))
            except FutureTimeoutError:
                continue
            _check(status, body)
            return
        _abandon(connection)
        limit = format_duration(self._timeout_s * 1e6)
        reason = "monitoring is over" if cancelled.is_set() else f"took longer than {limit}"
        raise DeliveryError(f"was abandoned: {reason}", temporary=True)

    def _exchange_into(
        self,
        exchange: "Future[tuple[int, bytes]]",
        connection: http.client.HTTPConnection,
        document: Any,
        headers: dict[str, str],
    ) -> None:
        """Make the exchange, in its thread."""
        try:
            exchange.set_result(self._exchange(connection, document, headers))
        except BaseException as error:
            exchange.set_exception(error)

    def _exchange(
        self, connection: http.client.HTTPConnection, document: Any, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Post a document and return the status and the beginning of the body."""
        try:
            connection.request("POST", self._path, json.dumps(document).encode(), headers)
            with connection.getresponse() as response:
                return response.status, response.read(200)
        except (OSError, http.client.HTTPException) as error:
            # OSErrors and http.client's errors often come without a text.
            raise DeliveryError(
                str(error).strip() or type(error).__name__, temporary=True
            ) from error
        except ValueError as error:
            raise DeliveryError(f"the request can't be made: {error}", temporary=False) from error
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection to the host, not open yet."""
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._tls
        )

    def _file_headers(self) -> dict[str, str]:
        """Return the headers from files, read for each request: secrets may be replaced."""
        return {name: _secret(path) for name, path in self._header_files.items()}


def _abandon(connection: http.client.HTTPConnection) -> None:
    """End what goes on with a connection in another thread."""
    if (socket_ := connection.sock) is not None:
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            socket_.shutdown(socket.SHUT_RDWR)


def _check(status: int, body: bytes) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryError(
            f"answered {status}, a redirect, which isn't followed: configure the final address",
            temporary=False,
        )
    reason = "".join(char for char in body.decode(errors="replace") if char.isprintable())
    raise DeliveryError(
        f"answered {status}{': ' if reason else ''}{reason}",
        temporary=status >= 500 or status in _TEMPORARY,
    )


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(f"alert: ca_file '{ca_file}': {error.strerror or error}") from error


def _variable(name: str, key: str) -> str:
    value = os.environ.get(key)
    if not value:
        raise InputError(f"alert: header {name}: the environment variable '{key}' is not set")
    return _header_value(value, f"environment variable '{key}'")


def _secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_SECRET_BYTES).decode(errors="replace")
    except OSError as error:
        raise InputError(f"alert: header file '{path}': {error.strerror}") from error
    return _header_value(content, f"header file '{path}'")


def _header_value(text: str, source: str) -> str:
    value = text.strip()
    if not value or not value.isprintable() or not value.isascii():
        raise InputError(f"alert: {source}: must hold one line of printable ASCII")
    return value
