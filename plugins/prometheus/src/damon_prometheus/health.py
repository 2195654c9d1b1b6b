"""Whether contexts have what they should have: for checks of health and readiness."""

from collections.abc import Iterator

from damon_core import HookContext, format_duration
from damon_prometheus.collector import ContextsCollector, Served

#: Data of so many aggregations isn't stale, whatever the option says: a budget may stretch them.
_AGGREGATIONS = 3


class Health:
    """Says what is wrong with the contexts that are served.

    Args:
        contexts: The contexts.
    """

    def __init__(self, contexts: ContextsCollector) -> None:
        self._contexts = contexts

    def stale(self) -> Iterator[str]:
        """Return which contexts have no recent data, and since when: they don't work."""
        for served, context in self._contexts.served():
            if served.ended:
                continue
            age_us = _age_us(served, context)
            limit_us = max(
                served.options.stale_after, _AGGREGATIONS * context.intervals.aggregation_us
            )
            if age_us > limit_us:
                yield (
                    f"context '{served.label}': its last aggregation ended "
                    f"{format_duration(age_us)} ago"
                    if served.followed is not None
                    else f"context '{served.label}': no aggregation since it began "
                    f"{format_duration(age_us)} ago"
                )

    def not_ready(self) -> Iterator[str]:
        """Return which contexts have no data yet, or none that is recent."""
        if expected := self._contexts.expected:
            yield f"{expected} of the contexts haven't begun"
        for served, _ in self._contexts.served():
            if not served.ended and served.followed is None:
                yield f"context '{served.label}': its first aggregation hasn't ended yet"
        yield from self.stale()


def _age_us(served: Served, context: HookContext) -> int:
    """Return how long ago the last aggregation ended, or the run began."""
    followed = served.followed
    if followed is None:
        return context.clock.now_us() - served.began_us
    return context.clock.now_us() - served.began_us - followed.watched_us
