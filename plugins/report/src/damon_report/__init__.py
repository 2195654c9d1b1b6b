"""``damon report``: what a record tells, as tables, pictures and JSON."""

from damon_report.command import report

__all__ = ["report"]
