"""The kernel's DAMON, monitoring one process: for the lab's machines only.

It is controlled through `/sys/kernel/mm/damon/admin`. Results come from the tracepoint
`damon:damon_aggregated`, in a separate tracefs instance. They are read after the run, so that
reading doesn't disturb it.
"""

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import Intervals, RegionLimits
from tests.lab.errors import LabError
from tests.lab.needs import GUEST

_KDAMONDS = Path("/sys/kernel/mm/damon/admin/kdamonds")
_TRACING = Path("/sys/kernel/tracing/instances/kernel-damon")
#: A region of an aggregation takes about 60 bytes: there is room for a million.
_BUFFER_KB = 65_536
_LINE = re.compile(
    r"\s(\d+)\.(\d{6}): damon_aggregated: target_id=\d+ nr_regions=(\d+) (\d+)-(\d+): (\d+) \d+"
)
#: CPUCLOCK_SCHED: with the complement of a pid, the clock of the process's CPU time.
_CPUCLOCK_SCHED = 2


@frozen(eq=False)
class KernelAggregation:
    """The regions of one aggregation.

    Attributes:
        boottime_us: The time of its end, on CLOCK_BOOTTIME.
        start: First address of each region.
        end: First address after each region.
        nr_accesses: Number of checks that saw an access to each region.
    """

    boottime_us: int
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    nr_accesses: npt.NDArray[np.int64]


class KernelDamon:
    """A kdamond that monitors a process from construction to the end of the ``with`` block.

    Args:
        pid: The process.
        intervals: As for a context; the kernel never lengthens them.
        limits: As for a context.

    Attributes:
        pid: The kernel thread.

    Raises:
        LabError: This machine isn't one of the lab, or already has a kdamond.
    """

    def __init__(self, pid: int, intervals: Intervals, limits: RegionLimits) -> None:
        if GUEST not in os.environ:
            raise LabError("the kernel's DAMON may only be used in the lab's machines")
        if _read(_KDAMONDS / "nr_kdamonds") != "0":
            raise LabError("another program uses the kernel's DAMON")
        self._trace()
        _write(_KDAMONDS / "nr_kdamonds", 1)
        self._kdamond = _KDAMONDS / "0"
        _write(self._kdamond / "contexts/nr_contexts", 1)
        context = self._kdamond / "contexts/0"
        _write(context / "operations", "vaddr")
        attributes = context / "monitoring_attrs"
        _write(attributes / "intervals/sample_us", intervals.sampling_us)
        _write(attributes / "intervals/aggr_us", intervals.aggregation_us)
        _write(attributes / "intervals/update_us", intervals.update_us)
        # The maximum first: the kernel refuses a minimum above it.
        _write(attributes / "nr_regions/max", limits.max_regions)
        _write(attributes / "nr_regions/min", limits.min_regions)
        _write(context / "targets/nr_targets", 1)
        _write(context / "targets/0/pid_target", pid)
        _write(self._kdamond / "state", "on")
        self.pid = int(_read(self._kdamond / "pid"))

    @staticmethod
    def _trace() -> None:
        _TRACING.mkdir()
        _write(_TRACING / "trace_clock", "boot")
        _write(_TRACING / "buffer_size_kb", _BUFFER_KB)
        _write(_TRACING / "events/damon/damon_aggregated/enable", 1)

    def cpu_us(self) -> int:
        """Return the CPU time of the thread in microseconds."""
        return time.clock_gettime_ns(~self.pid << 3 | _CPUCLOCK_SCHED) // 1_000

    def stop(self) -> list[KernelAggregation]:
        """End the monitoring; return its aggregations.

        Raises:
            LabError: The trace buffer was too small for them.
        """
        _write(self._kdamond / "state", "off")
        for stats in _TRACING.glob("per_cpu/cpu*/stats"):
            if "overrun: 0\n" not in stats.read_text():
                raise LabError("results of the kernel's DAMON were lost: the trace buffer is full")
        with (_TRACING / "trace").open() as lines:
            return parse_aggregations(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if _read(self._kdamond / "state") == "on":
            _write(self._kdamond / "state", "off")
        _write(_KDAMONDS / "nr_kdamonds", 0)
        _TRACING.rmdir()


def parse_aggregations(lines: Iterable[str]) -> list[KernelAggregation]:
    """Return the complete aggregations of one target in the lines of a trace."""
    aggregations = []
    regions: list[tuple[int, int, int]] = []
    for line in lines:
        found = _LINE.search(line)
        if found is None:
            continue
        seconds, micros, count, *region = (int(number) for number in found.groups())
        regions.append((region[0], region[1], region[2]))
        # There is one line for each region, with the number of all.
        if len(regions) == count:
            start, end, nr_accesses = np.array(regions, dtype=np.int64).T
            boottime_us = seconds * 1_000_000 + micros
            aggregations.append(KernelAggregation(boottime_us, start, end, nr_accesses))
            regions = []
    return aggregations


def _read(path: Path) -> str:
    return path.read_text().strip()


def _write(path: Path, value: int | str) -> None:
    path.write_text(str(value))
