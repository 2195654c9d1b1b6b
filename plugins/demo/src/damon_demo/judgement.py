"""Seen versus true: how many of the hot and cold bytes a monitor reported correctly."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import Range, Snapshot
from damon_demo.truth import AreaPlace, PhaseRun, Truth

#: Memory is reported hot if it was accessed in at least this share of an aggregation's checks.
HOT_FREQUENCY = 0.5


@frozen
class Score:
    """Sums over aggregations of bytes times duration, in byte-microseconds.

    Attributes:
        hot: Memory that was truly hot.
        hot_correct: Memory that was truly hot and reported hot.
        cold: Memory that was truly cold.
        cold_correct: Memory that was truly cold and reported cold.
    """

    hot: float = 0.0
    hot_correct: float = 0.0
    cold: float = 0.0
    cold_correct: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.hot + other.hot,
            self.hot_correct + other.hot_correct,
            self.cold + other.cold,
            self.cold_correct + other.cold_correct,
        )

    @property
    def recall(self) -> float | None:
        """The share of hot memory that was reported hot; None if no memory was hot."""
        return self.hot_correct / self.hot if self.hot else None

    @property
    def precision(self) -> float | None:
        """The share of memory reported hot that was hot; None if none was reported hot."""
        reported_hot = self.hot_correct + self.cold - self.cold_correct
        return self.hot_correct / reported_hot if reported_hot else None

    @property
    def cold_recall(self) -> float | None:
        """The share of cold memory that was reported cold; None if no memory was cold."""
        return self.cold_correct / self.cold if self.cold else None


@frozen
class PhaseJudgement:
    """One phase and the monitor's results in it.

    Attributes:
        phase: The phase.
        score: The score of the phase.
        working_sets_bytes: For each aggregation within the phase, the bytes of the areas that
            were found accessed.
    """

    phase: PhaseRun
    score: Score
    working_sets_bytes: tuple[int, ...]


@frozen
class Judgement:
    """The judgement of all aggregations that lie within one phase; the others are only counted.

    Attributes:
        phases: The phases in which at least one aggregation was judged.
        left_out: Number of aggregations not judged because a phase began or ended in them.
    """

    phases: tuple[PhaseJudgement, ...] = ()
    left_out: int = 0

    @property
    def judged(self) -> int:
        """The number of judged aggregations."""
        return sum(len(phase.working_sets_bytes) for phase in self.phases)

    @property
    def score(self) -> Score:
        """The score of all phases together."""
        return sum((phase.score for phase in self.phases), Score())


def area_working_set_bytes(snapshot: Snapshot, areas: Sequence[AreaPlace]) -> int:
    """Return the bytes of the areas that were accessed at least once in the aggregation.

    A region counts for the share of its bytes that is in its `Snapshot.working_set`.
    """
    accessed = snapshot.working_set() / np.maximum(snapshot.resident_bytes, 1)
    return round(float((_overlap_bytes(snapshot, _ranges(areas)) * accessed).sum()))


def judge(truth: Truth, snapshots: Sequence[Snapshot]) -> Judgement:
    """Compare the snapshots of the workload's areas with the truth."""
    phases: dict[int, PhaseJudgement] = {}
    left_out = 0
    for snapshot in snapshots:
        phase = truth.phase_throughout(snapshot.time_us - snapshot.elapsed_us, snapshot.time_us)
        if phase is None:
            left_out += 1
            continue
        before = phases.get(phase.number, PhaseJudgement(phase, Score(), ()))
        phases[phase.number] = PhaseJudgement(
            phase,
            before.score + _score(snapshot, truth),
            (*before.working_sets_bytes, area_working_set_bytes(snapshot, truth.areas)),
        )
    return Judgement(tuple(phases.values()), left_out)


def _score(snapshot: Snapshot, truth: Truth) -> Score:
    """Judge one aggregation that lies within one phase."""
    is_hot = snapshot.frequency >= HOT_FREQUENCY
    hot_ranges = [
        Range(each.start, each.end)
        for each in truth.accessed(snapshot.time_us)
        if each.frequency(snapshot.intervals.sampling_us) >= HOT_FREQUENCY
    ]
    hot = sum(end - start for start, end in hot_ranges)
    cold = sum(area.size_bytes for area in truth.areas) - hot
    # Memory that no region covers was not reported hot, so it counts as reported cold.
    reported_hot = float(_overlap_bytes(snapshot, _ranges(truth.areas))[is_hot].sum())
    hot_correct = float(_overlap_bytes(snapshot, hot_ranges)[is_hot].sum())
    cold_correct = cold - (reported_hot - hot_correct)
    bytes_us = np.array([hot, hot_correct, cold, cold_correct]) * snapshot.elapsed_us
    return Score(*bytes_us.tolist())


def _ranges(areas: Sequence[AreaPlace]) -> list[Range]:
    return [Range(area.start, area.end) for area in areas]


def _overlap_bytes(snapshot: Snapshot, ranges: Sequence[Range]) -> npt.NDArray[np.float64]:
    """Return how many bytes of each region lie in sorted ranges."""
    if not ranges:
        return np.zeros(len(snapshot))
    sizes = np.array([[0, end - start] for start, end in ranges]).ravel()
    borders = np.array(ranges).ravel()
    # The bytes of the ranges below an address; they are few enough to be exact as floats.
    below_start, below_end = (
        np.interp(addresses, borders, np.cumsum(sizes))
        for addresses in (snapshot.start, snapshot.end)
    )
    overlap: npt.NDArray[np.float64] = below_end - below_start
    return overlap
