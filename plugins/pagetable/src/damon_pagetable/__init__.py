"""The backend `pagetable`: accesses to every page of a process, from its page tables."""

from damon_pagetable.backend import PageTable
from damon_pagetable.errors import BpfError, LayoutError, ObstacleError, VerifierError
from damon_pagetable.flushing import FlushStats
from damon_pagetable.look import HugePages, Look, accessed, look, resident
from damon_pagetable.options import PageTableOptions
from damon_pagetable.tables import PageTables
from damon_pagetable.written import Written

__all__ = [
    "BpfError",
    "FlushStats",
    "HugePages",
    "LayoutError",
    "Look",
    "ObstacleError",
    "PageTable",
    "PageTableOptions",
    "PageTables",
    "VerifierError",
    "Written",
    "accessed",
    "look",
    "resident",
]
