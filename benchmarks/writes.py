"""What of a database is read, and what is written: redis, seen by `pagetable` and by `written`.

All keys are read at random all the time; in the second and the fourth fifth of the time, a tenth of
them, each time another, is set as well. Two contexts watch the same process at the same time, one
by accessed bits, one by soft-dirty bits, and record every page. Then it is compared what was set
with what was found to be written.

It needs soft-dirty bits, and page tables by BPF, so it runs in the lab (tests/lab/README.md), with
Debian's kernel. `-o FOLDER` keeps the records: `reads.parquet` and `writes.parquet`.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from attrs import frozen

from benchmarks.measure import command_line, print_table, progress
from benchmarks.programs import DAMON
from damon_core import Plugins, Snapshot, format_of, format_size
from tests.lab.errors import LabError
from tests.lab.kernel import Kernel
from tests.lab.kernels import cache_folder, debian_kernel
from tests.lab.machine import GUEST_SHARE, Machine
from tests.lab.needs import GUEST

#: Two values are in a page of memory.
_VALUE_BYTES = 2_000
_SLOT_BYTES = 2_048
#: Requests that are sent at once; of each so many, one sets a value while there is anything to set.
_BATCH, _SETS_OF_BATCH = 50, 10
#: In each part of the time: which tenth of the keys is set.
_PARTS = (None, 2, None, 7, None)
_CONFIG = """
[[context]]
name = "{name}"
sampling_interval = "{sampling_ms}ms"
aggregation_interval = "{aggregation_ms}ms"
update_interval = "10s"
cpu_budget = 1.0
max_slowdown = 1.0
max_stall = "10s"
[context.primitive]
use = "vaddr"
pid = {pid}
backend = "{backend}"
[[context.callback]]
use = "parquet"
path = "{path}"
pages = true
"""
_BACKENDS = {"reads": "pagetable", "writes": "written"}


@frozen
class Plan:
    """How long it takes, and how much of it there is.

    Attributes:
        keys: The number of keys.
        part_s: How long each part is.
        sampling_ms: The sampling interval.
        aggregation_ms: The aggregation interval.
    """

    keys: int = 16_000
    part_s: float = 36.0
    sampling_ms: int = 300
    aggregation_ms: int = 3_000

    def set_in(self, part: int) -> range:
        """Return the keys that are set in a part of the time."""
        tenth, size = _PARTS[part], self.keys // 10
        return range(0) if tenth is None else range(tenth * size, (tenth + 1) * size)


QUICK = Plan(keys=2_000, part_s=6.0, sampling_ms=100, aggregation_ms=1_000)


class Redis:
    """A connection to a redis server, for batches of commands."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def send(self, commands: Sequence[Sequence[bytes]]) -> None:
        """Send commands at once, and read all answers."""
        text = b"".join(
            b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
            for words in commands
        )
        self._socket.sendall(text)
        for _ in commands:
            line = self._file.readline()
            if line.startswith(b"$"):
                self._file.read(int(line[1:]) + 2)
            elif not line.startswith(b"+"):
                sys.exit(f"redis says {line!r}")


def _key(number: int) -> bytes:
    return b"key:%06d" % number


@contextmanager
def redis(folder: Path) -> Iterator[tuple[int, Redis]]:
    """Run a server during the block."""
    path = folder / "redis.socket"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            while not path.exists():
                if process.poll() is not None:
                    sys.exit("redis-server has ended: apt-get install redis-server")
                time.sleep(0.05)
            yield process.pid, Redis(path)
        finally:
            process.kill()


def use(server: Redis, plan: Plan) -> list[tuple[int, int]]:
    """Read and set keys; return when each part began and ended, in microseconds since 1970."""
    rng, parts = random.Random(1), []
    for part in range(len(_PARTS)):
        begun_us, count, sets = time.time_ns() // 1_000, 0, 0
        to_set = plan.set_in(part)
        end_s = time.monotonic() + plan.part_s
        while time.monotonic() < end_s:
            batch: list[tuple[bytes, ...]] = [
                (b"GET", _key(rng.randrange(plan.keys))) for _ in range(_BATCH)
            ]
            if to_set:
                value = b"%06d" % count + b"y" * (_VALUE_BYTES - 6)
                batch[:_SETS_OF_BATCH] = [
                    (b"SET", _key(rng.choice(to_set)), value) for _ in range(_SETS_OF_BATCH)
                ]
                sets += _SETS_OF_BATCH
            server.send(batch)
            count += _BATCH
        parts.append((begun_us, time.time_ns() // 1_000))
        progress(f"part {part + 1}: {count} requests, of which {sets} set values")
    return parts


def measure(plan: Plan, folder: Path) -> None:
    """Run the server and its load, record it, and print what was found."""
    with redis(folder) as (pid, server):
        for first in range(0, plan.keys, _BATCH):
            keys = range(first, min(first + _BATCH, plan.keys))
            server.send([(b"SET", _key(each), b"x" * _VALUE_BYTES) for each in keys])
        text = "".join(
            _CONFIG.format(
                name=name,
                pid=pid,
                backend=backend,
                path=folder / f"{name}.parquet",
                sampling_ms=plan.sampling_ms,
                aggregation_ms=plan.aggregation_ms,
            )
            for name, backend in _BACKENDS.items()
        )
        (folder / "damon.toml").write_text(f"cpu_budget = 1.0\n{text}")
        command = ["damon", "run", "--strict", "damon.toml"]
        # So that records say that they are by `damon run damon.toml`.
        path = f"{Path(DAMON).parent}:{os.environ['PATH']}"
        with subprocess.Popen(command, cwd=folder, env={**os.environ, "PATH": path}) as damon:
            paths = [folder / f"{name}.parquet" for name in _BACKENDS]
            while not all(path.exists() for path in paths) and damon.poll() is None:
                time.sleep(0.1)
            time.sleep(2 * plan.aggregation_ms / 1_000)
            parts = use(server, plan)
            damon.terminate()
        if damon.returncode:
            sys.exit(f"damon has ended with {damon.returncode}")
    rows = []
    found = {name: _snapshots(folder / f"{name}.parquet") for name in _BACKENDS}
    for part, (begun_us, ended_us) in enumerate(parts):
        set_keys = len(plan.set_in(part))
        sizes = [_found_bytes(found[name], begun_us, ended_us) for name in _BACKENDS]
        rows.append(
            [
                str(part + 1),
                format_size(plan.keys * _SLOT_BYTES),
                format_size(sizes[0]),
                format_size(set_keys * _SLOT_BYTES) if set_keys else "-",
                format_size(sizes[1]),
            ]
        )
    print_table(
        "redis, of which all values are read and some are set: medians of aggregations",
        ["part", "values", "accessed (pagetable)", "values set", "written (written)"],
        rows,
    )


def _snapshots(path: Path) -> list[Snapshot]:
    with format_of(path, Plugins.discover().formats()).read(path) as reader:
        return list(reader.snapshots())


def _found_bytes(snapshots: Sequence[Snapshot], begun_us: int, ended_us: int) -> int:
    """Return the median of the working sets of aggregations within a time."""
    sizes = [
        each.working_set_bytes()
        for each in snapshots
        if begun_us <= each.time_us - each.elapsed_us and each.time_us <= ended_us
    ]
    return round(float(np.median(sizes))) if sizes else 0


def in_the_lab(arguments: Sequence[str], output: Path | None) -> int:
    """Run this in the lab, with Debian's kernel; keep its records in a folder."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    inside = [sys.executable, "-m", "benchmarks.writes", *arguments]
    # As redis recommends; a huge page that is written in one place counts as a whole.
    append = "transparent_hugepage=never"
    with Machine(Kernel.open(debian_kernel(cache, progress)), append=append) as machine:
        status = machine.run(inside, Path.cwd())
        if output is not None and not status:
            for name in _BACKENDS:
                shutil.copy(machine.share / f"{name}.parquet", output)
        return status


def main() -> None:
    parser = command_line("writes", __doc__, "short")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="keep the records here")
    options = parser.parse_args()
    if GUEST not in os.environ:
        try:
            sys.exit(in_the_lab(["--quick"] if options.quick else [], options.output))
        except LabError as error:
            sys.exit(f"lab: {error}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure(QUICK if options.quick else Plan(), folder)
        for each in _BACKENDS:
            shutil.copy(folder / f"{each}.parquet", GUEST_SHARE)


if __name__ == "__main__":
    main()
