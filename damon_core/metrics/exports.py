"""The contexts whose metrics are exported together, such as by one listener."""

import logging
import threading
import time
import weakref
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from attrs import define, field, frozen

from damon_core.contract.context import HookContext
from damon_core.contract.measures import Measure
from damon_core.metrics.following import Followed, Follower
from damon_core.metrics.grouping import text
from damon_core.metrics.options import MetricsOptions

logger = logging.getLogger(__name__)

Options = TypeVar("Options", bound=MetricsOptions)


@define(eq=False)
class Exported(Generic[Options]):
    """A context whose metrics are exported.

    Attributes:
        label: What its metrics call it.
        context: The context. Weak: one that has ended is known only as long as something else
            refers to it.
        options: What of it is exported.
        began_us: When it began, on its clock.
        began_ns: When it began, Unix nanoseconds.
        follower: Follows its aggregations.
        followed: The last one; None before the first and after the end.
        ended: Whether it has ended.
    """

    label: str
    context: weakref.ref[HookContext]
    options: Options
    began_us: int
    began_ns: int
    follower: Follower
    followed: Followed | None = field(default=None, init=False)
    ended: bool = field(default=False, init=False)


class Exports(Generic[Options]):
    """The contexts that an exporter exports, each from its beginning until it is forgotten.

    Contexts of one name are told apart by a number: a second ``db`` is called ``db#2``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exported: dict[Hashable, Exported[Options]] = {}

    def begin(self, key: Hashable, context: HookContext, options: Options) -> None:
        """Export a context from now on; called when it begins.

        One of the same name that has ended is forgotten.

        Args:
            key: What the context is known by in other calls.
            context: The context.
            options: What of it is exported.
        """
        with self._lock:
            self._exported = {
                other: exported
                for other, exported in self._exported.items()
                if other != key
                and exported.context() is not None
                and not (exported.ended and exported.label == context.name)
            }
            taken = {exported.label for exported in self._exported.values()}
            label, number = context.name, 1
            while label in taken:
                number += 1
                label = f"{context.name}#{number}"
            now_us = context.clock.now_us()
            follower = Follower(options.by, options.windows, now_us)
            self._exported[key] = Exported(
                label, weakref.ref(context), options, now_us, time.time_ns(), follower
            )
        if label != context.name:
            logger.warning(
                "a context named '%s' is served already: the metrics of the new one have "
                'context="%s"',
                context.name,
                label,
            )

    def follow(self, key: Hashable, context: HookContext) -> None:
        """Take note of the last snapshot of a context; called in its worker."""
        exported = self._exported.get(key)
        snapshot = context.snapshot
        if exported is not None and snapshot is not None:
            exported.followed = exported.follower.follow(context, snapshot)

    def end(self, key: Hashable) -> None:
        """Mark a context as ended: from now on it has its counts only, and no snapshot."""
        with self._lock:
            exported = self._exported.get(key)
            if exported is not None:
                exported.ended, exported.followed = True, None

    def forget(self, ended: Collection[Exported[Options]]) -> None:
        """Forget contexts that have ended."""
        with self._lock:
            self._exported = {
                key: exported for key, exported in self._exported.items() if exported not in ended
            }

    def current(self) -> list[tuple[Exported[Options], HookContext]]:
        """Return the contexts that there are."""
        with self._lock:
            everything = list(self._exported.values())
        found = ((exported, exported.context()) for exported in everything)
        return [(exported, context) for exported, context in found if context is not None]

    def charge(self, cpu_s: float, shares: Mapping[str, float]) -> None:
        """Add CPU time that exporting has cost to the contexts that run.

        Args:
            cpu_s: All of it, in seconds.
            shares: What of it was for one context, by its label; the rest is for all alike.
        """
        running = [(each, context) for each, context in self.current() if not each.ended]
        rest_s = max(cpu_s - sum(shares.values()), 0.0)
        for each, context in running:
            own_s = shares.get(each.label, 0.0) + rest_s / len(running)
            context.charge_cpu(round(own_s * 1e6))


@frozen
class Measured:
    """A number that parts of contexts know of themselves, as it is exported.

    Attributes:
        measure: The measure; of several with the same labels the first.
        labels: Its labels; the context's is among them if it is one of the context.
        value: The number: where several parts of a context have the same, their sum.
    """

    measure: Measure
    labels: Mapping[str, str]
    value: float


class Measures:
    """The measures of contexts.

    Args:
        taken: The names without ``damon_`` that other metrics have: measures called so are left
            out, which is logged once.
    """

    def __init__(self, taken: Collection[str]) -> None:
        self._taken = frozenset(taken)
        self._refused: set[str] = set()

    def collect(self, exports: Iterable[tuple[Exported[Options], HookContext]]) -> list[Measured]:
        """Return the measures of contexts."""
        found: dict[tuple[str, frozenset[tuple[str, str]]], Measured] = {}
        for exported, context in exports:
            for measure in context.measures():
                if measure.name.removesuffix("_total") in self._taken:
                    self._refuse(measure)
                    continue
                labels = {name: text(value) for name, value in measure.labels.items()}
                if measure.of_context:
                    labels["context"] = text(exported.label)
                key = measure.name, frozenset(labels.items())
                value = measure.value
                if key in found:
                    if not measure.of_context:
                        continue
                    value += found[key].value
                found[key] = Measured(measure, labels, value)
        return list(found.values())

    def _refuse(self, measure: Measure) -> None:
        if measure.name not in self._refused:
            self._refused.add(measure.name)
            logger.warning("damon_%s is left out: another metric is called so", measure.name)
