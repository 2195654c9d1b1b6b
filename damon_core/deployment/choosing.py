"""Which backend "auto" takes where there are many targets, of all contexts together."""

import logging
from collections.abc import Iterable, Sequence

from attrs import define, field

from damon_core.attributes import DEFAULT_MAX_STALENESS_US
from damon_core.deployment.model import ContextConfig
from damon_core.errors import InputError
from damon_core.loop.context import Context
from damon_core.registry.backends import (
    Crowd,
    KnownBackends,
    is_automatic,
    preferred_backend,
)
from damon_core.units import format_duration

logger = logging.getLogger(__name__)

#: The choice is made as for more targets until they are so many less, each time for so long: of
#: many targets some come with each update.
_FEWER = 0.5
_TIMES = 60


@define(eq=False)
class Choosing:
    """Counts targets, and sees which contexts would get another backend by now.

    Args:
        backends: The backends; their order follows the number of targets.

    Attributes:
        changed: Whether targets have become too many for a backend, or are no longer too many.
            Whoever uses it sets it to False.
    """

    _backends: KnownBackends
    changed: bool = field(default=False, init=False)
    _mean: float = field(default=0.0, init=False)  # targets of a context, where nothing runs yet
    _fewer: int = field(default=0, init=False)  # how often there were so many less
    _excessive: set[str] = field(factory=set, init=False)

    def begin(
        self, configs: Sequence[ContextConfig], first: Sequence[ContextConfig], budget: float
    ) -> None:
        """Count the targets that there are before contexts are made.

        Args:
            configs: All contexts.
            first: Those that will be made first: others are taken to be like them.
            budget: The share of one processor for all contexts.
        """
        stale_us = min(each.max_staleness_us or DEFAULT_MAX_STALENESS_US for each in configs)
        self._backends.crowd = Crowd(self._backends.crowd.targets, budget * stale_us)
        if any(is_automatic(each.primitive.options) for each in first):
            counts = [_count(each) for each in first]
            self._mean = sum(counts) / len(counts)
            for each in first:
                self._backends.of(each.primitive.part.name)
        self._fewer = _TIMES

    def follow(self, contexts: Iterable[Context], due: int) -> None:
        """Count the targets of contexts that run, and of as many that will."""
        running = [len(each.targets) for each in contexts if each.running]
        known = [count for count in running if count]
        mean = sum(known) / len(known) if known else self._mean
        count = round(sum(running) + due * mean)
        before = self._backends.crowd
        self._fewer = self._fewer + 1 if count < _FEWER * before.targets else 0
        if count > before.targets or self._fewer > _TIMES:
            self._backends.crowd, self._fewer = Crowd(count, before.spare_us), 0
        excessive = self._backends.excessive
        if excessive.keys() == self._excessive:
            return
        self._excessive, self.changed = set(excessive), True
        for name, target_us in excessive.items():
            logger.warning(
                "'auto' doesn't take backend '%s' for %d targets: at %s for each, cpu_budget "
                "doesn't suffice for values that aren't older than max_staleness",
                name,
                self._backends.crowd.targets,
                format_duration(round(target_us)),
            )

    def another(self, context: Context, config: ContextConfig) -> str:
        """Return the name of the backend that a context would get now; empty if it has that."""
        part = config.primitive.part
        if not is_automatic(config.primitive.options):
            return ""
        name = preferred_backend(part.name, self._backends.of(part.name))
        return name if name != context.backend_name else ""


def _count(config: ContextConfig) -> int:
    """Return how many targets a context would have now, as far as that is known quickly."""
    count = config.primitive.part.count
    try:
        return 0 if count is None else count(config.primitive.options)
    except InputError:  # it isn't there yet
        return 0
