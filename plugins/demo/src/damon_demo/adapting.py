"""How regions adapt: both region policies on the same simulated memory, and their errors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen
from damon_cli.building import build_context
from damon_cli.session import closing_contexts, run_contexts
from damon_sim import Area, PiecewisePattern, SimulatedMemory

from damon_core import (
    Context,
    Intervals,
    Plugins,
    RegionLimits,
    Snapshot,
    TargetRows,
    VirtualClock,
    assemble_snapshot,
    hookimpl,
)
from damon_demo.judgement import HOT_FREQUENCY

AGGREGATIONS = 24
#: Number of aggregations before the jump, and after it.
BEFORE = AGGREGATIONS // 2
#: The hot area counts as found from this F1 on.
FOUND_F1 = 0.9

#: The attributes of both contexts: the defaults.
INTERVALS, LIMITS = Intervals(), RegionLimits()
#: Number of checks in an aggregation.
ROUNDS = INTERVALS.aggregation_us // INTERVALS.sampling_us

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


_GIB = 1 << 30
SIZE_BYTES = 64 * _GIB
#: The hot area before and after the jump. None of its borders is one of the initial regions'.
HOT = (Area(8 * _GIB, 12 * _GIB, 1.0), Area(52 * _GIB, 56 * _GIB, 1.0))
LUKEWARM = Area(20 * _GIB, 28 * _GIB, 0.3)


class Jump(PiecewisePattern):
    """A hot area that jumps once, and a lukewarm one that stays."""

    def areas(self, time_us: int) -> list[Area]:
        """Return the two areas at a time."""
        jumped = time_us >= BEFORE * INTERVALS.aggregation_us
        return sorted([HOT[jumped], LUKEWARM])

    @property
    def extent_bytes(self) -> int:
        """The end of the hot area at its higher place."""
        return HOT[1].end


JUMP = Jump()


@frozen
class Score:
    """The correctness of one aggregation; memory is hot if at least half of the checks found it so.

    Attributes:
        error: Mean absolute error of the access frequency; every byte has the same weight.
        true_hot: Bytes that were hot.
        reported_hot: Bytes that were reported hot.
        both: Bytes that were hot and reported hot.
    """

    error: float
    true_hot: int
    reported_hot: int
    both: int


@frozen
class Adapted:
    """The result of one policy.

    Attributes:
        policy: The policy's name.
        snapshots: The snapshot of each aggregation.
        checks: The number of checked pages in each aggregation.
        scores: The score of each aggregation.
    """

    policy: str
    snapshots: Sequence[Snapshot]
    checks: Sequence[int]
    scores: Sequence[Score]

    @property
    def regions(self) -> float:
        """The mean number of regions."""
        return float(np.mean([len(snapshot) for snapshot in self.snapshots]))

    @property
    def checks_per_aggregation(self) -> float:
        """The mean number of checked pages in an aggregation."""
        return float(np.mean(self.checks))

    @property
    def error(self) -> float:
        """The mean absolute error of the access frequency, 0 to 1."""
        return float(np.mean([score.error for score in self.scores]))

    @property
    def f1(self) -> float:
        """F1 of hot memory, over all aggregations together."""
        return _f1(self.scores)

    def found_after(self, aggregation: int) -> int | None:
        """Return how many aggregations after a given one F1 first reaches `FOUND_F1`.

        1 is the next aggregation. None if F1 doesn't reach it before the next jump or the end.
        """
        phase = self.scores[aggregation : aggregation + BEFORE]
        return next((n for n, score in enumerate(phase, 1) if _f1([score]) >= FOUND_F1), None)

    @property
    def missed_by_bytes(self) -> float:
        """Mean distance of true borders from the nearest border of regions.

        Measured in the last aggregation before the jump, and in the last of all.
        """
        distances = []
        for aggregation in (BEFORE - 1, AGGREGATIONS - 1):
            starts = self.snapshots[aggregation].start
            borders = [area.start for area in true_areas(aggregation)][1:]
            distances += [np.abs(starts - border).min() for border in borders]
        return float(np.mean(distances))


def _f1(scores: Sequence[Score]) -> float:
    hot = sum(score.true_hot + score.reported_hot for score in scores)
    return 2 * sum(score.both for score in scores) / hot if hot else 1.0


def watch(plugins: Plugins, seed: int) -> list[Adapted]:
    """Watch the simulated memory with the policies `kernel` and `evidence`, on virtual time."""
    memory = {
        "use": "sim",
        "size": SIZE_BYTES,
        "seed": seed,
        "ends_after": f"{AGGREGATIONS * INTERVALS.aggregation_us}us",
        "function": f"{__name__}:JUMP",
    }
    watchers = {name: _Watcher() for name in ("kernel", "evidence")}
    contexts = [
        build_context(
            # Not the memory's seed: the policies must not draw the same random numbers.
            {"name": name, "primitive": memory, "policy": {"use": name, "seed": seed + 1}},
            plugins,
            [watcher],
            VirtualClock,
        )
        for name, watcher in watchers.items()
    ]
    with closing_contexts(contexts):
        run_contexts(contexts)
    truth = true_snapshots()
    return [
        Adapted(
            name,
            watcher.snapshots,
            watcher.checks,
            [score(*pair) for pair in zip(truth, watcher.snapshots, strict=True)],
        )
        for name, watcher in watchers.items()
    ]


class _Watcher:
    """Keeps all snapshots of its context, and counts the checked pages."""

    name = "watcher"

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.checks: list[int] = []
        self._checks = 0

    @hookimpl
    def after_sampling(self, context: Context) -> None:
        for target in context.targets:
            assert target.samples is not None
            self._checks += len(target.samples.addresses)

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        assert context.snapshot is not None
        self.snapshots.append(context.snapshot)
        self.checks.append(self._checks)
        self._checks = 0


def true_areas(aggregation: int) -> list[Area]:
    """Return the areas during an aggregation; 0 is the first."""
    memory = SimulatedMemory(SIZE_BYTES, JUMP)
    return memory.areas(aggregation * INTERVALS.aggregation_us)


def true_snapshots() -> list[Snapshot]:
    """Return, for each aggregation, the snapshot that a perfect monitor would report."""
    return [_snapshot(number, true_areas(number - 1)) for number in range(1, AGGREGATIONS + 1)]


def _snapshot(number: int, areas: Sequence[Area]) -> Snapshot:
    start = np.array([area.start for area in areas], dtype=np.int64)
    end = np.array([area.end for area in areas], dtype=np.int64)
    rate = np.array([area.rate for area in areas], dtype=np.float64)
    zero = np.zeros(len(areas), dtype=np.int64)
    return assemble_snapshot(
        {
            "start": start,
            "end": end,
            "nr_accesses": rate * ROUNDS,
            "age": zero,
            "idle_us": zero,
            "resident_bytes": end - start,
        },
        [TargetRows("truth", len(areas))],
        context="truth",
        number=number,
        time_us=number * INTERVALS.aggregation_us,
        elapsed_us=INTERVALS.aggregation_us,
        intervals=INTERVALS,
        max_nr_accesses=ROUNDS,
    )


def score(truth: Snapshot, snapshot: Snapshot) -> Score:
    """Return the score of a snapshot; it and the truth cover the same memory without holes."""
    borders = np.union1d(truth.start, snapshot.start)
    size = np.diff(borders, append=truth.end[-1])
    true, reported = _frequency_at(truth, borders), _frequency_at(snapshot, borders)
    hot, reported_hot = true >= HOT_FREQUENCY, reported >= HOT_FREQUENCY
    return Score(
        error=float((size * np.abs(true - reported)).sum() / size.sum()),
        true_hot=int(size[hot].sum()),
        reported_hot=int(size[reported_hot].sum()),
        both=int(size[hot & reported_hot].sum()),
    )


def _frequency_at(snapshot: Snapshot, addresses: Ints) -> Floats:
    index = np.searchsorted(snapshot.start, addresses, side="right") - 1
    frequency: Floats = snapshot.frequency[index]
    return frequency
