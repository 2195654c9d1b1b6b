"""Which targets an aggregation looks at, where the budget doesn't allow it to look at all of them.

Each has an equal part of what can be spent. What costs no more than that is looked at in each
aggregation, and what costs more accordingly less often: so the biggest are the first to be looked
at less often, and as few as possible are.
"""

import heapq
import math
from collections.abc import Iterable, Sequence

from attrs import define, field

from damon_core.memory.target import Target

#: What it costs to look at a target, in bytes of memory for the same time, besides its memory.
_BASE_BYTES = 16 << 20
#: How many targets the first aggregation looks at: nothing is known of the cost yet.
_FIRST = 16
#: How many are named that are looked at less often.
_NAMED = 3


@define(eq=False)
class Rotation:
    """The rotation of one run.

    Attributes:
        max_staleness_us: How old values may be: what is looked at in time isn't looked at more
            often than that, as long as others wait.
        part: Which part of the memory the running aggregation looks at.
        rarer: How many targets are looked at less often than in each aggregation that may be as
            long as values may be old.
        rarest: The biggest of these, and how often they are looked at, in microseconds.
    """

    max_staleness_us: float
    part: float = field(default=1.0, init=False)
    rarer: int = field(default=0, init=False)
    rarest: Sequence[tuple[str, float]] = field(default=(), init=False)
    _measured_us: dict[Target, int] = field(factory=dict, init=False)
    _costs: dict[Target, int] = field(factory=dict, init=False)
    _planned: dict[Target, None] = field(factory=dict, init=False)
    _left_bytes: float = field(default=0.0, init=False)
    _rests: bool = field(default=False, init=False)

    def plan(self, targets: Sequence[Target], part: float, period_us: float, now_us: int) -> None:
        """Choose the targets of the next aggregation: the others rest.

        Args:
            targets: All targets.
            part: Which part of the memory can be looked at.
            period_us: How long the aggregation is to take.
            now_us: The time.
        """
        known = [each for each in targets if each in self._measured_us]
        self._measured_us = {each: self._measured_us[each] for each in known}
        self._costs = {each: self._costs[each] for each in known}
        if not self._measured_us and len(targets) > _FIRST:
            part = min(part, _FIRST / len(targets))
        self._rests = part < 1
        chosen = set(targets) if part >= 1 else self._choose(targets, part, period_us, now_us)
        for each in targets:
            each.resting = each not in chosen
        self._planned = dict.fromkeys(targets)
        if part >= 1:
            self.part, self.rarer, self._left_bytes = 1.0, 0, 0.0
            self.rarest = ()

    def _choose(
        self, targets: Sequence[Target], part: float, period_us: float, now_us: int
    ) -> set[Target]:
        known = self._measured_us
        costs = {each: self._costs.get(each, _BASE_BYTES) for each in targets}
        all_bytes = sum(costs.values())
        affordable = part * all_bytes
        # Of what can be spent while values get as old as they may.
        max_us = max(self.max_staleness_us, period_us)
        level = _level(affordable * max_us / period_us, sorted(costs.values()))

        every_us = {each: max_us * max(cost / level, 1.0) for each, cost in costs.items()}
        # How many of its turns each will have waited; infinitely many at first.
        turns = {
            each: (now_us + period_us - known[each]) / every if each in known else math.inf
            for each, every in every_us.items()
        }

        left = affordable + self._left_bytes
        small = [each for each in targets if costs[each] <= level]
        big = [each for each in targets if costs[each] > level]
        # Those that can be looked at in time come before new ones, and others after new ones.
        small.sort(key=lambda each: min(turns[each], 1.0) if each in known else 0.5, reverse=True)
        big.sort(key=lambda each: (-turns[each], costs[each]))
        chosen: set[Target] = set()
        for each in (*small, *big):
            # In time is what comes sooner than it would in the next aggregation. What is too old
            # anyway takes what is left.
            is_old = each in known and now_us + period_us - known[each] > max_us
            if turns[each] + period_us / 2 / every_us[each] < 1 and not is_old:
                continue
            # One at least is looked at; what that takes too much is left out later.
            if costs[each] > left and chosen:
                break
            chosen.add(each)
            left -= costs[each]
        if not chosen:
            chosen.add(max(targets, key=turns.__getitem__))
            left -= max(costs[each] for each in chosen)
        self._left_bytes = min(left, float(max(costs.values())))
        self.rarer = len(big)
        biggest = heapq.nlargest(_NAMED, big, key=costs.__getitem__)
        self.rarest = [(each.name, every_us[each]) for each in biggest]
        self.part = sum(costs[each] for each in chosen) / all_bytes
        return chosen

    def admit(self, targets: Iterable[Target]) -> None:
        """Let targets that are new rest until the next aggregation, if others do."""
        if not self._rests:
            return
        for each in targets:
            if each not in self._planned:
                each.resting = True
                self._planned[each] = None

    def looked(self, targets: Sequence[Target], now_us: int) -> None:
        """Note that an aggregation has ended."""
        for each in targets:
            if not each.resting:
                self._measured_us[each] = now_us
                self._costs[each] = _BASE_BYTES + int(each.regions.resident_bytes.sum())

    def known(self, targets: Sequence[Target]) -> list[Target]:
        """Return the targets that have values."""
        return [each for each in targets if each in self._measured_us]

    def age_us(self, target: Target, now_us: int) -> int:
        """Return how old the values of a target are."""
        return now_us - self._measured_us.get(target, now_us)

    def oldest_us(self, now_us: int) -> int:
        """Return when the oldest values were measured; now if there are none."""
        return min(self._measured_us.values(), default=now_us)


def _level(affordable: float, costs: Sequence[float]) -> float:
    """Return what each may cost so that all together cost so much; costs are ascending."""
    left = affordable
    for position, cost in enumerate(costs):
        equal = left / (len(costs) - position)
        if cost > equal:
            return equal
        left -= cost
    return math.inf
