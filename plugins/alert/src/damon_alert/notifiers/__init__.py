"""Notifiers: each sends one notification to one kind of receiver, once."""

from damon_alert.notifiers.base import DeliveryError, Notifier

__all__ = ["DeliveryError", "Notifier"]
