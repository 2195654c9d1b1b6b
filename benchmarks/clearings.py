"""Clearings of accessed bits, as a callback sees them."""

from attrs import define, field

from damon_core import HookContext


@define
class Clearings:
    """Notices when a context has cleared all accessed bits of its targets.

    In the later aggregations of an epoch a few may be cleared; that doesn't count.

    Attributes:
        epoch: The epoch; 0 where there are none.
    """

    epoch: int = field(default=0, init=False)
    _held_us: int = field(default=0, init=False)

    def is_new(self, context: HookContext) -> bool:
        """Return whether there was one since the last call."""
        held_us = sum(target.toll.held_us for target in context.targets)
        epoch = context.targets[0].epoch if context.targets else 0
        found = held_us > self._held_us and (not epoch or epoch != self.epoch)
        self._held_us, self.epoch = held_us, epoch
        return found
