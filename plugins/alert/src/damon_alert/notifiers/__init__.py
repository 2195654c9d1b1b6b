"""Notifiers: each makes one attempt to send one notification to one kind of receiver."""

from damon_alert.notifiers.base import DeliveryError, Notifier

__all__ = ["DeliveryError", "Notifier"]
