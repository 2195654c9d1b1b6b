"""The patterns that policies are measured on, each from a seed.

Times are in aggregations: a pattern changes only between two of them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from attrs import field, frozen
from damon_sim import (
    Area,
    Moving,
    PiecewisePattern,
    RandomPages,
    SimulatedMemory,
    Stairs,
    Uniform,
    Zigzag,
    Zone,
    Zones,
)

from benchmarks.accuracy.truth import AreaTruth, Bools, Ints, Truth, page_truth
from damon_core import PAGE_SIZE_BYTES, Bytes, Intervals, Microseconds, RegionLimits

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
AGGREGATION_US = Intervals().aggregation_us


@frozen
class Changing(PiecewisePattern):
    """Areas that depend on the number of the aggregation.

    Attributes:
        at: Returns the areas of an aggregation; addresses are rounded down to whole pages.
    """

    at: Callable[[int], Iterable[tuple[float, float, float]]]

    def areas(self, time_us: int) -> list[Area]:
        areas = self.at(time_us // AGGREGATION_US)
        return [Area(_page(start), _page(end), rate) for start, end, rate in areas if rate]


def _page(address: float) -> int:
    return int(address) // PAGE_SIZE_BYTES * PAGE_SIZE_BYTES


@frozen(eq=False)
class Case:
    """A memory with a known pattern.

    Attributes:
        name: Its name in tables.
        pattern: What is accessed.
        size_bytes: The size of the memory, or a function that returns it for each aggregation.
        change_every: The number of aggregations after which other memory is hot; None: never, or
            it moves a little all the time.
        busy: The share of each aggregation, at its end, in which memory is accessed at all.
        limits: The limits of regions.
        is_fixed: Whether nothing ever changes, which saves time with many areas.
    """

    name: str
    pattern: PiecewisePattern | RandomPages
    size_bytes: int | Callable[[int], int] = field(repr=False)
    change_every: int | None = None
    busy: float = 1.0
    limits: RegionLimits = field(factory=RegionLimits)
    is_fixed: bool = False

    def size_at(self, aggregation: int) -> int:
        """Return the size of the memory in bytes."""
        return self.size_bytes if isinstance(self.size_bytes, int) else self.size_bytes(aggregation)

    def truth_at(self, aggregation: int) -> Truth:
        """Return the true access rates in an aggregation."""
        return _fixed_truth(self) if self.is_fixed else self.changing_truth_at(aggregation)

    def changing_truth_at(self, aggregation: int) -> Truth:
        """Return the true access rates in an aggregation, found anew."""
        if isinstance(self.pattern, RandomPages):
            return page_truth(self.pattern, self.size_at(aggregation))
        memory = SimulatedMemory(self.size_at(aggregation), self.pattern)
        areas = memory.areas(aggregation * AGGREGATION_US)
        return AreaTruth([area._replace(rate=area.rate * self.busy) for area in areas])

    def accessed(
        self, truth: Truth, addresses: Ints, part: float, rng: np.random.Generator
    ) -> Bools:
        """Return whether each page is accessed in a check after `part` of the aggregation."""
        awake = part >= 1 - self.busy
        return rng.random(len(addresses)) < truth.rates(addresses) * awake / self.busy


@lru_cache(maxsize=1)
def _fixed_truth(case: Case) -> Truth:
    """Return the truth of a case in which nothing changes."""
    return case.changing_truth_at(0)


def _zones(*zones: tuple[int, float]) -> Zones:
    return Zones(tuple(Zone(Bytes(size), rate) for size, rate in zones))


def _row(rates: Iterable[float], size: int) -> Zones:
    return _zones(*((size, float(rate)) for rate in rates))


def _scattered(seed: int, count: int, size: int, slot: int, memory: int) -> Zones:
    """Return hot areas of one size, each in a random slot."""
    hot = np.zeros(memory // slot)
    hot[np.random.default_rng(seed).choice(len(hot), count, replace=False)] = 1.0
    cold = slot - size
    gap = ((cold, 0.0),) if cold else ()
    return _zones(*(zone for rate in hot for zone in ((size, float(rate)), *gap)))


def _zipf(seed: int, exponent: float, scale: float) -> Zones:
    """Return areas whose rate falls with their rank; ranks are shuffled."""
    rates = np.minimum(1.0, scale / np.arange(1, 4097) ** exponent)
    np.random.default_rng(seed).shuffle(rates)
    return _row(rates, 16 * MIB)


def _phases(seed: int) -> Changing:
    """Return twelve areas of random sizes, every second one accessed; new every 20 aggregations."""

    def at(aggregation: int) -> list[tuple[float, float, float]]:
        rng = np.random.default_rng((seed, aggregation // 20))
        cuts = [0, *sorted(rng.choice(np.arange(1, 1024), 11, replace=False)), 1024]
        rates = rng.choice([0.3, 0.7, 1.0], 6)
        return [
            (cuts[2 * number] * 64.0 * MIB, cuts[2 * number + 1] * 64.0 * MIB, float(rate))
            for number, rate in enumerate(rates)
        ]

    return Changing(at)


def _heap_bytes(aggregation: int) -> int:
    return GIB + aggregation * 256 * MIB


def _heap(aggregation: int) -> list[tuple[float, float, float]]:
    """Return areas of a heap: a tenth of it is hot, and everything above that is warm."""
    size = _heap_bytes(aggregation)
    return [(0.5 * size, 0.6 * size, 1.0), (0.6 * size, size, 0.2)]


def _young(aggregation: int) -> list[tuple[float, float, float]]:
    """Return areas of a heap: its oldest part and the part allocated last are in use."""
    size = _heap_bytes(aggregation)
    return [(0, 0.5 * GIB, 0.9), (max(0.5 * GIB, size - 2 * GIB), size, 1.0)]


def _stack(aggregation: int) -> list[tuple[float, float, float]]:
    """Return a hot area that grows downward, and a warm one that stays."""
    return [
        (4.0 * GIB, 6.0 * GIB, 0.4),
        (30.0 * GIB - (aggregation + 1) * 64.0 * MIB, 30.0 * GIB, 1.0),
    ]


def _window(aggregation: int) -> list[tuple[float, float, float]]:
    """Return a hot area of 2 GiB that moves by an eighth of its size in each aggregation."""
    start = 8.0 * GIB + aggregation * 256.0 * MIB
    return [(start, start + 2.0 * GIB, 1.0)]


def _bursts(aggregation: int) -> list[tuple[float, float, float]]:
    """Return an area that is hot in three of ten aggregations, and one that is always hot."""
    burst = 1.0 if aggregation % 10 < 3 else 0.0
    return [(8.0 * GIB, 12.0 * GIB, burst), (40.0 * GIB, 41.0 * GIB, 1.0)]


def _tides(
    rate: Sequence[float], swing: Sequence[float], period: float, lag: Sequence[float]
) -> Changing:
    """Return areas of 2 GiB whose rates rise and fall around `rate`.

    Args:
        rate: The mean rate of each.
        swing: The largest distance from it.
        period: Aggregations from one maximum to the next.
        lag: The part of a period by which each is later.
    """

    def at(aggregation: int) -> list[tuple[float, float, float]]:
        wave = np.sin(2 * np.pi * (aggregation / period - np.array(lag)))
        rates = np.clip(np.array(rate) + np.array(swing) * wave, 0, 1)
        return [(n * 2.0 * GIB, (n + 1) * 2.0 * GIB, float(r)) for n, r in enumerate(rates)]

    return Changing(at)


def _load(seed: int, period: float) -> Changing:
    """Return areas with random rates, all times a load between 5 and 95 % of the most."""
    half = np.random.default_rng(seed).random(16) / 2
    return _tides(half.tolist(), (0.9 * half).tolist(), period, [0.0] * 16)


def _crowd(seed: int | None, count: int, share: float, limits: RegionLimits) -> Case:
    """Return `count` hot pieces of 2 MiB, which are this share of the memory.

    Args:
        seed: That of the random places; None: at equal distances.
        count: The number of pieces.
        share: The share of all memory.
        limits: The limits of regions.
    """
    slots = round(count / share)
    hot = np.zeros(slots)
    if seed is None:
        hot[:: round(1 / share)] = 1.0
    else:
        hot[np.random.default_rng(seed).choice(slots, count, replace=False)] = 1.0
    name = f"{count} {'regular' if seed is None else 'random'} {100 * share:.0f} %"
    return Case(name, _row(hot, 2 * MIB), slots * 2 * MIB, limits=limits, is_fixed=True)


def _us(aggregations: int) -> Microseconds:
    return Microseconds(aggregations * AGGREGATION_US)


def cases(seed: int) -> Sequence[Case]:
    """Return the patterns that parameters were chosen on."""
    tera_hot, tera_warm = 0.2 * 5 * TIB, 0.7 * 5 * TIB
    return (
        Case(
            "zones",
            _zones(
                (8 * GIB, 0),
                (2 * GIB, 1),
                (10 * GIB, 0),
                (4 * GIB, 0.6),
                (16 * GIB, 0),
                (GIB, 1),
                (9 * GIB, 0.3),
            ),
            64 * GIB,
        ),
        Case("stairs", Stairs(Bytes(4 * GIB), 16, _us(20)), 64 * GIB, change_every=20),
        Case("zigzag", Zigzag(Bytes(5 * GIB), 4, _us(10)), 64 * GIB, change_every=10),
        Case("levels", _row(np.linspace(0, 1, 16), 4 * GIB), 64 * GIB),
        Case("ridges", _row(np.abs((np.arange(32) + 0.5) / 8 % 2 - 1), 2 * GIB), 64 * GIB),
        Case("needle", Changing(lambda _: [(0.37 * TIB, 0.38 * TIB, 1.0)]), TIB),
        Case("scattered", _scattered(seed, 60, 32 * MIB, 32 * MIB, 64 * GIB), 64 * GIB),
        Case("zipf", _zipf(seed, exponent=1.0, scale=64.0), 64 * GIB),
        Case("random", RandomPages(0.1, seed=seed), 16 * GIB),
        Case("heap", Changing(_heap), _heap_bytes),
        Case("phases", _phases(seed), 64 * GIB, change_every=20),
        Case(
            "5 TiB",
            Changing(
                lambda _: [
                    (tera_hot, tera_hot + 10 * GIB, 1.0),
                    (tera_warm, tera_warm + 50 * GIB, 0.3),
                ]
            ),
            5 * TIB,
        ),
    )


def held_out_cases(seed: int) -> Sequence[Case]:
    """Return other patterns, which weren't used to choose parameters."""
    strides = np.where(np.arange(256) % 2, 0.0, np.where(np.arange(256) % 4, 0.6, 1.0))
    return (
        Case("stack", Changing(_stack), 32 * GIB),
        Case("young heap", Changing(_young), _heap_bytes),
        Case("window", Changing(_window), 64 * GIB),
        Case("bursts", Changing(_bursts), 64 * GIB),
        Case("jumps", Moving(Bytes(2 * GIB), 32, _us(15)), 64 * GIB, change_every=15),
        Case("strides", _row(strides, 64 * MIB), 16 * GIB),
        Case("gradient", _row(np.linspace(0, 1, 64) ** 2, 512 * MIB), 32 * GIB),
        Case("tiny", _scattered(seed, 200, MIB, 2 * MIB, 16 * GIB), 16 * GIB),
        Case("far", _scattered(seed, 12, 512 * MIB, GIB, TIB), TIB),
        Case("soft zipf", _zipf(seed, exponent=0.6, scale=3.0), 64 * GIB),
        Case("pulses", _zones((20 * GIB, 0), (20 * GIB, 0.8), (24 * GIB, 0)), 64 * GIB, busy=0.5),
        Case("all warm", Uniform(0.4), 64 * GIB),
        Case("all cold", Uniform(0.0), 64 * GIB),
    )


def hard_cases(seed: int) -> Sequence[Case]:
    """Return patterns in which all rates change all the time, or with more areas than regions."""
    flat, swing, at_once = [0.5] * 16, [0.4] * 16, [0.0] * 16
    lag = list(np.random.default_rng(seed).random(16))
    few, many = RegionLimits(10, 100), RegionLimits()
    return (
        *(
            Case(f"tide {period}", _tides(flat, swing, period, at_once), 32 * GIB)
            for period in (40, 120, 600)
        ),
        *(Case(f"load {period}", _load(seed, period), 32 * GIB) for period in (40, 120, 600)),
        Case("tides apart", _tides(flat, swing, 120, lag), 32 * GIB),
        _crowd(seed, 1_000, 0.1, few),
        _crowd(None, 1_000, 0.1, few),
        _crowd(seed, 1_000, 1 / 3, few),
        _crowd(None, 1_000, 1 / 3, few),
        _crowd(seed, 10_000, 0.1, many),
        _crowd(None, 10_000, 0.1, many),
    )
