"""Reports take the same memory for records of any length, measured in separate processes."""

import subprocess
import sys

import pytest

#: Runs a report on a number of aggregations of 1000 regions that are made as they are read, and
#: prints how much memory the process had at most.
PROGRAM = """
import resource, sys
import numpy as np
from click.testing import CliRunner
from damon_core import *
from damon_cli.main import main

COUNT, ARGUMENTS = int(sys.argv[1]), sys.argv[2:]
START = np.arange(1_000) << 20
AREAS = tuple(Area(each << 20, (each + 5) << 20, f"area {each}") for each in range(0, 1_000, 10))

class Reader:
    info = RecordInfo()
    def span_us(self):
        return 0, COUNT * 100_000
    def snapshots(self, begin_us=None, end_us=None):
        random = np.random.default_rng(1)
        for number in range(1, COUNT + 1):
            time_us = number * 100_000
            if (begin_us is None or time_us > begin_us) and (end_us is None or time_us <= end_us):
                yield self.snapshot(number, time_us, random)
    def snapshot(self, number, time_us, random):
        columns = {"start": START.copy(), "end": START + (1 << 20)}
        columns["nr_accesses"] = random.integers(0, 20, 1_000) * 1.0
        columns["age"] = random.integers(0, 20, 1_000)
        columns["idle_us"] = random.integers(0, 10**8, 1_000)
        columns["resident_bytes"] = random.integers(0, 1 << 20, 1_000)
        # A program that comes and goes, every time with another pid.
        targets = [TargetRows("stays[1]", 500, AREAS), TargetRows(f"goes[{number}]", 500, ())]
        return assemble_snapshot(
            columns, targets, context="c", number=number, time_us=time_us, elapsed_us=100_000,
            intervals=Intervals(), max_nr_accesses=20,
        )
    def close(self):
        pass
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass

class Format:
    @hookimpl
    def register_formats(self, register):
        register(RecordFormat("made", (".made",), lambda path: Reader(), lambda path, info: None))

result = CliRunner().invoke(main, ["report", *ARGUMENTS], obj=Plugins({"f": Format()}))
assert result.exit_code == 0, result.output
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(count: int, *arguments: str) -> int:
    """Return the peak memory of a report of `count` aggregations, with its imports."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(count), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["wss", "x.made"],
        ["wss", "x.made", "--by", "mapping", "--over", "time", "--json"],
        ["summary", "x.made"],
    ],
    ids=" ".join,
)
def test_a_longer_record_takes_no_more_memory(arguments: list[str]) -> None:
    """Six times as many aggregations, and targets: a quarter more memory at most."""
    small, large = peak_kib(500, *arguments), peak_kib(3_000, *arguments)
    assert large < 1.25 * small, (small, large)
