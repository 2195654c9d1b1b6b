"""The primitive `vaddr`: the memory of processes; and its parts, for backends and primitives."""

from damon_vaddr.backend import ProcessBackend
from damon_vaddr.calibration import WalkCosts, reset_us, walk_costs
from damon_vaddr.clearing import clear_accessed_bits, clear_soft_dirty_bits
from damon_vaddr.descriptors import is_shortage
from damon_vaddr.forecast import ProcessForecast, forecast_processes
from damon_vaddr.identity import LABELS, NO_GROUP, Identities
from damon_vaddr.layouts import FirstRanges, Layout, Mappings, Ranges
from damon_vaddr.mappings import (
    Mapped,
    SharedMapping,
    parse_maps,
    parse_shared,
    three_ranges,
)
from damon_vaddr.options import EXCLUDE_HELP, GROUP_BY_HELP, KINDS_HELP, GroupBy, known_names
from damon_vaddr.plugin import VaddrOptions, make_vaddr, probe_processes
from damon_vaddr.primitive import ProcessMemory
from damon_vaddr.processes import REASONS, Process, ProcessTable, descendants_of
from damon_vaddr.procfs import (
    kernel_threads,
    living_thread,
    proc_problem,
    read_stat,
    thread_group,
)
from damon_vaddr.referenced import Referenced, ReferencedOptions
from damon_vaddr.rivals import find_rivals, rivals_finding
from damon_vaddr.selection import Rule, RuleSource, Selector
from damon_vaddr.sources import CommandSource, PidSource, ProcessSource
from damon_vaddr.target import LayoutInput, ProcessTarget

__all__ = [
    "EXCLUDE_HELP",
    "GROUP_BY_HELP",
    "KINDS_HELP",
    "LABELS",
    "NO_GROUP",
    "REASONS",
    "CommandSource",
    "FirstRanges",
    "GroupBy",
    "Identities",
    "Layout",
    "LayoutInput",
    "Mapped",
    "Mappings",
    "PidSource",
    "Process",
    "ProcessBackend",
    "ProcessForecast",
    "ProcessMemory",
    "ProcessSource",
    "ProcessTable",
    "ProcessTarget",
    "Ranges",
    "Referenced",
    "ReferencedOptions",
    "Rule",
    "RuleSource",
    "Selector",
    "SharedMapping",
    "VaddrOptions",
    "WalkCosts",
    "clear_accessed_bits",
    "clear_soft_dirty_bits",
    "descendants_of",
    "find_rivals",
    "forecast_processes",
    "is_shortage",
    "kernel_threads",
    "known_names",
    "living_thread",
    "make_vaddr",
    "parse_maps",
    "parse_shared",
    "probe_processes",
    "proc_problem",
    "read_stat",
    "reset_us",
    "rivals_finding",
    "thread_group",
    "three_ranges",
    "walk_costs",
]
