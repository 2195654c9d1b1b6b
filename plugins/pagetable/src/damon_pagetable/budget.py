"""How many blocks of memory a look may take, so that looks stay within the budget of a context."""

import math

from damon_core import HookContext

#: The greatest part of the CPU budget for looks and what is made of them: the rest is for clearing.
_SHARE = 0.5
#: Before memory is left out, aggregations may become as long as this.
_LEAST_AGGREGATION_US = 5_000_000
#: Most aggregations have one look, and their end takes as long as two more.
_LOOKS = 3
#: A look takes at least this many blocks.
_LEAST_BLOCKS = 64
#: What a block takes until it is measured, in microseconds; and the weight of what is measured.
_BLOCK_US = 2.5
_WEIGHT = 0.1


class LookBudget:
    """Finds how many blocks may be looked at, from what those so far have cost."""

    def __init__(self) -> None:
        self._block_us = _BLOCK_US

    def looked(self, cpu_us: float, blocks: int) -> None:
        """Add what a look has cost."""
        if blocks >= _LEAST_BLOCKS:
            self._block_us += _WEIGHT * (cpu_us / blocks - self._block_us)

    def most_blocks(self, context: HookContext) -> float:
        """Return how many blocks of all processes together a look may take.

        With them an aggregation is no longer than 5 seconds, or than it is anyway, because of the
        looks.
        """
        if context.cpu_budget is None:
            return math.inf
        time_us = max(context.intervals.aggregation_us, _LEAST_AGGREGATION_US)
        most = _SHARE * context.cpu_budget * time_us / (_LOOKS * self._block_us)
        return max(math.floor(most), _LEAST_BLOCKS)
