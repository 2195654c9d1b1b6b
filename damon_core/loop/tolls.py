"""How far intervals are stretched for what monitoring does to its targets."""

import math

from damon_core.loop.stretching import HEADROOM, ROOM, WEIGHT_AT_ONCE, raised, smoothed
from damon_core.memory.target import Toll

#: The share of the time for which the map of a target is locked, where that takes twice as long at
#: once as it should, or longer.
_RARE = 0.001


class TollKeeper:
    """Finds how far intervals have to be stretched for targets to lose no more than they may.

    Attributes:
        max_slowdown: The share of its time that a target may lose; `math.inf` for no limit.
        max_stall_us: How long its memory map may be locked at once, but for rare exceptions;
            `math.inf` for no limit. `allowed_share` says how rare.
        factor: How far intervals are to be stretched, at least; up to 1 for not at all.
        stalls: Whether the reason is that the map is locked for too long.
        stall_us: The longest time for which it is locked in an aggregation, on average.
        epoch_us: How long an epoch is to take, at least, where it has many aggregations.
    """

    def __init__(self, max_slowdown: float, max_stall_us: float) -> None:
        self.factor = 0.0
        self.epoch_us = 0.0
        self.stalls = False
        self.stall_us = 0.0
        self.max_slowdown = max_slowdown
        self.max_stall_us = max_stall_us
        self._lost: float | None = None  # shares of the time, if nothing were stretched
        self._held: float | None = None
        # Of an epoch, on average, and of the running one.
        self._epoch: tuple[float, float] | None = None
        self._sums = (0, 0)

    def aggregated_in_epoch(self, toll: Toll, *, opened: bool) -> None:
        """Add what an aggregation has cost a target, in an epoch; `fit_epochs` comes after it.

        Args:
            toll: What it has cost.
            opened: Whether the aggregation was the first one of its epoch.
        """
        if opened:
            self.stall_us = smoothed(self.stall_us or None, toll.longest_us)
            if any(self._sums):
                known = self._epoch or self._sums
                lost_us, held_us = (
                    smoothed(before, now, WEIGHT_AT_ONCE)
                    for before, now in zip(known, self._sums, strict=True)
                )
                self._epoch = lost_us, held_us
            self._sums = (0, 0)
        self._sums = self._sums[0] + toll.cpu_us, self._sums[1] + toll.held_us
        lost_us, held_us = map(max, self._sums, self._epoch or self._sums)
        needed_us = lost_us / self.max_slowdown
        rare_us = held_us / allowed_share(self.stall_us, self.max_stall_us)
        self.stalls = rare_us > needed_us
        self.epoch_us = HEADROOM * max(needed_us, rare_us)

    def fit_epochs(self, most_us: int) -> None:
        """Stretch the intervals if epochs can't be as long as needed otherwise.

        Args:
            most_us: How long an epoch may take if the intervals aren't stretched.
        """
        self._stretch(self.epoch_us / HEADROOM / most_us)

    def aggregated(self, toll: Toll, elapsed_us: int, in_force: float) -> None:
        """Add what an aggregation, stretched by the factor `in_force`, has cost a target."""
        self.stall_us = smoothed(self.stall_us if self._held is not None else None, toll.longest_us)
        self._lost = raised(self._lost, in_force * toll.cpu_us / elapsed_us)
        self._held = raised(self._held, in_force * toll.held_us / elapsed_us)
        needed = self._lost / self.max_slowdown
        rare = self._held / allowed_share(self.stall_us, self.max_stall_us)
        self.stalls = rare > needed
        self._stretch(max(needed, rare))

    def _stretch(self, needed: float) -> None:
        if needed > max(self.factor, 1.0) or needed < max(ROOM * self.factor, 1 / HEADROOM):
            self.factor = needed * HEADROOM


def allowed_share(stall_us: float, max_stall_us: float) -> float:
    """Return the share of the time for which a target's memory map may be locked.

    It falls with the square of the length of a stall, so that the mean square of what operations
    of the target wait stays the same: 1.6 % of the time for half of `max_stall_us` at once, 0.4 %
    for all of it, 0.1 % for twice as much. For longer stalls it stays at that: then no more than
    one of a thousand operations meets one.

    Args:
        stall_us: How long it is locked at once.
        max_stall_us: How long it may be.

    Returns:
        The share; 1 or more is no limit.
    """
    return _RARE * max(2 * max_stall_us / stall_us, 1.0) ** 2 if stall_us > 0 else math.inf
