"""The memory of processes as a primitive of damon-core, and what other packages build on it."""

from damon_vaddr.backend import ProcessBackend, ProcessSampler, ProcessTarget
from damon_vaddr.mappings import Mapped, parse_maps, three_ranges
from damon_vaddr.plugin import VaddrOptions, make_vaddr, probe_processes
from damon_vaddr.primitive import ProcessMemory
from damon_vaddr.processes import Process, ProcessTable, descendants_of
from damon_vaddr.referenced import Referenced
from damon_vaddr.sources import CommandSource, PidSource, ProcessSource

__all__ = [
    "CommandSource",
    "Mapped",
    "PidSource",
    "Process",
    "ProcessBackend",
    "ProcessMemory",
    "ProcessSampler",
    "ProcessSource",
    "ProcessTable",
    "ProcessTarget",
    "Referenced",
    "VaddrOptions",
    "descendants_of",
    "make_vaddr",
    "parse_maps",
    "probe_processes",
    "three_ranges",
]
