"""One listener, shared by all contexts that are served there."""

import errno
import ipaddress
import logging
import os
import socket
import ssl
import threading
import weakref
from collections.abc import Hashable
from typing import Any

from attrs import fields
from prometheus_client import CollectorRegistry, ProcessCollector

from damon_core import InputError
from damon_prometheus.authorization import read_authorization
from damon_prometheus.collector import ContextsCollector
from damon_prometheus.exposition import Exposition
from damon_prometheus.health import Health
from damon_prometheus.lifecycle import Lifecycle
from damon_prometheus.options import ListenerOptions, TlsOptions
from damon_prometheus.server import MetricsServer

logger = logging.getLogger(__name__)
#: What a service logs of its beginning, unlike other lines of this level.
_events = logging.getLogger("damon.events.prometheus")


class Listener:
    """An address where the metrics of any number of contexts are served.

    A listener listens from its construction, responds while a context runs, and closes when its
    last user has ended. A user that starts again opens it again, on the same port. The
    certificate and the secrets are read at each opening.

    Attributes:
        options: The options that were given.
        lifecycle: Reads the configuration again for clients.
        contexts: The collector of the contexts' metrics.
        registry: What is served besides: metrics of the process, and further collectors that you
            may register.

    Raises:
        InputError: The address can't be listened on, or the certificate or a secret can't be
            used.
    """

    def __init__(self, options: ListenerOptions | None = None) -> None:
        self.options = options or ListenerOptions()
        self.contexts = ContextsCollector()
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        # By the link, as /proc may belong to another pid namespace.
        ProcessCollector(registry=self.registry)
        self._health = Health(self.contexts)
        self.lifecycle = Lifecycle(self.options.reload)
        self._family, self._address = resolve(self.options)
        self._lock = threading.Lock()
        self._users: set[Hashable] = set()
        self._server: MetricsServer | None = None
        self._open()

    @property
    def port(self) -> int:
        """The port that the listener uses, or used last."""
        return int(self._address[1])

    @property
    def url(self) -> str:
        """The address of the metrics."""
        scheme = "http" if self.options.tls is None else "https"
        return f"{scheme}://{_host(self._address[0])}:{self.port}/metrics"

    @property
    def is_open(self) -> bool:
        """Whether the listener is open."""
        return self._server is not None

    def acquire(self, user: Hashable) -> None:
        """Keep the listener open for `user`, and open it if it is closed.

        Raises:
            InputError: The listener can't be opened.
        """
        with self._lock:
            if self._server is None:
                self._open()
            self._users.add(user)

    def serve(self) -> None:
        """Begin to respond to requests."""
        with self._lock:
            if self._server is not None:
                self._server.start()

    def release(self, user: Hashable) -> None:
        """Remove a user, and close the listener if it was the last one."""
        with self._lock:
            self._users.discard(user)
            if not self._users and self._server is not None:
                self._server.stop()
                self._closer.detach()
                self._server = None

    def _open(self) -> None:
        options = self.options
        authorization = read_authorization(options)
        tls = None if options.tls is None else _tls_context(options.tls)
        try:
            server = MetricsServer(
                self._family,
                self._address,
                Exposition(self.contexts, self.registry),
                self._health,
                self.lifecycle,
                tls=tls,
                authorization=authorization,
                charge=self.contexts.charge,
            )
        except OSError as error:
            raise InputError(_cannot_listen(options.address, self.port, error)) from error
        # A listener that is discarded without ever being used must not keep its port.
        self._closer = weakref.finalize(self, server.stop)
        self._closer.atexit = False
        self._server = server
        self._address = (self._address[0], server.server_port, *self._address[2:])
        _events.info("serving metrics at %s", self.url)
        if authorization is None and not ipaddress.ip_address(self._address[0]).is_loopback:
            logger.warning(
                "%s is readable from other machines without authentication: set "
                "bearer_token_file or basic_auth, or listen on 127.0.0.1",
                self.url,
            )


class SharedListeners:
    """The listeners of one plugin registration, by address and port.

    A listener is kept only as long as something else refers to it.
    """

    def __init__(self) -> None:
        self._listeners: weakref.WeakValueDictionary[tuple[Any, ...], Listener] = (
            weakref.WeakValueDictionary()
        )

    def get(self, options: ListenerOptions) -> Listener:
        """Return the listener at the address and port of `options`, a new one if there is none.

        Raises:
            InputError: The listener can't be opened, or the existing one differs in TLS,
                authentication or reload.
        """
        _, address = resolve(options)
        known = self._listeners.get(address) if options.port else None
        if known is not None and known.is_open:
            # The configuration's check can't know that two names are of one address.
            differing = [
                each.name
                for each in fields(ListenerOptions)
                if each.metadata.get("same_with")
                and getattr(options, each.name) != getattr(known.options, each.name)
            ]
            if differing:
                raise InputError(
                    f"{_host(address[0])}:{options.port}: two contexts share this listener but "
                    f"differ in {' and '.join(differing)}: make it the same, or give one of them "
                    "another port"
                )
            return known
        listener = Listener(options)
        self._listeners[address] = listener
        return listener


def resolve(options: ListenerOptions) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Return the address family and socket address to listen on.

    Raises:
        InputError: The address is neither an IP address nor a name that can be resolved.
    """
    try:
        found = socket.getaddrinfo(
            options.address, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"address '{options.address}' can't be resolved: {error}: write an address of this "
            "machine, such as 127.0.0.1"
        ) from error
    family, _, _, _, address = found[0]
    return family, address


def _cannot_listen(address: str, port: int, error: OSError) -> str:
    where = f"{_host(address)}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"{where}: the port is in use: choose another 'port', or stop what listens there "
                f"(ss -ltnp 'sport = :{port}' shows it)"
            )
        case errno.EADDRNOTAVAIL:
            return f"{where}: this machine doesn't have that address: change 'address'"
        case errno.EACCES:
            return f"{where}: permission denied: choose a 'port' of 1024 or above"
        case code:
            reason = error.strerror or (os.strerror(code) if code else str(error))
            return f"{where}: can't be listened on: {reason}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _tls_context(options: TlsOptions) -> ssl.SSLContext:
    for path in (options.certificate_file, options.key_file):
        try:
            path.open("rb").close()
        except OSError as error:
            raise InputError(f"tls: {path} can't be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password, so that an encrypted key is an error instead of a prompt.
        context.load_cert_chain(options.certificate_file, options.key_file, password="")
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"tls: {options.certificate_file} and {options.key_file} can't be used: they must be a "
            f"PEM certificate and its unencrypted key ({error})"
        ) from error
    return context
