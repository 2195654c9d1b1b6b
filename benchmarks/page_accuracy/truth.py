"""Which pages were used in a time, and how soon."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen

from benchmarks.page_accuracy.patterns import Pages, Pattern

Times = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Later than everything in nanoseconds.
NEVER = 1 << 62


@frozen(eq=False)
class Touched:
    """What is certain of each page of a pattern in a time.

    Attributes:
        surely: Whether it was certainly used.
        maybe: Whether it may have been.
        early_ns: When it was first used, at the earliest.
        late_ns: At the latest.
    """

    surely: Flags
    maybe: Flags
    early_ns: Times
    late_ns: Times


class Truth:
    """What a program really used, by its timetable and its log.

    Attributes:
        begin_ns: When each tick began.
        end_ns: When it ended.
    """

    def __init__(self, pattern: Pattern, log: Path) -> None:
        self._pattern = pattern
        self._periods, self._phases, self._turns = (
            pattern.column(name) for name in ("periods", "phases", "turns")
        )
        count = int(np.fromfile(log, dtype=np.int64, count=1)[0])
        ticks = np.fromfile(log, dtype=np.int64, offset=8, count=2 * count).reshape(-1, 2)
        self.begin_ns: Times = ticks[:, 0]
        self.end_ns: Times = ticks[:, 1]

    def touched(self, begin_ns: tuple[int, int], end_ns: tuple[int, int]) -> Touched:
        """Return what was used in a time, of which begin and end are known to be between two."""
        first = self._due(int(np.searchsorted(self.end_ns, begin_ns[0])))
        early_ns = np.maximum(np.append(self.begin_ns, NEVER)[first], begin_ns[0])
        surely = self._due(int(np.searchsorted(self.begin_ns, begin_ns[1])))
        late_ns = np.append(self.end_ns, NEVER)[surely]
        return Touched(late_ns <= end_ns[0], early_ns <= end_ns[1], early_ns, late_ns)

    def used_share(self, begin_ns: int, end_ns: int, interval_us: int) -> float:
        """Return how many pages are used in an interval of a time, on average.

        Args:
            begin_ns: The begin of the time.
            end_ns: Its end.
            interval_us: The length of the interval.
        """
        first, last = np.searchsorted(self.begin_ns, (begin_ns, end_ns)).tolist()
        if last <= first:
            return 0.0
        tick_us = (end_ns - begin_ns) / 1e3 / (last - first)
        shares = np.minimum(interval_us / (self._periods * tick_us), 1.0)
        if self._pattern.turn_ticks:
            turn = np.arange(first, last) // self._pattern.turn_ticks % self._pattern.last_turn + 1
            of_turn = np.bincount(turn, minlength=self._pattern.last_turn + 1) / (last - first)
            shares *= np.where(self._turns > 0, of_turn[self._turns], 1.0)
        return float(shares.sum())

    def changes_ns(self) -> Sequence[tuple[int, int]]:
        """Return when each turn after the first began, and its number."""
        if not self._pattern.turn_ticks:
            return []
        ticks = range(self._pattern.turn_ticks, len(self.begin_ns), self._pattern.turn_ticks)
        return [
            (
                int(self.begin_ns[tick]),
                tick // self._pattern.turn_ticks % self._pattern.last_turn + 1,
            )
            for tick in ticks
        ]

    def periods_us(self) -> npt.NDArray[np.float64]:
        """Return every how many microseconds each page is used."""
        tick_us = (self.begin_ns[-1] - self.begin_ns[0]) / 1e3 / (len(self.begin_ns) - 1)
        periods_us: npt.NDArray[np.float64] = self._periods.astype(np.float64) * float(tick_us)
        return periods_us

    def _due(self, tick: int) -> Pages:
        """Return the first tick from one on in which each page is due.

        For those that aren't due in the log it is the number of ticks.
        """
        periods, phases = self._periods, self._phases
        due = phases + np.maximum(-(-(tick - phases) // periods), 0) * periods
        length = self._pattern.turn_ticks
        if length:
            turns = self._pattern.last_turn
            # How many turns later that of the page is.
            away = (self._turns - 1 - tick // length) % turns
            later = (tick // length + away) * length
            due = np.where((self._turns == 0) | (away == 0), due, later)
        in_log: Pages = np.minimum(due, len(self.begin_ns))
        return in_log
