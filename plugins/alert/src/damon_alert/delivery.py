"""Delivery to one receiver, in a separate thread, so that it delays nothing else."""

import logging
import random
import threading
import time
from collections import deque

from attrs import evolve, frozen

from damon_alert.notification import Notification
from damon_alert.notifiers import DeliveryError, Notifier
from damon_core import format_duration

logger = logging.getLogger(__name__)

#: A receiver's failures are logged at most once in this time.
_LOG_AGAIN_S = 60.0
#: How long to wait, at the end, for a cancelled send to return.
_CANCEL_GRACE_S = 1.0


@frozen
class ReceiverStats:
    """The counts of one receiver since the callback was made; a copy, taken at one moment.

    Attributes:
        receiver: The receiver's name in logs.
        sent: Notifications delivered, repeats included.
        failed: Notifications given up: refused, or retried for too long.
        dropped: Notifications never tried: the queue was full, or monitoring ended.
        queued: Notifications that wait for delivery.
    """

    receiver: str
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    queued: int = 0


class Counters:
    """The counts of one receiver, written by several threads.

    Args:
        receiver: The receiver's name in logs.
    """

    def __init__(self, receiver: str) -> None:
        self._lock = threading.Lock()
        self._stats = ReceiverStats(receiver)

    def add(self, *, sent: int = 0, failed: int = 0, dropped: int = 0, queued: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            now = self._stats
            self._stats = evolve(
                now,
                sent=now.sent + sent,
                failed=now.failed + failed,
                dropped=now.dropped + dropped,
                queued=now.queued + queued,
            )

    @property
    def stats(self) -> ReceiverStats:
        """The current counts."""
        return self._stats


@frozen
class Backoff:
    """The pauses between attempts: each twice as long as the last, shortened at random.

    Attributes:
        first_s: Maximum seconds before the second attempt.
        longest_s: Maximum seconds of any pause.
    """

    first_s: float = 0.5
    longest_s: float = 30.0

    def pause_s(self, failures: int, rng: random.Random) -> float:
        """Return the seconds to wait after a number of failures in a row.

        The pause is random, from half to the whole of the doubled time, so that receivers of
        many machines aren't retried at the same moment.
        """
        # Beyond 2**30 every pause is the longest; larger powers would only overflow.
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return whole * rng.uniform(0.5, 1.0)


@frozen
class DeliveryPolicy:
    """Limits of queueing and retrying before a notification is lost.

    Attributes:
        queue_length: Maximum number of waiting notifications.
        retry_for_us: How long a notification is retried, microseconds from its first attempt.
        backoff: The pauses between attempts.
    """

    queue_length: int = 100
    retry_for_us: int = 300_000_000
    backoff: Backoff = Backoff()


class _LogLimit:
    """Limits a kind of message to one per `_LOG_AGAIN_S`."""

    def __init__(self) -> None:
        self._next_s = float("-inf")

    def allows(self) -> bool:
        """Return whether to log now; if so, the next message is allowed `_LOG_AGAIN_S` later."""
        if time.monotonic() < self._next_s:
            return False
        self._next_s = time.monotonic() + _LOG_AGAIN_S
        return True


class Delivery:
    """One receiver's queue and thread, for one run of a context.

    Args:
        notifier: The notifier that sends to the receiver.
        policy: Limits of queueing and retrying.
        counters: The receiver's counts, to be updated.
    """

    def __init__(self, notifier: Notifier, policy: DeliveryPolicy, counters: Counters) -> None:
        self._notifier = notifier
        self._policy = policy
        self._counters = counters
        self._rng = random.Random()
        self._changed = threading.Condition()
        # The four below are guarded by the condition.
        self._queue: deque[Notification] = deque()
        self._firing: dict[tuple[str, str, str | None], Notification] = {}
        self._repeat_at_s: dict[tuple[str, str, str | None], float] = {}
        self._closing = False
        self._cancelled = threading.Event()
        self._drop_log, self._retry_log, self._given_up_log = _LogLimit(), _LogLimit(), _LogLimit()
        self._failure_logged = False
        # A daemon: a hanging receiver must not keep the program from ending.
        self._thread = threading.Thread(
            target=self._work, name=f"alert {notifier.description}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, notification: Notification) -> None:
        """Queue a notification without waiting; if the queue is full, drop and count it."""
        with self._changed:
            self._note_firing(notification)
            if len(self._queue) < self._policy.queue_length:
                self._queue.append(notification)
                self._counters.add(queued=1)
                self._changed.notify()
                return
        self._counters.add(dropped=1)
        if self._drop_log.allows():
            logger.error(
                "%s: its queue of %d is full; %d notifications dropped so far",
                self._notifier.description,
                self._policy.queue_length,
                self._counters.stats.dropped,
            )

    def request_close(self) -> None:
        """Ask the thread to try each queued notification once, and then to end."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self, deadline_s: float) -> None:
        """End the thread; notifications that aren't delivered in time are dropped and counted.

        Args:
            deadline_s: Until when to wait, on `time.monotonic`; a send in progress is then
                cancelled, and gets one more second to return.
        """
        self.request_close()
        if self._thread.ident is not None:  # None if it couldn't be started
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
            if self._thread.is_alive():
                self._cancelled.set()
        with self._changed:
            left = len(self._queue)
            self._queue.clear()
            self._counters.add(dropped=left, queued=-left)
        if self._cancelled.is_set():
            logger.error(
                "%s: delivery didn't finish before the end of monitoring; %d notifications dropped",
                self._notifier.description,
                left,
            )
            self._thread.join(max(0.0, deadline_s + _CANCEL_GRACE_S - time.monotonic()))

    # -- repeats: firing alerts are kept beside the queue, so that a full queue loses none ---

    def _note_firing(self, notification: Notification) -> None:
        repeat_s = self._notifier.repeat_s
        if repeat_s is None:
            return
        if notification.status == "firing":
            self._firing[notification.key] = notification
            self._repeat_at_s[notification.key] = time.monotonic() + repeat_s
        else:
            self._firing.pop(notification.key, None)
            self._repeat_at_s.pop(notification.key, None)

    def _next_repeat(self) -> tuple[Notification | None, float | None]:
        """Return the repeat that is due, if any, else the seconds until the next one."""
        repeat_s = self._notifier.repeat_s
        if repeat_s is None or not self._repeat_at_s:
            return None, None
        key = min(self._repeat_at_s, key=lambda key: self._repeat_at_s[key])
        left_s = self._repeat_at_s[key] - time.monotonic()
        if left_s > 0:
            return None, left_s
        self._repeat_at_s[key] = time.monotonic() + repeat_s
        return self._firing[key], None

    # -- the thread ------------------------------------------------------------------

    def _work(self) -> None:
        while (notification := self._next()) is not None:
            self._deliver(notification)

    def _next(self) -> Notification | None:
        """Wait for a notification to send, queued or repeated; None ends the thread."""
        with self._changed:
            while True:
                if self._queue:
                    self._counters.add(queued=-1)
                    return self._queue.popleft()
                if self._closing:
                    return None
                repeat, left_s = self._next_repeat()
                if repeat is not None:
                    return repeat
                self._changed.wait(left_s)

    def _deliver(self, notification: Notification) -> None:
        """Try to send until the notification is delivered, refused, or given up."""
        give_up_s = time.monotonic() + self._policy.retry_for_us / 1e6
        failures = 0
        while True:
            error = self._attempt(notification)
            if error is None:
                self._counters.add(sent=1)
                return
            failures += 1
            pause_s = self._policy.backoff.pause_s(failures, self._rng)
            with self._changed:
                again = (
                    error.temporary and not self._closing and time.monotonic() + pause_s < give_up_s
                )
                if again:
                    self._changed.wait_for(lambda: self._closing, pause_s)
            if not again:
                self._counters.add(failed=1)
                self._log_given_up(notification, failures, error)
                return

    def _attempt(self, notification: Notification) -> DeliveryError | None:
        try:
            self._notifier.send(notification, self._cancelled)
        except DeliveryError as error:
            self._log_failing(error)
            return error
        except Exception as error:  # a bug in a notifier must not end its thread
            logger.exception("%s failed unexpectedly", self._notifier.description)
            return DeliveryError(f"{type(error).__name__}: {error}", temporary=False)
        if self._failure_logged:
            self._failure_logged = False
            logger.warning("%s: works again", self._notifier.description)
        return None

    def _log_failing(self, error: DeliveryError) -> None:
        if error.temporary and self._retry_log.allows():
            self._failure_logged = True
            logger.warning(
                "%s: %s; trying again for up to %s",
                self._notifier.description,
                error,
                format_duration(self._policy.retry_for_us),
            )

    def _log_given_up(
        self, notification: Notification, attempts: int, error: DeliveryError
    ) -> None:
        if self._given_up_log.allows():
            logger.error(
                "%s: gave up alert '%s' (%s) after %d attempts: %s; %d given up so far",
                self._notifier.description,
                notification.rule.name,
                notification.status,
                attempts,
                error,
                self._counters.stats.failed,
            )
