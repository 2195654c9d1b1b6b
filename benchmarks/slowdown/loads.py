"""The programs that are slowed down: small ones in C, and redis."""

import mmap
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from benchmarks.measure import progress
from benchmarks.programs import line_of, started
from benchmarks.slowdown.estimates import percentile_us

#: A speed is measured over this time.
PART_S = 0.5
_BUCKETS = 64 * 40
PERCENTILES = (50.0, 99.0, 99.9, 99.99, 100.0)


@frozen
class Block:
    """What a program did in a while.

    Attributes:
        speeds: Operations per second in each part of it.
        cpu_speeds: Operations per second of its own CPU time, if that is known.
        times_us: The percentiles of operation times, if they are known.
        counts: How many operations took how long, where they are counted.
    """

    speeds: list[float]
    cpu_speeds: list[float] = field(factory=list)
    times_us: tuple[float, ...] = ()
    counts: npt.NDArray[np.int64] | None = None


class Load(Protocol):
    """A running program.

    Attributes:
        pid: The process.
        unit: Of its speeds.
    """

    pid: int
    unit: str

    @property
    def knows_cpu(self) -> bool:
        """Whether its speed in its own CPU time says anything."""

    def operations(self) -> int:
        """Return how much it has done so far."""

    def busy(self) -> AbstractContextManager[None]:
        """Let it work during the block."""

    def block(self, seconds: float, goes_on: Callable[[], bool]) -> Block:
        """Let it run for this time at least, and until `goes_on` is False."""


def _speeds(
    operations: Callable[[], int], pid: int, goes_on: Callable[[], bool]
) -> tuple[list[float], list[float]]:
    """Return the speeds of a process per second, and per second of its own CPU time."""
    speeds, cpu_speeds = [], []
    last, last_s, last_cpu_s = operations(), time.monotonic(), running_s(pid)
    while True:
        time.sleep(PART_S)
        now, now_s, now_cpu_s = operations(), time.monotonic(), running_s(pid)
        speeds.append((now - last) / (now_s - last_s))
        if now_cpu_s > last_cpu_s:
            cpu_speeds.append((now - last) / (now_cpu_s - last_cpu_s))
        last, last_s, last_cpu_s = now, now_s, now_cpu_s
        if not goes_on():
            return speeds, cpu_speeds


def running_s(pid: int) -> float:
    """Return the time for which a process of one thread has run on a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def page_faults(pid: int) -> int:
    """Return how many page faults a process has had that read nothing from a disk."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def lasting(seconds: float, goes_on: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function that is True for some time, and then as long as another one is."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end - PART_S / 2 or goes_on()


@define
class Counted:
    """A program of benchmarks/slowdown/programs.c."""

    pid: int
    unit: str
    _counters: npt.NDArray[np.int64]
    _has_times: bool

    @property
    def knows_cpu(self) -> bool:
        # Most of the CPU time of "map" is the kernel's, and it also waits.
        return not self._has_times

    def operations(self) -> int:
        """Return its counter."""
        return int(self._counters[0])

    def busy(self) -> AbstractContextManager[None]:
        """Do nothing: it always works."""
        return nullcontext()

    def block(self, seconds: float, goes_on: Callable[[], bool]) -> Block:
        """Let it run."""
        before = self._counters[1:].copy()
        speeds, cpu_speeds = _speeds(self.operations, self.pid, lasting(seconds, goes_on))
        if not self._has_times:
            return Block(speeds, cpu_speeds)
        counts = self._counters[1:] - before
        times_us = tuple(percentile_us(counts, each) for each in PERCENTILES)
        return Block(speeds, [], times_us, counts)


@contextmanager
def counted(
    program: Path, folder: Path, kind: str, size_bytes: int, huge: bool
) -> Iterator[Counted]:
    """Run a program in C during the block."""
    path = folder / "counters"
    command = [str(program), str(path), kind, str(size_bytes), "huge" if huge else "small"]
    with started(command) as process:
        line_of(process)
        with path.open("r+b") as file:
            memory = mmap.mmap(file.fileno(), (1 + _BUCKETS) * 8)
        counters = np.frombuffer(memory, dtype=np.int64)
        unit = "bytes/s" if kind == "sweep" else "operations/s"
        yield Counted(process.pid, unit, counters, kind == "map")


def huge_share(pid: int, size_bytes: int) -> float:
    """Return how much of the memory of a program is in huge pages."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"AnonHugePages: +(\d+) kB", text)
    return int(found[1]) * 1024 / size_bytes if found else 0.0


#: Keys are set as redis-benchmark names them.
_FILL = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
  redis.call('SET', string.format('key:%012d', i), ARGV[3])
end
"""
_FILLED_AT_ONCE = 100_000
_VALUE_BYTES = 1_000
#: What a key takes in all, measured with 200 000 of them and redis 7.0.
_KEY_BYTES = 1_115
_CLIENTS = 10


@define
class Redis:
    """A redis server, and redis-benchmark that reads random keys of it."""

    pid: int
    port: int
    keys: int
    _socket: socket.socket
    unit: str = "requests/s"
    knows_cpu: bool = False
    _rate: float = field(default=0.0)

    def command(self, *words: str) -> bytes:
        """Send a command; return its answer, as redis sends it."""
        self._socket.sendall(
            f"*{len(words)}\r\n".encode()
            + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)
        )
        answer = self._socket.recv(1 << 16)
        if answer.startswith(b"$") and not answer.startswith(b"$-1"):
            head, _, rest = answer.partition(b"\r\n")
            while len(rest) < int(head[1:]) + 2:
                rest += self._socket.recv(1 << 16)
            return rest
        return answer

    def operations(self) -> int:
        """Return the number of commands that it has processed."""
        found = re.search(rb"total_commands_processed:(\d+)", self.command("INFO", "stats"))
        assert found
        return int(found[1])

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let it answer requests during the block."""
        command = self._benchmark(1_000_000, "-l")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.kill()

    def fill(self) -> None:
        """Set all keys."""
        for first in range(0, self.keys, _FILLED_AT_ONCE):
            last = min(first + _FILLED_AT_ONCE, self.keys)
            self.command("EVAL", _FILL, "0", str(first), str(last), "x" * _VALUE_BYTES)

    def block(self, seconds: float, goes_on: Callable[[], bool]) -> Block:
        """Let it answer requests for about this time."""
        if not self._rate:
            self._rate = self._requests(20_000)[1].speeds[0]
        speeds, block = self._requests(round(self._rate * seconds))
        while goes_on():
            time.sleep(0.05)
        return Block(speeds, [], block.times_us)

    def _requests(self, number: int) -> tuple[list[float], Block]:
        command = self._benchmark(number, "--precision", "3")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            speeds, _ = _speeds(self.operations, self.pid, lambda: process.poll() is None)
            text = process.stdout.read()
        return speeds[:-1] or speeds, parse_redis_benchmark(text)

    def _benchmark(self, number: int, *options: str) -> list[str]:
        return [
            *("redis-benchmark", "-p", str(self.port), "-c", str(_CLIENTS), "-n", str(number)),
            *("-r", str(self.keys), *options, "GET", "key:__rand_int__"),
        ]


def parse_redis_benchmark(text: str) -> Block:
    """Return the speed and the percentiles of times that redis-benchmark prints."""
    rate = re.search(r"throughput summary: ([\d.]+)", text)
    summary = re.search(r"avg +min +p50 +p95 +p99 +max\s+([\d. ]+)", text)
    steps = [
        (float(percent), float(ms) * 1_000)
        for percent, ms in re.findall(r"([\d.]+)% <= ([\d.]+) milliseconds \(cumul", text)
    ]
    assert rate is not None
    assert summary is not None
    _avg, _least, p50, _p95, p99, most = (float(ms) * 1_000 for ms in summary[1].split())
    beyond = [next(us for percent, us in steps if percent >= each) for each in (99.9, 99.99)]
    return Block([float(rate[1])], [], (p50, p99, *beyond, most))


@contextmanager
def redis(folder: Path, size_bytes: int) -> Iterator[Redis]:
    """Run a redis server with this much data during the block, on the loopback interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", "--appendonly", "no", "--enable-debug-command", "no"),
        *("--loglevel", "warning", "--logfile", str(folder / "redis.log")),
    ]
    with started(command) as process:
        server = Redis(process.pid, port, size_bytes // _KEY_BYTES, _connected(port))
        progress(f"filling redis with {server.keys} keys")
        server.fill()
        yield server


def _connected(port: int) -> socket.socket:
    """Connect to a server as soon as it listens."""
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("redis doesn't listen")
