"""The page of metrics, in the format that a client wants."""

import gzip
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import field, frozen
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder, gzip_accepted

from damon_prometheus.collector import ContextsCollector
from damon_prometheus.families import SNAPSHOTS
from damon_prometheus.lines import Lines

#: Compression that costs little beside making the page. A page is sent once.
_COMPRESSION_LEVEL = 1
_END = b"# EOF\n"
#: Formats that escape any name.
_ESCAPING = ("escaping=dots", "escaping=values")


@frozen
class _Metrics:
    """What the client library's encoders take."""

    metrics: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.metrics


@frozen
class Format:
    """A format of the client library.

    Attributes:
        content_type: What it is called.
    """

    content_type: str
    _encode: Callable[[_Metrics], bytes] = field(repr=False)
    _series: Lines = field(factory=Lines, init=False, repr=False)

    @classmethod
    def wanted(cls, accept: str | None) -> "Format":
        """Return the format that a client asks for, or the plain one if that can't be read."""
        try:
            encode, content_type = choose_encoder(accept or "")
        except (TypeError, ValueError):
            encode, content_type = choose_encoder("")
        return cls(content_type, encode)

    @property
    def plain(self) -> Lines | None:
        """Renders series as the format has them; None if it escapes plain names, too."""
        return None if self.content_type.endswith(_ESCAPING) else self._series

    def page(self, metrics: Iterable[Metric]) -> bytes:
        """Return whole metrics, without the end of the page."""
        return b"".join(map(self._whole, metrics))

    def _whole(self, metric: Metric) -> bytes:
        lines = self._plain_lines(metric)
        return self._rendered(metric) if lines is None else self._head(metric) + lines

    def lines(self, metric: Metric) -> bytes:
        """Return the series of a metric, without its description."""
        lines = self._plain_lines(metric)
        if lines is not None:
            return lines
        return self._rendered(metric).removeprefix(self._head(metric))

    def _plain_lines(self, metric: Metric) -> bytes | None:
        """Return the series of a metric, if the library's encoder isn't needed for them."""
        return None if self.plain is None else self.plain.of(metric)

    def _head(self, metric: Metric) -> bytes:
        empty = Metric(metric.name, metric.documentation, metric.type, metric.unit)
        return self._rendered(empty)

    def _rendered(self, metric: Metric) -> bytes:
        return self._encode(_Metrics([metric])).removesuffix(_END)

    @property
    def end(self) -> bytes:
        """What ends a page."""
        return _END if "openmetrics" in self.content_type else b""


@frozen
class Answer:
    """A page of metrics.

    Attributes:
        headers: Its headers.
        body: The page.
        shares: What of the CPU time was for one context, in seconds, by its label.
    """

    headers: list[tuple[str, str]]
    body: bytes = field(repr=False)
    shares: dict[str, float]


class Exposition:
    """Makes pages of the metrics of contexts, and of further collectors.

    Args:
        contexts: The contexts.
        registry: The further collectors.
    """

    def __init__(self, contexts: ContextsCollector, registry: CollectorRegistry) -> None:
        self._contexts, self._registry = contexts, registry

    def answer(
        self, accept: str | None, accept_encoding: str | None, names: Sequence[str] = ()
    ) -> Answer:
        """Return the page.

        Args:
            accept: The format that the client wants.
            accept_encoding: The compression that it can read.
            names: The names of the series that it wants; all if there are none.
        """
        shares: dict[str, float] = {}
        wanted = Format.wanted(accept)
        if names:
            body = wanted.page(self._restricted(set(names)))
        else:
            body = b"".join(self._whole(wanted, shares))
        body += wanted.end
        headers = [("Content-Type", wanted.content_type)]
        if gzip_accepted(accept_encoding or ""):
            body = gzip.compress(body, _COMPRESSION_LEVEL, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return Answer(headers, body, shares)

    def _whole(self, wanted: Format, shares: dict[str, float]) -> Iterator[bytes]:
        rendered = []
        for served, _ in self._contexts.served():
            before_s = time.thread_time()
            rendered.append(self._contexts.rendered(served, wanted))
            shares[served.label] = time.thread_time() - before_s
        for family in SNAPSHOTS:
            lines = [each[family.name] for each in rendered if each.get(family.name)]
            if lines:
                yield wanted.page([family.empty()])
                yield from lines
        yield wanted.page(self._contexts.counts())
        yield wanted.page(self._registry.collect())

    def _restricted(self, names: set[str]) -> Iterator[Metric]:
        for metric in self._contexts.collect():
            found = [sample for sample in metric.samples if sample.name in names]
            if found:
                metric.samples = found
                yield metric
        yield from self._registry.restricted_registry(names).collect()
