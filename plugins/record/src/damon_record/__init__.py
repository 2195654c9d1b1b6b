"""``damon record`` and ``damon convert``: the memory accesses of programs, in files."""

from damon_record.command import record
from damon_record.convert import convert

__all__ = ["convert", "record"]
