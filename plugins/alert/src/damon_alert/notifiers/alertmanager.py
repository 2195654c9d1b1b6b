"""Alertmanager, by its API of version 2.

Alertmanager considers an alert resolved when its end has passed. So a firing alert is sent again
and again, each time with an end a few repeats ahead: if monitoring ends for any reason, the alert
expires.
"""

import threading
import time
from typing import Any

from damon_alert.notification import Notification, rfc3339
from damon_alert.notifiers.web import Endpoint
from damon_alert.options import Notify

#: An alert expires after this number of missing repeats; Prometheus uses the same.
_REPEATS_TO_END = 4


def alert_document(notification: Notification, ends_us: int) -> dict[str, Any]:
    """Return an alert in the API's format.

    Args:
        notification: The alert.
        ends_us: When a firing alert expires, microseconds since 1970-01-01 UTC.
    """
    if notification.resolved_us is not None:
        ends_us = notification.resolved_us
    return {
        "labels": notification.labels,
        "annotations": {
            "summary": notification.summary,
            "value": notification.value_text,
            "threshold": notification.threshold_text,
        },
        "startsAt": rfc3339(notification.fired_us),
        "endsAt": rfc3339(ends_us),
    }


class AlertmanagerNotifier:
    """Posts alerts to one Alertmanager; each member of a cluster needs its own notifier.

    Args:
        notify: Options with ``to = "alertmanager"``.

    Raises:
        InputError: A variable or file of the options is missing on this machine.
    """

    def __init__(self, notify: Notify) -> None:
        self._endpoint = Endpoint(notify, "/api/v2/alerts")
        self._repeat_us = notify.repeat
        self.repeat_s = notify.repeat / 1e6
        self.description = f"Alertmanager at {self._endpoint.address}"

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        """Post the alert once.

        Raises:
            DeliveryError: Alertmanager can't be reached, or refuses the alert.
        """
        ends_us = time.time_ns() // 1_000 + _REPEATS_TO_END * self._repeat_us
        self._endpoint.post([alert_document(notification, ends_us)], cancelled)
