"""What a notifier is."""

import threading
from typing import Protocol

from damon_alert.notification import Notification
from damon_core import DamonError


class DeliveryError(DamonError):
    """A receiver couldn't be told.

    Attributes:
        temporary: Whether another attempt may succeed.
    """

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


class Notifier(Protocol):
    """Sends notifications to one receiver; queue, retries and counts are not its concern.

    Attributes:
        description: What logs call the receiver; without secrets.
        repeat_s: How often, in seconds, an alert that fires must be sent again; None for a
            receiver that remembers.
    """

    @property
    def description(self) -> str: ...  # noqa: D102

    @property
    def repeat_s(self) -> float | None: ...  # noqa: D102

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        """Send, once, within a time limit of its own; called from one thread at a time.

        Args:
            notification: What to tell.
            cancelled: Set when monitoring ended and nobody waits any longer.

        Raises:
            DeliveryError: The receiver wasn't told.
        """
