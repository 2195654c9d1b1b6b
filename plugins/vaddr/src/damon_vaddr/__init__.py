"""The memory of processes as a primitive of damon-core, and what other packages build on it."""

from damon_vaddr.backend import ProcessBackend
from damon_vaddr.layouts import FirstRanges, Layout, Mappings, Ranges
from damon_vaddr.mappings import Mapped, parse_maps, three_ranges
from damon_vaddr.plugin import VaddrOptions, make_vaddr, probe_processes
from damon_vaddr.primitive import ProcessMemory
from damon_vaddr.processes import Process, ProcessTable, descendants_of
from damon_vaddr.referenced import Referenced
from damon_vaddr.sources import CommandSource, PidSource, ProcessSource
from damon_vaddr.target import Look, ProcessTarget

__all__ = [
    "CommandSource",
    "FirstRanges",
    "Layout",
    "Look",
    "Mapped",
    "Mappings",
    "PidSource",
    "Process",
    "ProcessBackend",
    "ProcessMemory",
    "ProcessSource",
    "ProcessTable",
    "ProcessTarget",
    "Ranges",
    "Referenced",
    "VaddrOptions",
    "descendants_of",
    "make_vaddr",
    "parse_maps",
    "probe_processes",
    "three_ranges",
]
