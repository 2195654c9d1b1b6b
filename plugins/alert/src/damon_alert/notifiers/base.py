"""The interface of a notifier, and the error that it raises."""

import threading
from typing import Protocol

from damon_alert.notification import Notification
from damon_core import DamonError


class DeliveryError(DamonError):
    """A notification couldn't be delivered.

    Attributes:
        temporary: Whether another attempt may succeed.
    """

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


class Notifier(Protocol):
    """Sends notifications to one receiver; `Delivery` does the queue, retries and counts.

    Attributes:
        description: The receiver's name in logs; without secrets.
        repeat_s: Seconds after which a firing alert must be sent again; None for a receiver that
            remembers alerts.
    """

    @property
    def description(self) -> str: ...  # noqa: D102

    @property
    def repeat_s(self) -> float | None: ...  # noqa: D102

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        """Make one attempt to send, within the notifier's time limit.

        Called from one thread at a time.

        Args:
            notification: The notification.
            cancelled: Set when monitoring has ended and the attempt should be abandoned.

        Raises:
            DeliveryError: The notification wasn't delivered.
        """
