"""What monitoring processes would cost, foretold without touching them.

Nothing is written, and the memory map of a process is never locked for long: its page tables are
sampled by short reads of pagemap.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from attrs import field, frozen

from damon_core import (
    PAGE_SIZE_BYTES,
    AccumulatingSampling,
    Costs,
    Range,
    TargetForecast,
    Toll,
)
from damon_vaddr.calibration import reset_us, walk_costs
from damon_vaddr.mappings import clipped, parse_accessible
from damon_vaddr.page_sample import resident_within, sample_pages
from damon_vaddr.processes import Process, why_unreadable
from damon_vaddr.procfs import read_stat
from damon_vaddr.sources import ProcessSource

logger = logging.getLogger(__name__)

_PAGES_OF_A_HUGE_ONE = 512


@frozen
class ProcessForecast(TargetForecast):
    """A process that would be monitored.

    Attributes:
        pid: Its pid.
        resident_bytes: Its memory.
        mappings: How many mappings it has.
        largest_bytes: The size of its largest accessible mapping.
        maps_us: The CPU time that reading its maps took.
        monitored_bytes: How much of its memory is in the ranges that are monitored.
    """

    pid: int
    resident_bytes: int
    mappings: int
    largest_bytes: int
    maps_us: int
    monitored_bytes: int = field(kw_only=True)

    @monitored_bytes.default
    def _(self) -> int:
        return self.resident_bytes


def forecast_processes(
    source: ProcessSource, ranges: Sequence[Range] = ()
) -> list[ProcessForecast]:
    """Return what is known of the processes that a source has now; the source is closed.

    Those that end meanwhile are left out, those that may not be read with a warning a reason, and
    those that have nothing mapped in the ranges.

    Args:
        source: The source.
        ranges: The only addresses of each process that would be monitored, ascending; empty for
            all.

    Raises:
        TargetError: What the user named isn't there.
    """
    found = []
    unreadable: dict[str, list[str]] = defaultdict(list)
    try:
        source.start()
        processes = source.processes()
        while getattr(source, "has_more", False):  # Of many it adds some at a time.
            processes = source.processes()
        for process in processes:
            try:
                found += _of_process(process, ranges)
            except PermissionError:
                unreadable[why_unreadable(process.pid)].append(process.mention())
            except (OSError, ValueError):  # It has ended.
                continue
    finally:
        source.close()
    for reason, names in unreadable.items():
        what = "is left out"
        if len(names) > 1:
            what = f"and {len(names) - 1} more processes are left out"
        logger.warning("%s %s: %s", names[0], what, reason)
    return found


def _of_process(process: Process, ranges: Sequence[Range]) -> list[ProcessForecast]:
    """Return what is known of a process, nothing of one that has nothing in the ranges."""
    begun_ns = time.thread_time_ns()
    maps = process.maps()
    maps_us = (time.thread_time_ns() - begun_ns) // 1_000
    with open(process.open_file("statm"), "rb") as file:
        resident_bytes = int(file.read().split()[1]) * PAGE_SIZE_BYTES
    sizes = [each.end - each.start for each in parse_accessible(maps)]
    mappings = maps.count(b"\n")
    facts = {"resident_bytes": resident_bytes}
    monitored_bytes = resident_bytes
    if ranges:
        within = clipped(maps, ranges)
        if not within:
            return []
        monitored_bytes = min(resident_within(process, parse_accessible(within)), resident_bytes)
        facts["in_ranges_bytes"] = monitored_bytes
    facts |= {"mappings": mappings, "threads": read_stat(process.pid).threads}
    return [
        ProcessForecast(
            process.label(),
            process.pid,
            resident_bytes,
            mappings,
            max(sizes, default=0),
            maps_us,
            monitored_bytes=monitored_bytes,
            facts=facts,
        )
    ]


def forecast_referenced(targets: Sequence[ProcessForecast]) -> Costs:
    """Return what the backend `referenced` would cost.

    It clears and reads whole processes, also if only ranges of them are monitored.
    """
    costs = walk_costs()
    clear_us = look_us = 0.0
    toll = Toll()
    for target in targets:
        sample = sample_pages(target.pid)
        pages = target.resident_bytes / PAGE_SIZE_BYTES
        # A huge page has one entry in the page tables, with one accessed bit.
        pages *= 1 - sample.huge_share * (1 - 1 / _PAGES_OF_A_HUGE_ONE)
        walk_us = pages * (sample.page_us or costs.page_us)
        clear_us += walk_us
        look_us += walk_us + target.mappings * costs.mapping_us
        # Each read of smaps locks the map anew, and walks at least one mapping.
        longest_look_us = walk_us * min(target.largest_bytes / max(target.resident_bytes, 1), 1.0)
        held_us = round(walk_us + 2 * longest_look_us)
        toll = toll.at_least(Toll(round(pages * reset_us()), held_us, round(walk_us)))
    maps_us = sum(target.maps_us for target in targets)
    return Costs(
        sampling=AccumulatingSampling,
        # An aggregation has two checks: a clear and a look, and a look.
        check_us=clear_us / 2 + look_us,
        begin_us=maps_us,
        update_us=maps_us,
        toll=toll,
        facts={"clear_us": round(clear_us), "look_us": round(look_us)},
    )
