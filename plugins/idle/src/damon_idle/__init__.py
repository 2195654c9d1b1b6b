"""The backend `idle`: accesses of single pages, detected by Linux's idle page tracking."""

from damon_idle.flushing import FlushStats
from damon_idle.options import IdleOptions
from damon_idle.physical import PhysicalIdle
from damon_idle.processes import ProcessIdle

__all__ = ["FlushStats", "IdleOptions", "PhysicalIdle", "ProcessIdle"]
