"""What one result of a monitor costs a program, in many short turns.

In each turn a monitor has some results from its begin on, and then rests, or there is none. Turns
with and without follow one another (A B B A), so that slow changes of the machine's speed cancel
out. The difference of the program's speed is what the results took from it. How many there are a
second with the usual budgets needn't be watched for hours. The whole effect of a result has to be
over within its turn: what is cleared is set again.

Each of these results begins with a clearing of accessed bits. Where most are without one, they
count as free: what they cost the program, a few bits, is far below what can be measured so.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen
from damon_vaddr import PidSource, ProcessBackend, ProcessMemory

from benchmarks.clearings import Clearings
from benchmarks.contexts import unlimited
from benchmarks.measure import progress
from benchmarks.peers import WSS_WAIT_S, clear, referenced, wss
from benchmarks.slowdown.loads import Load, page_faults, running_s
from damon_core import Context, HookContext, Intervals, hookimpl, start, stop

_RESAMPLES = 2_000
#: Of the blocks of turns with the largest and with the smallest differences so many are left out:
#: those in which the machine did something else.
_TRIMMED = 0.1
#: A monitor works in this part of a turn, so that nothing of it is left at its end.
_PART = 0.6


@frozen
class Speed:
    """How fast the program was in a turn.

    Attributes:
        per_s: Operations per second.
        per_cpu_s: Operations per second of its own CPU time; 0 if that isn't known.
        faults: How many page faults it had.
    """

    per_s: float
    per_cpu_s: float
    faults: int = 0


@frozen
class Lost:
    """What a program lost, as shares of its time in turns.

    Attributes:
        mean: The mean, without the largest and the smallest.
        low: The lower end of its 95 % confidence interval.
        high: The upper end.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, shares: Sequence[float]) -> "Lost":
        """Estimate it from blocks of turns, by bootstrap."""
        rng = np.random.default_rng(1)
        values = np.array(shares)
        draws = rng.choice(values, (_RESAMPLES, len(values)))
        low, high = np.percentile(_trimmed(draws), [2.5, 97.5])
        return cls(float(_trimmed(values[np.newaxis])[0]), float(low), float(high))

    def times(self, factor: float) -> "Lost":
        """Return it in another unit."""
        return Lost(self.mean * factor, self.low * factor, self.high * factor)


def _trimmed(draws: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the trimmed mean of each row."""
    count = draws.shape[1]
    cut = int(count * _TRIMMED)
    means: npt.NDArray[np.float64] = np.sort(draws, axis=1)[:, cut : count - cut].mean(axis=1)
    return means


@frozen
class Block:
    """The speeds in four turns: without the monitor, with it, with it, without it."""

    without: tuple[Speed, Speed]
    watched: tuple[Speed, Speed]

    @property
    def lost(self) -> float:
        """The share of its time that the program lost."""
        return 1 - _sum(self.watched) / _sum(self.without)

    @property
    def cpu_lost(self) -> float | None:
        """The share of its CPU time; None if that isn't known."""
        without = sum(each.per_cpu_s for each in self.without)
        return 1 - sum(each.per_cpu_s for each in self.watched) / without if without else None

    @property
    def more_faults(self) -> float:
        """How many page faults more it had in a turn with the monitor."""
        watched, without = (
            sum(each.faults for each in turns) / 2 for turns in (self.watched, self.without)
        )
        return watched - without


def _sum(speeds: Sequence[Speed]) -> float:
    return sum(each.per_s for each in speeds)


class Monitor:
    """Something that has results when it is asked to.

    Attributes:
        results: How many it has in a turn.
    """

    results: int = 1

    def work(self) -> None:
        """Begin to have them, without waiting."""

    def rest(self) -> None:
        """Wait until it has them."""


@define
class Gate(Monitor):
    """A context that has some results when it is asked to, and waits afterwards.

    Attributes:
        results: How many.
        cleared: How often accessed bits were cleared in all.
        lost_us: What the program has lost in all, by our account.
    """

    results: int
    cleared: int = field(default=0, init=False)
    lost_us: int = field(default=0, init=False)
    _clearings: Clearings = field(factory=Clearings, init=False)
    _go: threading.Event = field(factory=threading.Event, init=False)
    _ready: threading.Event = field(factory=threading.Event, init=False)
    _left: int = field(default=1, init=False)
    _ends: bool = field(default=False, init=False)

    @hookimpl
    def after_sampling(self, context: HookContext) -> None:
        self.cleared += self._clearings.is_new(context)

    @hookimpl
    def after_aggregation(self, context: HookContext) -> bool:
        self.lost_us = max((each.toll.cpu_us for each in context.targets), default=0)
        self._left -= 1
        if self._left <= 0:
            self._go.clear()
            self._ready.set()
            self._go.wait()
            self._left = self.results
        return self._ends

    def work(self) -> None:
        self._ready.clear()
        self._go.set()

    def rest(self) -> None:
        self._ready.wait()

    def end(self) -> None:
        """Let the context end."""
        self._ends = True
        self._go.set()


@frozen
class Settled:
    """How a context settles down with the usual intervals and budgets.

    Attributes:
        interval_us: The time from one result to the next.
        clearing_us: The time from one clearing of accessed bits to the next.
        cpu: The share of a processor that it uses.
        slowdown: The share of its time that the program loses, by our account.
        longest_stall_us: The longest time for which the program's memory map was locked.
    """

    interval_us: int
    clearing_us: int
    cpu: float
    slowdown: float
    longest_stall_us: int


@define
class _Times:
    """A callback that notes when accessed bits were cleared."""

    us: list[int] = field(factory=list, init=False)
    _clearings: Clearings = field(factory=Clearings, init=False)

    @hookimpl
    def after_sampling(self, context: HookContext) -> None:
        if self._clearings.is_new(context):
            self.us.append(context.clock.now_us())


def settle(pid: int, backend: ProcessBackend, seconds: float, foretold_us: int) -> Settled:
    """Monitor a process for some time.

    Args:
        pid: The process.
        backend: The backend.
        seconds: How long.
        foretold_us: The time from one clearing to the next, if it is longer than that.
    """
    times = _Times()
    with Context(ProcessMemory(PidSource([pid]), backend), [times]) as context:
        start(context)
        context.wait(seconds)
        interval_us, stats = context.intervals.aggregation_us, context.stats
        if context.running:
            stop(context)
        if context.error is not None:
            raise context.error
    # The first ones come sooner.
    distances = np.diff(times.us[len(times.us) // 2 :])
    clearing_us = float(np.mean(distances)) if len(distances) else foretold_us
    return Settled(
        interval_us,
        max(round(clearing_us), interval_us),
        stats.cpu_us / seconds / 1e6,
        stats.slowdown,
        stats.longest_stall_us,
    )


@define
class Peer(Monitor):
    """What another tool does for a result."""

    _result: Callable[[], object]
    _thread: threading.Thread | None = field(default=None, init=False)

    def work(self) -> None:
        self._thread = threading.Thread(target=self._result)
        self._thread.start()

    def rest(self) -> None:
        assert self._thread is not None
        self._thread.join()


def peers(pid: int) -> dict[str, Monitor]:
    """Return what cAdvisor and wss.pl do for a result."""
    return {
        "cAdvisor": Peer(lambda: (referenced(pid), clear(pid))),
        "wss.pl": Peer(lambda: wss(pid, WSS_WAIT_S)),
    }


@contextmanager
def gated(
    pid: int, backend: ProcessBackend, interval_us: int, turn_s: float
) -> Iterator[tuple[Gate, int]]:
    """Let a context with a backend have its results in turns during the block.

    Args:
        pid: The process.
        backend: The backend.
        interval_us: The time from one clearing to the next at the usual budgets.
        turn_s: How long a turn is.

    Yields:
        The gate, and the aggregation interval in turns.
    """
    part_us = round(turn_s * _PART * 1e6)
    aggregation_us = min(interval_us, part_us)
    gate = Gate(max(part_us // aggregation_us, 1))
    intervals = Intervals(aggregation_us=aggregation_us)
    memory = ProcessMemory(PidSource([pid]), backend)
    with unlimited(memory, [gate], intervals=intervals) as context:
        start(context)
        gate.rest()
        try:
            yield gate, aggregation_us
        finally:
            gate.end()
            if context.running:
                stop(context)
        if context.error is not None:
            raise context.error


def turn(load: Load, monitor: Monitor | None, turn_s: float) -> Speed:
    """Let the program run for a turn, with a monitor that works or with none."""
    operations, began_s, cpu_s = load.operations(), time.monotonic(), running_s(load.pid)
    faults = page_faults(load.pid)
    if monitor is not None:
        monitor.work()
    time.sleep(turn_s)
    done = load.operations() - operations
    took_s, used_s = time.monotonic() - began_s, running_s(load.pid) - cpu_s
    faults = page_faults(load.pid) - faults
    if monitor is not None:
        monitor.rest()
    return Speed(done / took_s, done / used_s if used_s and load.knows_cpu else 0.0, faults)


def take_turns(
    load: Load, monitors: dict[str, Monitor], blocks: int, turn_s: float
) -> dict[str, list[Block]]:
    """Let monitors work in turns.

    Args:
        load: The program.
        monitors: The monitors by name; each has a block of four turns, then the next.
        blocks: How many each has.
        turn_s: How long a turn is.
    """
    found: dict[str, list[Block]] = {name: [] for name in monitors}
    with load.busy():
        turn(load, None, turn_s)
        for number in range(blocks):
            for name, monitor in monitors.items():
                # Every second block the other way round.
                inner, outer = (None, monitor) if number % 2 else (monitor, None)
                speeds = [turn(load, each, turn_s) for each in (outer, inner, inner, outer)]
                outside, inside = (speeds[0], speeds[3]), (speeds[1], speeds[2])
                if inner is None:
                    outside, inside = inside, outside
                found[name].append(Block(outside, inside))
            if number % 10 == 9:
                so_far = [
                    f"{name}: {1e3 * turn_s * statistics.mean(b.lost for b in each):.1f} ms"
                    for name, each in found.items()
                ]
                progress(f"  block {number + 1} of {blocks}: {', '.join(so_far)}")
    return found
