"""The alert callback: rules on one side, receivers on the other."""

import time
from collections.abc import Iterator, Sequence

from attrs import frozen

from damon_alert.delivery import Counters, Delivery, DeliveryPolicy, ReceiverStats
from damon_alert.notification import Notification
from damon_alert.notifiers import Notifier
from damon_alert.notifiers.alertmanager import AlertmanagerNotifier
from damon_alert.notifiers.hook import HttpNotifier
from damon_alert.notifiers.log import LogNotifier
from damon_alert.notifiers.program import ProgramNotifier
from damon_alert.options import AlertOptions, Notify
from damon_alert.rules import Evaluator
from damon_core import Context, HookContext, Measure, hookimpl

#: A delivery that is cancelled returns within a second; with it on a busy machine.
_CANCELLED_WITHIN_US = 5_000_000

_OUTCOMES = (
    "Notifications of alerts: sent; failed, as the receiver refused them or didn't answer; or "
    "dropped, as the queue was full or monitoring ended."
)
_QUEUED = "Notifications of alerts that wait for delivery."


@frozen
class AlertStats:
    """Counts of delivered and lost notifications since the callback was made.

    Attributes:
        receivers: The counts of each receiver, in the order of the options.
    """

    receivers: tuple[ReceiverStats, ...]

    @property
    def sent(self) -> int:
        """Notifications delivered, repeats included."""
        return sum(receiver.sent for receiver in self.receivers)

    @property
    def failed(self) -> int:
        """Notifications given up after at least one attempt."""
        return sum(receiver.failed for receiver in self.receivers)

    @property
    def dropped(self) -> int:
        """Notifications never tried."""
        return sum(receiver.dropped for receiver in self.receivers)

    @property
    def queued(self) -> int:
        """Notifications that wait for delivery."""
        return sum(receiver.queued for receiver in self.receivers)


@frozen
class _Receiver:
    notifier: Notifier
    policy: DeliveryPolicy
    counters: Counters


@frozen
class _Run:
    """The alerts and deliveries of one run of one context."""

    evaluator: Evaluator
    deliveries: tuple[Delivery, ...]


class AlertCallback:
    """Notifies receivers when a quantity of the snapshot goes beyond a threshold, and comes back.

    The context's worker only compares numbers and queues notifications; each receiver has its own
    thread from `before_start` to `before_terminate`. One object may serve several contexts.

    Args:
        options: Rules and receivers.
        notifiers: Further receivers, made by the caller.

    Raises:
        InputError: A receiver can't be used on this machine: a program, a variable or a file is
            missing.
    """

    name = "alert"

    def __init__(self, options: AlertOptions, notifiers: Sequence[Notifier] = ()) -> None:
        self._options = options
        self._receivers = tuple(
            [
                _receiver(
                    make_notifier(notify), DeliveryPolicy(notify.queue_length, notify.retry_for)
                )
                for notify in options.notify
            ]
            + [_receiver(notifier, DeliveryPolicy()) for notifier in notifiers]
        )

    @property
    def stop_timeout_us(self) -> int:
        """How long the end of a run may take: deliveries, and what is cancelled then."""
        return self._options.flush_timeout + _CANCELLED_WITHIN_US

    @property
    def stats(self) -> AlertStats:
        """The current counts of all receivers; may be read from any thread."""
        return AlertStats(tuple(receiver.counters.stats for receiver in self._receivers))

    def measures(self, context: HookContext) -> Iterator[Measure]:
        """Return what became of the notifications to each receiver, for exporters of metrics."""
        for receiver in self.stats.receivers:
            name = "".join(char if char.isprintable() else "?" for char in receiver.receiver)
            notifier = {"notifier": name}
            outcomes = {
                "sent": receiver.sent,
                "failed": receiver.failed,
                "dropped": receiver.dropped,
            }
            for outcome, count in outcomes.items():
                labels = {**notifier, "outcome": outcome}
                yield Measure("alert_notifications", count, _OUTCOMES, labels, counter=True)
            yield Measure("alert_notifications_queued", receiver.queued, _QUEUED, notifier)
        yield Measure("alerts_firing", len(self._firing(context)), "Alerts that are firing.")

    def _firing(self, context: HookContext) -> tuple[Notification, ...]:
        run: _Run | None = context.private(self).get("run")
        return () if run is None else run.evaluator.firing

    def firing(self, context: Context) -> tuple[Notification, ...]:
        """Return the firing alerts of a context, in the rules' order.

        May be called from any thread.
        """
        return self._firing(context)

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Start the receivers' threads, with every alert inactive."""
        deliveries = tuple(
            Delivery(receiver.notifier, receiver.policy, receiver.counters)
            for receiver in self._receivers
        )
        context.private(self)["run"] = _Run(Evaluator(self._options.rule), deliveries)
        for delivery in deliveries:
            delivery.start()

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Compare the snapshot with the rules, and queue a notification for each change."""
        run: _Run | None = context.private(self).get("run")
        snapshot = context.snapshot
        if run is None or snapshot is None:
            return
        for notification in run.evaluator.evaluate(snapshot, context.stats):
            for delivery in run.deliveries:
                delivery.submit(notification)

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Deliver the queued notifications, within the time limit, and end the threads.

        Firing alerts aren't resolved: it is unknown whether their cause is gone.
        """
        run: _Run | None = context.private(self).pop("run", None)
        if run is None:
            return
        deadline_s = time.monotonic() + self._options.flush_timeout / 1e6
        for delivery in run.deliveries:
            delivery.request_close()
        for delivery in run.deliveries:
            delivery.close(deadline_s)


def make_notifier(notify: Notify) -> Notifier:
    """Return the notifier for a receiver's options.

    Raises:
        InputError: The receiver can't be used on this machine.
    """
    if notify.to == "program":
        return ProgramNotifier(notify.command, notify.time_limit)
    if notify.to == "http":
        return HttpNotifier(notify)
    if notify.to == "alertmanager":
        return AlertmanagerNotifier(notify)
    return LogNotifier()


def _receiver(notifier: Notifier, policy: DeliveryPolicy) -> _Receiver:
    return _Receiver(notifier, policy, Counters(notifier.description))
