"""Idle page tracking as a backend of damon-core's primitives: accesses, page by page."""

from damon_idle.flushing import FlushStats
from damon_idle.options import IdleOptions
from damon_idle.physical import PhysicalIdle
from damon_idle.processes import ProcessIdle

__all__ = ["FlushStats", "Idle", "IdleOptions", "PhysicalIdle", "ProcessIdle"]
