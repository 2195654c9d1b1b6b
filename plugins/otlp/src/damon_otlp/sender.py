"""One sender, shared by all contexts with the same options: a thread that collects and delivers.

What is delivered is what contexts have published last. Nothing waits in a queue: while the receiver
can't be reached, values are left out, and counters go on with the next delivery.

The SDK's own instruments aren't used: they keep each set of attributes that they were ever given,
up to 2,000, and processes come and go. The SDK delivers: its exporter encodes, and tries again.
"""

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Hashable, Iterator

from attrs import define
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult

from damon_core import Context, InputError, one_line
from damon_otlp import metrics
from damon_otlp.figures import Published, add_context, add_process
from damon_otlp.headers import read_headers
from damon_otlp.metrics import Collection, Since
from damon_otlp.options import OtlpOptions
from damon_otlp.resources import resource_of_host

logger = logging.getLogger(__name__)

#: The logger of the SDK's exporter.
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
#: How long the end may take beyond the time of a delivery.
GRACE_S = 1.0


@define(eq=False)
class _Served:
    """A context whose metrics are sent.

    Attributes:
        context: It. Weak: a context that is dropped without an end is forgotten.
        label: What points call it.
        begin_ns: When it was started, Unix nanoseconds.
        ended: Whether it has ended: then it is sent once more.
    """

    context: weakref.ref[Context]
    label: str
    begin_ns: int
    ended: bool = False


class Sender:
    """Delivers the metrics of any number of contexts, from the first one's start to the last's end.

    Args:
        options: Where to, how often, and what.

    Attributes:
        failed: How many deliveries failed.
        delivered: How many didn't.

    Raises:
        InputError: The headers or certificates can't be read.
    """

    def __init__(self, options: OtlpOptions) -> None:
        self.failed = self.delivered = 0
        self._options = options
        self._headers = read_headers(options)
        if options.ca_file is not None and not os.access(options.ca_file, os.R_OK):
            raise InputError(f"ca_file '{options.ca_file}' can't be read: name a PEM file")
        self._host = resource_of_host(options.service_name)
        self._lock = threading.Lock()
        self._served: dict[Hashable, _Served] = {}
        self._run: _Run | None = None

    def begin(self, user: Hashable, context: Context) -> None:
        """Send a context's metrics from now on."""
        with self._lock:
            taken = {each.label for each in self._served.values() if not each.ended}
            label, number = context.name, 1
            while label in taken:
                number += 1
                label = f"{context.name}#{number}"
            self._served[user] = _Served(weakref.ref(context), label, time.time_ns())
            if self._run is None:
                self._run = _Run(self, self._options, self._headers)
                self._run.start()

    def end(self, user: Hashable) -> None:
        """Send a context's counts once more; if it is the last one, now, and wait for that."""
        with self._lock:
            served = self._served.get(user)
            if served is None:
                return
            served.ended = True
            if not all(each.ended for each in self._served.values()):
                return
            run, self._run = self._run, None
        if run is not None:
            run.stop()

    def collect(self, since: Since | None, begin_ns: int) -> Collection:
        """Return the current values; forget contexts that have ended."""
        with self._lock:
            found = [
                Published(
                    each.label,
                    each.begin_ns,
                    not each.ended,
                    context.stats,
                    context.intervals,
                    context.snapshot,
                )
                for each in self._served.values()
                if (context := each.context()) is not None
            ]
            self._served = {
                user: each
                for user, each in self._served.items()
                if not each.ended and each.context() is not None
            }
        collection = Collection(time.time_ns(), since)
        add_process(collection, self._host, begin_ns)
        for outcome, count in (("success", self.delivered), ("failure", self.failed)):
            attributes = {"damon.otlp.outcome": outcome}
            collection.add(metrics.DELIVERIES, self._host, attributes, count, begin_ns)
        for published in found:
            add_context(collection, self._host, published, self._options)
        return collection


class _Run:
    """The thread of a sender, from the start of its first context to the end of its last."""

    def __init__(self, sender: Sender, options: OtlpOptions, headers: dict[str, str]) -> None:
        self._sender = sender
        self._interval_s = options.interval / 1e6
        self._timeout_s = options.timeout / 1e6
        self._endpoint = options.endpoint
        self._begin_ns = time.time_ns()
        self._since = Since(self._begin_ns) if options.temporality == "delta" else None
        self._exporter = OTLPMetricExporter(
            options.endpoint,
            certificate_file=None if options.ca_file is None else str(options.ca_file),
            # None: what OTEL_EXPORTER_OTLP_HEADERS says.
            headers=headers or None,
            timeout=self._timeout_s,
        )
        self._ending = threading.Event()
        self._fails = False
        self._thread = threading.Thread(target=self._work, name="damon-otlp", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver once more and end, within the time of a delivery."""
        self._ending.set()
        if self._fails:
            # A receiver that can't be reached isn't waited for.
            self._exporter.shutdown()
            self._thread.join(self._timeout_s)
            return
        self._thread.join(self._timeout_s)
        if self._thread.is_alive():
            logger.error("the last metrics weren't delivered to %s in time", self._endpoint)
        # One that is tried again and again gives up now.
        self._exporter.shutdown()

    def _work(self) -> None:
        due_s = time.monotonic() + self._interval_s
        while not self._ending.wait(max(due_s - time.monotonic(), 0.0)):
            self._deliver()
            # Those that were missed aren't made up for.
            due_s = max(due_s + self._interval_s, time.monotonic())
        self._deliver()

    def _deliver(self) -> None:
        try:
            collection = self._sender.collect(self._since, self._begin_ns)
            with _reasons() as reasons:
                result = self._exporter.export(collection.data())
        except Exception as error:
            logger.exception("metrics can't be collected or sent: %s", one_line(error))
            self._sender.failed += 1
            return
        if result is MetricExportResult.SUCCESS:
            self._sender.delivered += 1
            if self._since is not None:
                self._since = collection.delivered()
            if self._fails:
                logger.info("metrics are delivered to %s again", self._endpoint)
            self._fails = False
            return
        self._sender.failed += 1
        if not self._fails:
            logger.error(
                "metrics can't be delivered to %s: %s; this is tried again every %g s",
                self._endpoint,
                reasons[-1] if reasons else "no reason is known",
                self._interval_s,
            )
        self._fails = True


class _Reasons(logging.Filter):
    """Keeps what a thread logs from the log, for lines of our own."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self.found: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep a line of this thread; let others pass."""
        if record.thread != self._thread:
            return True
        self.found.append(record.getMessage())
        return False


@contextlib.contextmanager
def _reasons() -> Iterator[list[str]]:
    """Collect what the exporter says in this thread, which it says at each failure and retry."""
    reasons = _Reasons()
    exporter = logging.getLogger(_EXPORTER)
    exporter.addFilter(reasons)
    try:
        yield reasons.found
    finally:
        exporter.removeFilter(reasons)
