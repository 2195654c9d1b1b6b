"""A monitor's answers for the workload's areas, compared with the truth byte by byte."""

import itertools
import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import astuple, frozen
from damon_demo.truth import Truth

from damon_core import Range

#: Memory is reported hot if at least this share of an aggregation's checks saw an access.
HOT_FREQUENCY = 0.5
#: A change is noticed when the F1 of an aggregation is at least this.
NOTICED_F1 = 0.9

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@frozen(eq=False)
class Answer:
    """One aggregation of any monitor; times are Unix microseconds.

    Attributes:
        begin_us: When it began.
        end_us: When it ended.
        checks: Number of checks.
        start: First address of each region.
        end: First address after each region.
        frequency: Share of the checks that saw an access to each region.
    """

    begin_us: int
    end_us: int
    checks: int
    start: Ints
    end: Ints
    frequency: Floats

    def reported_hot_bytes(self, ranges: Sequence[Range]) -> float:
        """Return the bytes of ascending ranges that are reported hot."""
        return self.bytes_by((self.frequency >= HOT_FREQUENCY).astype(float), ranges)

    def bytes_by(self, weight: Floats, ranges: Sequence[Range]) -> float:
        """Return the bytes of ascending ranges, each as often as its region's weight says."""
        sizes = np.array([[0, end - start] for start, end in ranges]).ravel()
        borders = np.array(ranges).ravel()
        below_start, below_end = (
            np.interp(addresses, borders, np.cumsum(sizes)) for addresses in (self.start, self.end)
        )
        return float(((below_end - below_start) * weight).sum())


@frozen
class Score:
    """Bytes of the areas in one aggregation, or sums over several.

    Attributes:
        hot: Bytes that were hot.
        reported: Bytes reported hot.
        both: Bytes that were hot and reported hot.
        wrong: Bytes, each as often as its frequency is wrong: 1 for a hot one that is reported as
            never accessed.
        all: Bytes of all areas.
    """

    hot: float = 0.0
    reported: float = 0.0
    both: float = 0.0
    wrong: float = 0.0
    all: float = 0.0

    @classmethod
    def of(cls, answer: Answer, truth: Truth) -> "Score":
        """Return the score of an answer by what was hot when it ended; only areas count."""
        hot = truth.hot_ranges(answer.end_us)
        areas = [Range(area.start, area.end) for area in truth.areas]
        hot_bytes = float(sum(end - start for start, end in hot))
        seen_hot, seen = (answer.bytes_by(answer.frequency, ranges) for ranges in (hot, areas))
        return cls(
            hot_bytes,
            answer.reported_hot_bytes(areas),
            answer.reported_hot_bytes(hot),
            hot_bytes - seen_hot + seen - seen_hot,
            float(sum(end - start for start, end in areas)),
        )

    def __add__(self, other: "Score") -> "Score":
        return Score(
            *(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        )

    @property
    def precision(self) -> float | None:
        """The share of the bytes reported hot that were hot; None if none were reported."""
        return self.both / self.reported if self.reported else None

    @property
    def recall(self) -> float:
        """The share of the hot bytes that were reported hot."""
        return self.both / self.hot

    @property
    def error(self) -> float:
        """The error of the frequency, the mean over all bytes; hot ones are used in each check."""
        return self.wrong / self.all

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.both / (self.hot + self.reported)


@frozen(eq=False)
class MonitorRun:
    """One run of a monitor beside the workload.

    Attributes:
        begin_us: When it began, Unix microseconds.
        end_us: When it ended.
        sampling_us: The sampling interval requested.
        cpu_us: The CPU time it used until its last aggregation ended, or a little later.
        answers: Its aggregations, in order.
        truth: What the workload really did.
    """

    begin_us: int
    end_us: int
    sampling_us: int
    cpu_us: int
    answers: Sequence[Answer]
    truth: Truth

    @property
    def elapsed_us(self) -> int:
        """The time from its begin to the end of its last aggregation."""
        return self.answers[-1].end_us - self.begin_us

    @property
    def cpu_share(self) -> float:
        """Its CPU time as a share of one core."""
        return self.cpu_us / self.elapsed_us

    @property
    def missed_share(self) -> float:
        """The share of the sampling intervals that passed without a check."""
        checks = sum(answer.checks for answer in self.answers)
        return max(0.0, 1 - checks * self.sampling_us / self.elapsed_us)

    def score(self, since_us: int = 0) -> Score:
        """Return the total score of all aggregations in which nothing changed."""
        return sum(
            (
                Score.of(answer, self.truth)
                for answer in self.answers
                if answer.begin_us >= self.begin_us + since_us
                and self.truth.hot_ranges(answer.begin_us) == self.truth.hot_ranges(answer.end_us)
            ),
            Score(),
        )

    def delays_us(self) -> list[tuple[int, bool]]:
        """Return, for each change, the delay until it was noticed, and whether it was noticed.

        The start counts as a change. The delay of an unnoticed change is the time until the next
        change, or until the end if nothing ever changes. A change that isn't noticed before the
        end is left out otherwise.
        """
        delays = []
        phases = self.truth.phases
        last_us = self.answers[-1].end_us
        for number, phase in enumerate(phases):
            next_us = phases[number + 1].unix_us if number + 1 < len(phases) else None
            changed_us = max(phase.unix_us, self.begin_us)
            end_us = last_us if next_us is None else min(next_us, last_us)
            if end_us <= changed_us:
                continue
            noticed = [
                answer.end_us
                for answer in self.answers
                if changed_us < answer.end_us <= end_us
                and Score.of(answer, self.truth).f1 >= NOTICED_F1
            ]
            if noticed:
                delays.append((noticed[0] - changed_us, True))
            elif end_us == next_us or len(phases) == 1:
                delays.append((end_us - changed_us, False))
        return delays

    def sweeps_per_s(self) -> float:
        """Return how often per second the hot areas were swept, the median of whole phases."""
        phases = self.truth.phases
        return statistics.median(
            sum(phase.sweeps.values()) / (following.unix_us - phase.unix_us) * 1e6
            for phase, following in itertools.pairwise(phases)
            if phase.sweeps and phase.unix_us >= self.begin_us and following.unix_us <= self.end_us
        )
