"""``damon record``: the memory accesses of a process, a cgroup or a command, into a file."""

from damon_record.command import record

__all__ = ["record"]
