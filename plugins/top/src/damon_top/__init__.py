"""``damon top``: live view in the terminal of the memory accesses of processes or a machine."""

from damon_top.command import top

__all__ = ["top"]
