"""Record a process with the backend `kernel`.

Arguments: PID SECONDS REGIONS SAMPLING_US AGGREGATION_US FILE. It prints the CPU time from the
first aggregation until the file is complete, and the number of aggregations and regions after it.
"""

import sys
import time
from pathlib import Path

from damon_sysfs import KernelProcesses
from damon_vaddr import PidSource, ProcessMemory

from damon_core import (
    Context,
    Intervals,
    Plugins,
    RecordInfo,
    RecordWriter,
    RegionLimits,
    format_of,
    hookimpl,
    start,
)


class Keep:
    """Writes every aggregation, and counts all but the first."""

    def __init__(self, writer: RecordWriter) -> None:
        self.began_s: float | None = None
        self.aggregations = 0
        self.regions = 0
        self._writer = writer

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        assert context.snapshot is not None
        self._writer.write(context.snapshot)
        if self.began_s is None:
            self.began_s = time.process_time()
        else:
            self.aggregations += 1
            self.regions += len(context.snapshot)


def main() -> None:
    pid, seconds, regions, sampling_us, aggregation_us = map(int, sys.argv[1:6])
    path = Path(sys.argv[6])
    record = format_of(path, Plugins.discover().formats())
    with record.write(path, RecordInfo.here()) as writer:
        keep = Keep(writer)
        with Context(
            ProcessMemory(PidSource([pid]), KernelProcesses()),
            [keep],
            intervals=Intervals(sampling_us, aggregation_us, 10 * aggregation_us),
            limits=RegionLimits(regions, regions),
            cpu_budget=None,
        ) as context:
            start(context)
            context.wait(seconds)
            if context.error is not None:
                raise context.error
    assert keep.began_s is not None
    print(time.process_time() - keep.began_s, keep.aggregations, keep.regions)


if __name__ == "__main__":
    main()
