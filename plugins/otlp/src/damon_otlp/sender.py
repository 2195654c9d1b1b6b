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
from collections.abc import Hashable, Iterator

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult

from damon_core import HookContext, InputError, one_line
from damon_core.metrics import OF_CONTEXTS, OF_SNAPSHOTS, Exports, Measures
from damon_otlp import metrics
from damon_otlp.headers import read_headers
from damon_otlp.metrics import Collection, Since
from damon_otlp.options import OtlpOptions
from damon_otlp.points import add_context, add_measure, add_process
from damon_otlp.resources import resource_of_host

logger = logging.getLogger(__name__)

#: The logger of the SDK's exporter.
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
#: How long the end may take beyond the time of a delivery.
GRACE_S = 1.0


class Sender:
    """Delivers the metrics of any number of contexts, from the first one's start to the last's end.

    Args:
        options: Where to, how often, and what.

    Attributes:
        failed: How many deliveries failed.
        delivered: How many didn't.
        cpu_s: The CPU time that they cost, in seconds.

    Raises:
        InputError: The headers or certificates can't be read.
    """

    def __init__(self, options: OtlpOptions) -> None:
        self.failed = self.delivered = 0
        self.cpu_s = 0.0
        self._options = options
        self._headers = read_headers(options)
        if options.ca_file is not None and not os.access(options.ca_file, os.R_OK):
            raise InputError(f"ca_file '{options.ca_file}' can't be read: name a PEM file")
        self._host = resource_of_host(options.service_name)
        self._lock = threading.Lock()
        self._exports: Exports[OtlpOptions] = Exports()
        self._measures = Measures([each.flat_name for each in (*OF_SNAPSHOTS, *OF_CONTEXTS)])
        self._run: _Run | None = None

    def begin(self, user: Hashable, context: HookContext, options: OtlpOptions) -> None:
        """Send a context's metrics from now on.

        Args:
            user: What the context is known by in other calls.
            context: The context.
            options: What of it is sent.
        """
        with self._lock:
            self._exports.begin(user, context, options)
            if self._run is None:
                self._run = _Run(self, self._options, self._headers)
                self._run.start()

    def follow(self, user: Hashable, context: HookContext) -> None:
        """Send the last snapshot of a context; called in its worker."""
        self._exports.follow(user, context)

    def end(self, user: Hashable) -> None:
        """Send a context's counts once more; if it is the last one, now, and wait for that."""
        with self._lock:
            self._exports.end(user)
            if not all(exported.ended for exported, _ in self._exports.current()):
                return
            run, self._run = self._run, None
        if run is not None:
            run.stop()

    def collect(
        self, since: Since | None, begin_ns: int, shares: dict[str, float] | None = None
    ) -> Collection:
        """Return the current values; forget contexts that have ended.

        Args:
            since: What counters were at the last delivery; None: they say the whole count.
            begin_ns: When the sender began, Unix nanoseconds.
            shares: Is given the CPU time that was for single contexts, in seconds, by their labels.
        """
        current = self._exports.current()
        collection = Collection(time.time_ns(), since)
        add_process(collection, self._host, begin_ns)
        for outcome, count in (("success", self.delivered), ("failure", self.failed)):
            attributes = {"damon.otlp.outcome": outcome}
            collection.add(metrics.DELIVERIES, self._host, attributes, count, begin_ns)
        collection.add(metrics.SENDING, self._host, {}, self.cpu_s, begin_ns)
        for exported, context in current:
            before_s = time.thread_time()
            add_context(collection, self._host, exported, context)
            if shares is not None:
                shares[exported.label] = time.thread_time() - before_s
        for measured in self._measures.collect(current):
            add_measure(collection, self._host, measured, begin_ns)
        self._exports.forget([exported for exported, _ in current if exported.ended])
        return collection

    def charge(self, cpu_s: float, shares: dict[str, float]) -> None:
        """Add what a delivery has cost to the contexts that are sent.

        Args:
            cpu_s: All of it, in seconds of CPU time.
            shares: What of it was for one context, by its label; the rest is for all alike.
        """
        self.cpu_s += cpu_s
        self._exports.charge(cpu_s, shares)


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
        before_s, shares = time.thread_time(), dict[str, float]()
        try:
            self._deliver_now(shares)
        finally:
            # The thread does nothing else.
            self._sender.charge(time.thread_time() - before_s, shares)

    def _deliver_now(self, shares: dict[str, float]) -> None:
        try:
            collection = self._sender.collect(self._since, self._begin_ns, shares)
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
