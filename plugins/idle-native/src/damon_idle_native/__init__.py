"""Checks of the backend `idle` in compiled code: damon-idle uses them where this is installed."""

from damon_idle_native._check import Check, mark

__all__ = ["Check", "mark"]
