"""What monitoring processes would cost, foretold without touching them.

Nothing is written, and the memory map of a process is never locked for long: its page tables are
sampled by short reads of pagemap.
"""

import contextlib
import logging
import os
import random
import statistics
import time
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from damon_core import PAGE_SIZE_BYTES, AccumulatingSampling, Costs, TargetForecast, Toll
from damon_vaddr.calibration import reset_us, walk_costs
from damon_vaddr.mappings import parse_accessible
from damon_vaddr.processes import Process, why_unreadable
from damon_vaddr.procfs import read_stat
from damon_vaddr.sources import ProcessSource

logger = logging.getLogger(__name__)

#: A read of pagemap takes less than a tenth of a millisecond, as a rule; how many are made, and how
#: many must find memory.
_PAGES_A_READ = 512
_READS = 64
_ENOUGH_READS = 8
_PRESENT = np.uint64(1 << 63)


@frozen
class ProcessForecast(TargetForecast):
    """A process that would be monitored.

    Attributes:
        pid: Its pid.
        resident_bytes: Its memory.
        mappings: How many mappings it has.
        largest_bytes: The size of its largest accessible mapping.
        maps_us: The CPU time that reading its maps took.
    """

    pid: int
    resident_bytes: int
    mappings: int
    largest_bytes: int
    maps_us: int


def forecast_processes(source: ProcessSource) -> list[ProcessForecast]:
    """Return what is known of the processes that a source has now; the source is closed.

    Those that end meanwhile are left out, those that may not be read with a warning.

    Raises:
        TargetError: What the user named isn't there.
    """
    found = []
    try:
        source.start()
        for process in source.processes():
            try:
                found.append(_of_process(process))
            except PermissionError:
                reason = why_unreadable(process.pid)
                logger.warning("pid %d is left out: %s", process.pid, reason)
            except (OSError, ValueError):  # It has ended.
                continue
    finally:
        source.close()
    return found


def _of_process(process: Process) -> ProcessForecast:
    begun_ns = time.thread_time_ns()
    maps = process.maps()
    maps_us = (time.thread_time_ns() - begun_ns) // 1_000
    with open(process.open_file("statm"), "rb") as file:
        resident_bytes = int(file.read().split()[1]) * PAGE_SIZE_BYTES
    sizes = [each.end - each.start for each in parse_accessible(maps)]
    mappings = maps.count(b"\n")
    threads = read_stat(process.pid).threads
    return ProcessForecast(
        process.label(),
        process.pid,
        resident_bytes,
        mappings,
        max(sizes, default=0),
        maps_us,
        facts={"resident_bytes": resident_bytes, "mappings": mappings, "threads": threads},
    )


def forecast_referenced(targets: Sequence[ProcessForecast]) -> Costs:
    """Return what the backend `referenced` would cost."""
    costs = walk_costs()
    clear_us = look_us = 0.0
    toll = Toll()
    for target in targets:
        pages = target.resident_bytes / PAGE_SIZE_BYTES
        walk_us = pages * (page_us(target.pid) or costs.page_us)
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


def page_us(pid: int) -> float | None:
    """Return what walking a page in the memory of a process takes; None if too few were found.

    Where pages lie in memory, and how large they are, makes a difference. It is a median, because
    single reads may be disturbed.
    """
    times_us = []
    try:
        with contextlib.closing(Process.open(pid)) as process:
            mappings = parse_accessible(process.maps())
            file = process.open_file("pagemap")
        with open(file, "rb", buffering=0) as pagemap:
            for address in _places(mappings):
                begun_ns = time.thread_time_ns()
                entries = os.pread(
                    pagemap.fileno(), _PAGES_A_READ * 8, address // PAGE_SIZE_BYTES * 8
                )
                took_ns = time.thread_time_ns() - begun_ns
                present = int(np.count_nonzero(np.frombuffer(entries, np.uint64) & _PRESENT))
                if present > _PAGES_A_READ // 2:
                    times_us.append(took_ns / 1_000 / present)
    except OSError:
        return None
    return statistics.median(times_us) if len(times_us) >= _ENOUGH_READS else None


def _places(mappings: Sequence[tuple[int, int]]) -> list[int]:
    """Return random addresses of mappings, from which a read of pagemap fits if they are larger."""
    rng = random.Random(0)
    sizes = [end - start for start, end in mappings]
    places = []
    for start, end in rng.choices(mappings, weights=sizes, k=_READS) if mappings else ():
        last = max(end - _PAGES_A_READ * PAGE_SIZE_BYTES, start)
        places.append(rng.randrange(start, last + 1, PAGE_SIZE_BYTES))
    return places
