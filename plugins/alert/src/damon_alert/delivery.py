"""Getting notifications to one receiver, from a thread of its own, without delaying anybody."""

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

#: A receiver's troubles are logged at most so often.
_LOG_AGAIN_S = 60.0
#: How long, after the end, a send that was told to stop is waited for.
_CANCEL_GRACE_S = 1.0


@frozen
class ReceiverStats:
    """How one receiver has fared since the callback was made; a copy, taken at one moment.

    Attributes:
        receiver: What logs call it.
        sent: Notifications delivered, repeats included.
        failed: Notifications given up: refused, or tried for too long.
        dropped: Notifications never tried: the queue was full, or monitoring ended.
        queued: Notifications that wait.
    """

    receiver: str
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    queued: int = 0


class Counters:
    """The counts of one receiver, written by several threads.

    Args:
        receiver: What logs call it.
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
        """The counts at this moment."""
        return self._stats


@frozen
class Backoff:
    """How long to wait before the next attempt: twice as long each time, never all at once.

    Attributes:
        first_s: Seconds before the second attempt, at most.
        longest_s: Seconds that no pause exceeds.
    """

    first_s: float = 0.5
    longest_s: float = 30.0

    def pause_s(self, failures: int, rng: random.Random) -> float:
        """Return the pause after so many failures in a row: between half and the whole of it."""
        # Beyond 2**30 every pause is the longest; larger powers would only overflow.
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return whole * rng.uniform(0.5, 1.0)


@frozen
class DeliveryPolicy:
    """What is tried before a notification is lost.

    Attributes:
        queue_length: How many notifications may wait.
        retry_for_us: How long one is tried again, microseconds from its first attempt.
        backoff: The pauses between attempts.
    """

    queue_length: int = 100
    retry_for_us: int = 300_000_000
    backoff: Backoff = Backoff()


class _Seldom:
    """Says yes to the first of many occasions, then not again for a while."""

    def __init__(self) -> None:
        self._next_s = float("-inf")

    def now(self) -> bool:
        if time.monotonic() < self._next_s:
            return False
        self._next_s = time.monotonic() + _LOG_AGAIN_S
        return True


class Delivery:
    """One receiver's queue and thread, for one run of a context.

    Args:
        notifier: Sends to the receiver.
        policy: What is tried before a notification is lost.
        counters: Where to count.
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
        self._drop_log, self._retry_log, self._given_up_log = _Seldom(), _Seldom(), _Seldom()
        self._failure_logged = False
        # A daemon: a receiver that hangs must not keep the program from ending.
        self._thread = threading.Thread(
            target=self._work, name=f"alert {notifier.description}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, notification: Notification) -> None:
        """Queue a notification; never waits. A full queue drops it, and counts that."""
        with self._changed:
            self._note_firing(notification)
            if len(self._queue) < self._policy.queue_length:
                self._queue.append(notification)
                self._counters.add(queued=1)
                self._changed.notify()
                return
        self._counters.add(dropped=1)
        if self._drop_log.now():
            logger.error(
                "%s: its queue of %d is full; %d notifications dropped so far",
                self._notifier.description,
                self._policy.queue_length,
                self._counters.stats.dropped,
            )

    def request_close(self) -> None:
        """Ask the thread to try once what is queued, and to end."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self, deadline_s: float) -> None:
        """End the thread; what isn't delivered by then is dropped, counted and logged.

        Args:
            deadline_s: Until when to wait, on `time.monotonic`; a send that is then told to stop
                gets a second more.
        """
        self.request_close()
        if self._thread.ident is not None:  # else it couldn't be started
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
            if self._thread.is_alive():
                self._cancelled.set()
        with self._changed:
            left = len(self._queue)
            self._queue.clear()
            self._counters.add(dropped=left, queued=-left)
        if self._cancelled.is_set():
            logger.error(
                "%s: not done in time at the end; %d notifications dropped",
                self._notifier.description,
                left,
            )
            self._thread.join(max(0.0, deadline_s + _CANCEL_GRACE_S - time.monotonic()))

    # -- repeats: the state of alerts is kept here, so that a full queue can't lose it -----

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
        """Return the repeat that is due, else for how many seconds there is none."""
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
        """Wait for a notification that is queued or has to be repeated; None ends the thread."""
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
        """Try until it is delivered, refused, or not worth trying any longer."""
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
                self._tell_given_up(notification, failures, error)
                return

    def _attempt(self, notification: Notification) -> DeliveryError | None:
        try:
            self._notifier.send(notification, self._cancelled)
        except DeliveryError as error:
            self._tell_failing(error)
            return error
        except Exception as error:  # a mistake in a notifier may not end its thread
            logger.exception("%s failed unexpectedly", self._notifier.description)
            return DeliveryError(f"{type(error).__name__}: {error}", temporary=False)
        if self._failure_logged:
            self._failure_logged = False
            logger.warning("%s: works again", self._notifier.description)
        return None

    def _tell_failing(self, error: DeliveryError) -> None:
        if error.temporary and self._retry_log.now():
            self._failure_logged = True
            logger.warning(
                "%s: %s; trying again for up to %s",
                self._notifier.description,
                error,
                format_duration(self._policy.retry_for_us),
            )

    def _tell_given_up(
        self, notification: Notification, attempts: int, error: DeliveryError
    ) -> None:
        if self._given_up_log.now():
            logger.error(
                "%s: gave up alert '%s' (%s) after %d attempts: %s; %d given up so far",
                self._notifier.description,
                notification.rule.name,
                notification.status,
                attempts,
                error,
                self._counters.stats.failed,
            )
