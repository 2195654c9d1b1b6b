"""Delivery: retried, bounded, counted, and without delaying anything else."""

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from damon_alert import DeliveryError, Notification, Notify
from damon_alert.callback import make_notifier
from damon_alert.delivery import Backoff, Counters, Delivery, DeliveryPolicy

from damon_core import Microseconds
from damon_core.testing import eventually, free_port

Make = Callable[..., Notification]
QUICK = Backoff(first_s=0.001, longest_s=0.002)
#: Far more than anything here takes; only a failing test waits so long.
LONG_S = 30.0


class Receiver:
    """A receiver in this process that fails a given number of times."""

    def __init__(
        self, failures: int = 0, *, temporary: bool = True, repeat_s: float | None = None
    ) -> None:
        self.description = "receiver"
        self.repeat_s = repeat_s
        self.failures = failures
        self.temporary = temporary
        self.received: list[Notification] = []
        self.attempts = 0
        self.gate = threading.Event()
        self.gate.set()

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        self.attempts += 1
        while not self.gate.wait(0.005):
            if cancelled.is_set():
                raise DeliveryError("cancelled", temporary=True)
        if self.failures > 0:
            self.failures -= 1
            raise DeliveryError("not now", temporary=self.temporary)
        self.received.append(notification)


def started(
    notifier: Receiver, *, queue_length: int = 100, retry_for_us: int = 60_000_000
) -> tuple[Delivery, Counters]:
    """Return a delivery whose thread runs, and its counters."""
    counters = Counters(notifier.description)
    policy = DeliveryPolicy(queue_length, retry_for_us, QUICK)
    delivery = Delivery(notifier, policy, counters)
    delivery.start()
    return delivery, counters


def end(delivery: Delivery) -> None:
    """Close with plenty of time."""
    delivery.close(time.monotonic() + LONG_S)


def test_notifications_arrive_in_order(make_notification: Make) -> None:
    """Queued notifications arrive in order, and closing waits for them."""
    receiver = Receiver()
    delivery, counters = started(receiver)
    notifications = [make_notification(number) for number in range(20)]
    for notification in notifications:
        delivery.submit(notification)
    end(delivery)
    assert receiver.received == notifications
    assert (counters.stats.sent, counters.stats.queued) == (20, 0)


def test_failure_is_retried(make_notification: Make) -> None:
    """A notification that fails for a while is finally delivered, once."""
    receiver = Receiver(failures=3)
    delivery, counters = started(receiver)
    delivery.submit(make_notification())
    eventually(lambda: counters.stats.sent)
    end(delivery)
    assert len(receiver.received) == 1
    assert receiver.attempts == 4
    assert counters.stats.failed == 0


def test_refusal_is_not_retried(make_notification: Make) -> None:
    """A permanently refused notification is given up at once, and the next one is tried."""
    receiver = Receiver(failures=1, temporary=False)
    delivery, counters = started(receiver)
    delivery.submit(make_notification(1))
    delivery.submit(make_notification(2))
    end(delivery)
    assert [notification.rule.name for notification in receiver.received] == ["large-2"]
    assert (counters.stats.failed, counters.stats.sent) == (1, 1)


def test_retries_end(make_notification: Make) -> None:
    """After the time for retries a notification is given up and counted."""
    receiver = Receiver(failures=1_000_000)
    delivery, counters = started(receiver, retry_for_us=20_000)
    delivery.submit(make_notification())
    eventually(lambda: counters.stats.failed)
    end(delivery)
    assert counters.stats.sent == 0


def test_mistake_in_a_notifier_does_not_end_its_thread(
    make_notification: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that isn't a DeliveryError is logged, counted, and the next is tried."""

    class Broken(Receiver):
        def send(self, notification: Notification, cancelled: threading.Event) -> None:
            if notification.rule.name == "large-1":
                raise KeyError("x")
            super().send(notification, cancelled)

    receiver = Broken()
    delivery, counters = started(receiver)
    delivery.submit(make_notification(1))
    delivery.submit(make_notification(2))
    end(delivery)
    assert (counters.stats.failed, counters.stats.sent) == (1, 1)
    assert "receiver failed unexpectedly" in caplog.text


def test_full_queue_drops_and_counts(
    make_notification: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """If the queue is full, notifications are dropped and counted, and that is logged once."""
    receiver = Receiver()
    receiver.gate.clear()
    delivery, counters = started(receiver, queue_length=5)
    delivery.submit(make_notification())
    eventually(lambda: receiver.attempts)  # it is under way, the queue is empty
    for number in range(1, 21):
        delivery.submit(make_notification(number))
    assert (counters.stats.queued, counters.stats.dropped) == (5, 15)
    assert caplog.text.count("its queue of 5 is full") == 1
    receiver.gate.set()
    end(delivery)
    assert [notification.rule.name for notification in receiver.received] == [
        "large",
        *(f"large-{number}" for number in range(1, 6)),
    ]


def test_end_waits_no_longer_than_its_limit(
    make_notification: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Notifications that can't be delivered in time at the end are dropped, counted and logged."""
    receiver = Receiver()
    receiver.gate.clear()
    delivery, counters = started(receiver)
    for number in range(4):
        delivery.submit(make_notification(number))
    eventually(lambda: receiver.attempts)
    delivery.close(time.monotonic() + 0.05)
    assert (counters.stats.dropped, counters.stats.queued) == (3, 0)
    assert "before the end of monitoring; 3 notifications dropped" in caplog.text
    eventually(lambda: counters.stats.failed == 1)  # the one under way was cancelled


def test_end_does_not_wait_for_retries(make_notification: Make) -> None:
    """At the end everything is tried only once: a dead receiver doesn't delay the stop."""
    receiver = Receiver(failures=1_000_000)
    delivery = Delivery(
        receiver,
        DeliveryPolicy(backoff=Backoff(first_s=3_600, longest_s=3_600), retry_for_us=1 << 50),
        counters := Counters("receiver"),
    )
    delivery.start()
    for number in range(3):
        delivery.submit(make_notification(number))
    eventually(lambda: receiver.attempts)
    end(delivery)
    assert (counters.stats.failed, counters.stats.queued) == (3, 0)


def test_receiver_that_forgets_gets_repeats(make_notification: Make) -> None:
    """A firing alert is repeated until it is resolved, for a receiver that needs it."""
    receiver = Receiver(repeat_s=0.01)
    delivery, _ = started(receiver)
    delivery.submit(make_notification())
    eventually(lambda: len(receiver.received) >= 3)
    delivery.submit(make_notification(resolved=True))
    eventually(lambda: receiver.received[-1].status == "resolved")
    count = len(receiver.received)
    time.sleep(0.05)
    end(delivery)
    assert len(receiver.received) == count
    assert [notification.status for notification in receiver.received[:-1]] == ["firing"] * (
        count - 1
    )


def test_dropped_end_of_an_alert_ends_its_repeats(make_notification: Make) -> None:
    """Even if the end of an alert is dropped, the alert isn't repeated for ever."""
    receiver = Receiver(repeat_s=0.01)
    receiver.gate.clear()
    delivery, counters = started(receiver, queue_length=1)
    delivery.submit(make_notification(1))
    eventually(lambda: receiver.attempts)
    delivery.submit(make_notification(2))
    delivery.submit(make_notification(1, resolved=True))
    delivery.submit(make_notification(2, resolved=True))
    assert counters.stats.dropped == 2
    receiver.gate.set()
    eventually(lambda: len(receiver.received) == 2)
    time.sleep(0.05)
    end(delivery)
    assert len(receiver.received) == 2


def test_dropped_alert_is_sent_by_its_repeat(make_notification: Make) -> None:
    """A dropped alert reaches a receiver that gets repeats."""
    receiver = Receiver(repeat_s=0.01)
    receiver.gate.clear()
    delivery, counters = started(receiver, queue_length=1)
    for number in range(1, 4):
        delivery.submit(make_notification(number))
        eventually(lambda: receiver.attempts)
    assert counters.stats.dropped == 1
    receiver.gate.set()
    eventually(lambda: "large-3" in {received.rule.name for received in receiver.received})
    end(delivery)


def test_recovery_is_logged(make_notification: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The first failure is logged, and that the receiver works again."""
    receiver = Receiver(failures=5)
    delivery, counters = started(receiver)
    delivery.submit(make_notification())
    eventually(lambda: counters.stats.sent)
    end(delivery)
    assert [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ] == [
        "receiver: not now; trying again for up to 1m",
        "receiver: works again",
    ]


def test_backoff_doubles_up_to_its_limit() -> None:
    """Each pause is half to the whole of twice the last, up to the longest."""
    backoff, rng = Backoff(first_s=1.0, longest_s=10.0), random.Random(1)
    for failures, whole in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (5_000, 10.0)]:
        pauses = [backoff.pause_s(failures, rng) for _ in range(100)]
        assert whole / 2 <= min(pauses) < max(pauses) <= whole


# -- receivers over the network that are dead or hang ------------------------------------------


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """Return a port whose listener accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """Return a port without a listener."""
    return free_port()


def test_hanging_receiver_is_left_after_the_time_limit(
    hanging_port: int, make_notification: Make
) -> None:
    """A receiver that accepts and never responds fails after the time limit."""
    notifier = make_notifier(
        Notify("http", url=f"http://127.0.0.1:{hanging_port}", time_limit=Microseconds(50_000))
    )
    with pytest.raises(DeliveryError, match=r"took longer than|timed out") as caught:
        notifier.send(make_notification(), threading.Event())
    assert caught.value.temporary


def test_closed_port_is_temporary(closed_port: int, make_notification: Make) -> None:
    """A receiver that isn't there may come back."""
    notifier = make_notifier(Notify("http", url=f"http://127.0.0.1:{closed_port}"))
    with pytest.raises(DeliveryError, match="refused") as caught:
        notifier.send(make_notification(), threading.Event())
    assert caught.value.temporary
