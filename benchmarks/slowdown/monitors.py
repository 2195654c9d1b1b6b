"""What the programs are watched with: `damon record`, and what cAdvisor and wss.pl do."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from benchmarks.programs import DAMON, line_of
from damon_core import Plugins, Snapshot, format_of, parse_duration

NAMES = ("damon record", "cAdvisor", "wss.pl")


@frozen
class Foretold:
    """What `damon doctor` says before a program is watched.

    Attributes:
        aggregation_us: How long an aggregation will take if all memory is accessed meanwhile.
        clearing_us: How long it will be from one clearing of accessed bits to the next.
        idle_us: The same if next to nothing is accessed.
        slowdown: The share of its time that the program will lose.
        stall_us: How long its memory map will be locked at once.
    """

    aggregation_us: int
    clearing_us: int
    idle_us: int
    slowdown: float
    stall_us: int


def foretell(pid: int, backend: str) -> Foretold:
    """Ask `damon doctor` about a process and a backend."""
    done = subprocess.run(
        [DAMON, "doctor", "--pid", str(pid), "--json"], capture_output=True, text=True, check=True
    )
    report: dict[str, Any] = json.loads(done.stdout)
    (found,) = (each for each in report["backends"] if each["name"] == backend)
    expected, idle = found["expected"], found["expected_idle"]
    return Foretold(
        expected["aggregation_us"],
        expected["epoch_us"] or expected["aggregation_us"],
        idle["epoch_us"] or idle["aggregation_us"],
        expected["slowdown"],
        expected["longest_stall_us"],
    )


@frozen
class Came:
    """What `damon record` says and writes.

    Attributes:
        results: Its aggregations.
        interval_us: How long an aggregation takes at its end; None: unknown.
        slowdown: The share of its time that the program lost, by our own account, from the end of
            the first aggregation to that of the last; None: unknown.
        stall_us: The longest time for which its memory map was locked; None: unknown.
        cpu: The share of a processor that the command used, from its first check to its end.
    """

    results: int = 0
    interval_us: int | None = None
    slowdown: float | None = None
    stall_us: int | None = None
    cpu: float = 0.0


@define
class Watching:
    """A monitor that runs."""

    process: "subprocess.Popen[str] | None" = None
    came: Came = field(factory=Came)

    def goes_on(self) -> bool:
        """Return whether it still runs."""
        return self.process is not None and not _has_ended(self.process.pid, os.WNOHANG)


@contextmanager
def nothing() -> Iterator[Watching]:
    """Watch nothing."""
    yield Watching()


@contextmanager
def damon_record(
    pid: int, seconds: float, folder: Path, options: Sequence[str] = ()
) -> Iterator[Watching]:
    """Record a process for some time, with default settings unless there are options.

    The block begins when monitoring does: the interpreter's start and imports are left out.
    """
    path = folder / "record.parquet"
    command = [DAMON, "record", "--pid", str(pid), "--for", f"{seconds:g}s", "-o", str(path)]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        # The file is begun just before the first check.
        while not path.exists() and not _has_ended(process.pid, os.WNOHANG):
            time.sleep(0.005)
        start_s = _cpu_s(process.pid)
        watching = Watching(process)
        yield watching
        assert process.stdout is not None
        text = process.stdout.read()
        _has_ended(process.pid)
        cpu = (_cpu_s(process.pid) - start_s) / seconds
    # It fails if no aggregation was complete in time.
    snapshots = [] if process.returncode else _snapshots(path)
    watching.came = came_of(text, snapshots, cpu)
    path.unlink(missing_ok=True)


def _snapshots(path: Path) -> list[Snapshot]:
    with format_of(path, Plugins.discover().formats()).read(path) as reader:
        return list(reader.snapshots())


def _has_ended(pid: int, flags: int = 0) -> bool:
    """Wait for the end of a child; it is not reaped, so that its CPU time stays readable."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | flags) is not None


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process that hasn't been reaped."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def came_of(text: str, snapshots: Sequence[Snapshot], cpu: float = 0.0) -> Came:
    """Return what the output of `damon record` says, and what it has written."""
    announced = re.findall(r"one aggregation every (\S+) ", text)
    stall = re.search(r"longest stall (\S+)", text)
    interval_us: int | None = parse_duration(announced[-1]) if announced else None
    slowdown = None
    if snapshots and interval_us is None:
        interval_us = snapshots[-1].elapsed_us
    if len(snapshots) > 1:
        first, last = snapshots[0], snapshots[-1]
        lost_us = last.targets[0].toll.cpu_us - first.targets[0].toll.cpu_us
        slowdown = lost_us / (last.time_us - first.time_us)
    return Came(
        len(snapshots), interval_us, slowdown, parse_duration(stall[1]) if stall else None, cpu
    )


@contextmanager
def peer(kind: str, pid: int, seconds: float, results: int) -> Iterator[Watching]:
    """Do what another tool does, for some time, with this many results."""
    command = [sys.executable, "-m", "benchmarks.peers", kind, str(pid)]
    with subprocess.Popen(
        [*command, str(seconds / max(results, 1)), str(seconds)], stdout=subprocess.PIPE, text=True
    ) as process:
        line_of(process)
        yield Watching(process)
