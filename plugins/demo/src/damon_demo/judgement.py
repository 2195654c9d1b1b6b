"""Seen versus true: how many of the hot and cold bytes a monitor told right."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from damon_core import Range, Snapshot
from damon_demo.truth import AreaPlace, PhaseRun, Truth

#: Memory is told hot that was accessed in at least this share of an aggregation's checks.
HOT_FREQUENCY = 0.5


@frozen
class Score:
    """Sums over aggregations of bytes times how long they were watched, in byte-microseconds.

    Attributes:
        hot: Of memory that was truly hot.
        hot_right: Of that which was also told hot.
        cold: Of memory that was truly cold.
        cold_right: Of that which was also told cold.
    """

    hot: float = 0.0
    hot_right: float = 0.0
    cold: float = 0.0
    cold_right: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.hot + other.hot,
            self.hot_right + other.hot_right,
            self.cold + other.cold,
            self.cold_right + other.cold_right,
        )

    @property
    def recall(self) -> float | None:
        """The share of what was hot that was told hot; None if nothing was."""
        return self.hot_right / self.hot if self.hot else None

    @property
    def precision(self) -> float | None:
        """The share of what was told hot that was hot; None if nothing was told hot."""
        told = self.hot_right + self.cold - self.cold_right
        return self.hot_right / told if told else None

    @property
    def cold_recall(self) -> float | None:
        """The share of what was cold that was told cold; None if nothing was."""
        return self.cold_right / self.cold if self.cold else None


@frozen
class PhaseJudgement:
    """One phase as it was and as it was seen.

    Attributes:
        phase: The phase.
        score: How much was told right in it.
        working_sets_bytes: Of each aggregation within it, the bytes of the areas that were seen
            accessed.
    """

    phase: PhaseRun
    score: Score
    working_sets_bytes: tuple[int, ...]


@frozen
class Judgement:
    """All aggregations that lie within one phase, judged; the others are only counted.

    Attributes:
        phases: The phases in which at least one aggregation was judged.
        left_out: How many aggregations were not judged because a phase began or ended in them.
    """

    phases: tuple[PhaseJudgement, ...] = ()
    left_out: int = 0

    @property
    def judged(self) -> int:
        """How many aggregations were judged."""
        return sum(len(phase.working_sets_bytes) for phase in self.phases)

    @property
    def score(self) -> Score:
        """How much was told right in all phases together."""
        return sum((phase.score for phase in self.phases), Score())


def area_working_set_bytes(snapshot: Snapshot, areas: Sequence[AreaPlace]) -> int:
    """Return the bytes of the areas that were accessed at least once in the aggregation.

    A region whose counter is below 1 counts in part, as in `Snapshot.working_set_bytes`.
    """
    accessed = np.clip(snapshot.nr_accesses, 0.0, 1.0)
    return round(float((_overlap_bytes(snapshot, _ranges(areas)) * accessed).sum()))


def judge(truth: Truth, snapshots: Sequence[Snapshot]) -> Judgement:
    """Compare what was seen of the workload's areas with what was true."""
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
    told_hot = snapshot.frequency >= HOT_FREQUENCY
    hot_ranges = [
        Range(each.start, each.end)
        for each in truth.accessed(snapshot.time_us)
        if each.frequency(snapshot.intervals.sampling_us) >= HOT_FREQUENCY
    ]
    hot = sum(end - start for start, end in hot_ranges)
    cold = sum(area.size_bytes for area in truth.areas) - hot
    # What no region covers was not told hot: it counts as told cold.
    told = float(_overlap_bytes(snapshot, _ranges(truth.areas))[told_hot].sum())
    hot_right = float(_overlap_bytes(snapshot, hot_ranges)[told_hot].sum())
    cold_right = cold - (told - hot_right)
    bytes_us = np.array([hot, hot_right, cold, cold_right]) * snapshot.elapsed_us
    return Score(*bytes_us.tolist())


def _ranges(areas: Sequence[AreaPlace]) -> list[Range]:
    return [Range(area.start, area.end) for area in areas]


def _overlap_bytes(snapshot: Snapshot, ranges: Sequence[Range]) -> npt.NDArray[np.float64]:
    """Return how many bytes of each region lie in sorted ranges."""
    if not ranges:
        return np.zeros(len(snapshot))
    sizes = np.array([[0, end - start] for start, end in ranges]).ravel()
    borders = np.array(ranges).ravel()
    # How many bytes of the ranges lie below an address: no float rounds a number so small.
    below_start, below_end = (
        np.interp(addresses, borders, np.cumsum(sizes))
        for addresses in (snapshot.start, snapshot.end)
    )
    overlap: npt.NDArray[np.float64] = below_end - below_start
    return overlap
