"""Alerts on data access patterns: rules on snapshots, and receivers of notifications."""

from damon_alert.callback import AlertCallback, AlertStats
from damon_alert.delivery import ReceiverStats
from damon_alert.notification import JSON_VERSION, Notification
from damon_alert.notifiers import DeliveryError, Notifier
from damon_alert.options import AlertOptions, Notify, Rule

__all__ = [
    "JSON_VERSION",
    "AlertCallback",
    "AlertOptions",
    "AlertStats",
    "DeliveryError",
    "Notification",
    "Notifier",
    "Notify",
    "ReceiverStats",
    "Rule",
]
