"""Alertmanager, by its API of version 2.

Alertmanager takes an alert for resolved when its end has passed. So one that fires is sent again
and again, each time with an end a few repeats ahead: if monitoring ends, however it does, the
alert goes by itself.
"""

import threading
import time
from typing import Any

from damon_alert.notification import Notification, rfc3339
from damon_alert.notifiers.web import Endpoint
from damon_alert.options import Notify

#: An alert ends after so many repeats that didn't arrive; Prometheus uses the same.
_REPEATS_TO_END = 4


def alert_document(notification: Notification, ends_us: int) -> dict[str, Any]:
    """Return an alert as the API wants it.

    Args:
        notification: The alert.
        ends_us: When a firing alert ends by itself, microseconds since 1970-01-01 UTC.
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
    """Posts alerts to one Alertmanager; of a cluster, each member needs a notifier.

    Args:
        notify: Options with ``to = "alertmanager"``.

    Raises:
        InputError: They can't be used here.
    """

    def __init__(self, notify: Notify) -> None:
        self._endpoint = Endpoint(notify, "/api/v2/alerts")
        self._repeat_us = notify.repeat
        self.repeat_s = notify.repeat / 1e6
        self.description = f"Alertmanager at {self._endpoint.address}"

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        """Post it.

        Raises:
            DeliveryError: Alertmanager can't be reached, or refuses the alert.
        """
        ends_us = time.time_ns() // 1_000 + _REPEATS_TO_END * self._repeat_us
        self._endpoint.post([alert_document(notification, ends_us)])
