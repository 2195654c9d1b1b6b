"""The CPU budget of a group: who may spend how much of it, and who may begin when."""

import math
import threading
from collections.abc import Sequence
from typing import Self

from attrs import frozen

#: What members that run may spend while others wait to begin; what is spent on beginning; and how
#: long the group may spend its whole budget on that at once. Together they leave nothing over in
#: the first half minute.
_FOR_RUNNING = 0.35
_FOR_BEGINNING = 0.6
_AT_ONCE_US = 2_000_000
#: What it costs to begin, first result included, as long as nothing is known.
_GUESS_US = 2_000
#: The weight of what the last member took to begin, in the running mean.
_WEIGHT = 0.25
#: With many members shares are computed anew once this part of them has asked.
_PART = 8
#: The least part of the limit that whoever needs nothing may spend.
_LEAST_LEFT = 1e-6


class SharedBudget:
    """A CPU budget that the contexts of a group share.

    First each has what it needs so that no value gets older than it may be; where that is more
    than there is, those that need most go short. The rest is shared equally, but for those that
    need less: they get what they need. So one expensive context doesn't slow down the cheap ones.

    Members begin one after the other, as the budget allows: a few at once, hundreds over minutes.

    Each worker writes its own entry. What they may spend needs no lock, because a stale entry of
    another only shifts the next decision.

    Args:
        limit: Share of one processor for all together.

    Attributes:
        limit: The same; members follow a change within a few aggregations.
        expected: How many more members will be made, besides those that wait for their turn.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.expected = 0
        self._needs: dict[int, tuple[float, float]] = {}
        self._shares: _Shares | None = None
        self._asked = 0  # since it was computed
        self._lock = threading.Lock()
        # When each may begin, without what it became later since; and what each is to cost.
        self._waiting: dict[int, tuple[float, float]] = {}
        self._beginning: dict[int, float] = {}
        self._free_us = -math.inf  # when the next may begin
        self._late_us = 0.0  # by which all that wait begin later than they were promised
        self._cost_us = float(_GUESS_US)

    def allowance(self, member: int, demand: float, least: float = 0.0) -> float:
        """Return the share that a member may spend.

        Args:
            member: The member.
            demand: What its configured intervals need.
            least: What it needs for values that are as old as they may be, at most `demand`.
        """
        self._asked += 1
        if member not in self._needs or self._asked * _PART >= len(self._needs):
            self._shares = None
        self._needs[member] = needs = min(least, demand), demand
        shares = self._shares
        if shares is None:
            begins = self._waiting or self.expected
            limit = self.limit * (_FOR_RUNNING if begins else 1.0)
            shares = self._shares = _Shares.of(limit, list(self._needs.values()))
            self._asked = 0
        return shares.of_one(*needs)

    def turn(self, member: int, now_us: int) -> int:
        """Return when a member may begin; it asks again then, as that may have become later.

        Args:
            member: The member. It says `has_begun` when it has its first result, or `leave`.
            now_us: The time.
        """
        rate = self.limit * _FOR_BEGINNING
        if math.isinf(rate):
            return now_us
        with self._lock:
            if member in self._beginning:
                return now_us
            if member not in self._waiting:
                due_us = max(self._free_us, now_us - _AT_ONCE_US)
                self._waiting[member] = due_us - self._late_us, self._cost_us
                self._free_us = due_us + self._cost_us / rate
            due_us = self._waiting[member][0] + self._late_us
            if due_us > now_us:
                return math.ceil(due_us)
            self._beginning[member] = self._waiting.pop(member)[1]
            return now_us

    def has_begun(self, member: int, cpu_us: int) -> None:
        """Add the CPU time that it took a member to begin, its first result included."""
        with self._lock:
            if (expected_us := self._beginning.pop(member, None)) is None:
                return
            more_us = (cpu_us - expected_us) / (self.limit * _FOR_BEGINNING)
            self._free_us += more_us
            self._late_us += more_us
            self._cost_us += _WEIGHT * (cpu_us - self._cost_us)

    def has_room(self, now_us: int) -> bool:
        """Return whether one more member may be made now: all that were made have begun."""
        with self._lock:
            return not self._waiting and self._free_us <= now_us

    def spent(self, cpu_us: int, now_us: int) -> None:
        """Add CPU time that it took to make a member: those that are to begin do so later."""
        rate = self.limit * _FOR_BEGINNING
        if math.isinf(rate):
            return
        with self._lock:
            self._free_us = max(self._free_us, now_us - _AT_ONCE_US) + cpu_us / rate
            if self._waiting:
                self._late_us += cpu_us / rate

    def leave(self, member: int) -> None:
        """Forget a member that has ended."""
        self._needs.pop(member, None)
        self._shares = None
        with self._lock:
            self._waiting.pop(member, None)
            self._beginning.pop(member, None)


@frozen
class _Shares:
    """How a limit is shared.

    Attributes:
        level: What each has, but at least what it can't do without, and at most its demand.
        left: What nobody needs.
        is_short: Whether the least needs are more than the limit. Then nobody has more.
    """

    level: float
    left: float
    is_short: bool

    @classmethod
    def of(cls, limit: float, needs: Sequence[tuple[float, float]]) -> Self:
        """Share a limit among members with these least needs and demands."""
        least, demands = sum(low for low, _ in needs), sum(high for _, high in needs)
        if demands <= limit:
            return cls(math.inf, max(limit - demands, limit * _LEAST_LEFT), False)
        is_short = least > limit
        if is_short:
            needs = [(0.0, low) for low, _ in needs]
            least = 0.0
        # From bound to bound, the level raises what those have together who are between theirs.
        steps = sorted([(low, -1) for low, _ in needs] + [(high, 1) for _, high in needs])
        level, count, total = 0.0, 0, least
        for bound, leaves in steps:
            if count and total + count * (bound - level) >= limit:
                break
            total += count * (bound - level)
            level, count = bound, count - leaves
        return cls(level + (limit - total) / max(count, 1), 0.0, is_short)

    def of_one(self, least: float, demand: float) -> float:
        """Return the share of a member: more than it needs if that is less than others have."""
        if self.is_short:
            return min(self.level, least) if least else self.level  # nothing is known yet
        return demand + self.left if math.isinf(self.level) else max(self.level, least)
