"""An HTTP hook: the notification's JSON document, posted."""

import threading

from damon_alert.notification import Notification
from damon_alert.notifiers.web import Endpoint
from damon_alert.options import Notify


class HttpNotifier:
    """Posts `Notification.as_json` to an address.

    Args:
        notify: Options with ``to = "http"``.

    Raises:
        InputError: A variable or file of the options is missing on this machine.
    """

    repeat_s = None

    def __init__(self, notify: Notify) -> None:
        self._endpoint = Endpoint(notify)
        self.description = f"http hook at {self._endpoint.address}"

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        """Post the document once.

        Raises:
            DeliveryError: The hook can't be reached, or its response isn't a success.
        """
        self._endpoint.post(notification.as_json(), cancelled)
