"""Shared by the tests of damon-prometheus: a primitive with given accesses, and a client."""

import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from itertools import accumulate
from pathlib import Path

import pytest
from damon_prometheus import Listener, ListenerOptions, TlsOptions

from damon_core import Clock, Context, Intervals, Owner, Toll, VirtualClock
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion

MIB = 1 << 20


HALF_IDLE = {"one": [(3 * MIB, 1.0), (5 * MIB, 0.0)]}


def memory(
    targets: Mapping[str, list[tuple[int, float]]],
    checks: int | None,
    owners: Mapping[str, list[Owner]] | None,
    tolls: Mapping[str, Toll] | None,
) -> ScriptedMemory:
    """Return memory whose targets are given as ``{name: [(size, accessed share), ...]}``."""

    def regions(areas: list[tuple[int, float]]) -> list[ScriptedRegion]:
        ends = list(accumulate(size for size, _ in areas))
        return [
            ScriptedRegion(end - size, end, share)
            for end, (size, share) in zip(ends, areas, strict=True)
        ]

    scripts = {name: regions(areas) for name, areas in targets.items()}
    return ScriptedMemory(scripts, checks, owners=owners, tolls=tolls)


@pytest.fixture
def make_context() -> Callable[..., Context]:
    """Return a function that makes contexts over numbers.

    ``at_aggregation(context)`` is called in the worker after each aggregation; its true result
    stops the context, which otherwise runs for `checks` access checks.
    """

    def make(
        *callbacks: object,
        targets: Mapping[str, list[tuple[int, float]]] = HALF_IDLE,
        name: str = "db",
        checks: int | None = 20,
        at_aggregation: Callable[[Context], object] = lambda _context: False,
        clock: Clock | None = None,
        owners: Mapping[str, list[Owner]] | None = None,
        tolls: Mapping[str, Toll] | None = None,
    ) -> Context:
        return Context(
            memory(targets, checks, owners, tolls),
            [*callbacks, Recorder(after_aggregation=at_aggregation)],
            intervals=Intervals(sampling_us=5_000, aggregation_us=50_000, update_us=100_000),
            name=name,
            clock=clock or VirtualClock(),
        )

    return make


@pytest.fixture
def get() -> Callable[..., tuple[str, Message]]:
    """Return a function that returns body and headers of the response of a URL."""

    def get_url(
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        method: str = "GET",
    ) -> tuple[str, Message]:
        request = urllib.request.Request(url, headers=dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=tls) as answer:
                return answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            # Else its connection stays open for as long as the traceback is kept.
            error.close()
            raise

    return get_url


@pytest.fixture
def values() -> Callable[[Listener], dict[str, float]]:
    """Return a function that returns the values of a scrape, keyed like ``name{a="b"}``."""

    def collect(listener: Listener) -> dict[str, float]:
        result: dict[str, float] = {}
        for family in (*listener.contexts.collect(), *listener.registry.collect()):
            for sample in family.samples:
                labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
                key = f"{sample.name}{{{labels}}}" if labels else sample.name
                assert key not in result, f"{key} twice"
                result[key] = sample.value
        return result

    return collect


@pytest.fixture
def make_listener() -> Iterator[Callable[..., Listener]]:
    """Return a function that makes listeners on free ports, closed after the test."""
    made: list[Listener] = []

    def make(**options: object) -> Listener:
        listener = Listener(ListenerOptions(port=0, **options))  # type: ignore[arg-type]
        listener.acquire("test")
        made.append(listener)
        return listener

    yield make
    for listener in made:
        listener.release("test")


@pytest.fixture
def certificate(tmp_path: Path) -> TlsOptions:
    """Return a fresh self-signed certificate for 127.0.0.1."""
    files = TlsOptions(tmp_path / "cert.pem", tmp_path / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", str(files.certificate_file), "-keyout", str(files.key_file)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return files
