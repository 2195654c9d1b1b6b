"""The log: one line per notification, at the level of the alert's severity."""

import logging
import threading

from damon_alert.notification import Notification
from damon_alert.options import Severity

logger = logging.getLogger("damon_alert.log")

_LEVELS: dict[Severity, int] = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "critical": logging.CRITICAL,
}


class LogNotifier:
    """Writes to the logger ``damon_alert.log``; firing and resolved alerts at the same level."""

    description = "log"
    repeat_s = None

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        """Write the line."""
        logger.log(
            _LEVELS[notification.rule.severity],
            "alert %s (%s) is %s: %s",
            notification.rule.name,
            notification.rule.severity,
            notification.status,
            notification.summary,
        )
