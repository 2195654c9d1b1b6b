"""What is followed over the aggregations of a context, besides its last snapshot.

Everything here runs in the worker of the context, and holds no more than the targets that are
there: numbers for each, and none of the past.
"""

from collections.abc import Sequence

from attrs import field, frozen

from damon_core.contract.context import HookContext
from damon_core.memory.bounded import label_of
from damon_core.memory.snapshot import Snapshot


@frozen(eq=False)
class Followed:
    """A snapshot, and what was known only when it was taken.

    Attributes:
        snapshot: The snapshot.
        watched_us: For how long the context had been monitoring, in microseconds.
        touched: For each target, the bytes last accessed within each window, exactly; None where
            not every page is known.
        lost_us: What monitoring has cost the targets of each group since the group is there, by
            the values of its labels; without those that it cost nothing.
        late_after_us: From which age on values counted as late.
    """

    snapshot: Snapshot = field(repr=False)
    watched_us: int
    touched: tuple[tuple[int, ...] | None, ...]
    lost_us: dict[tuple[str, ...], int]
    late_after_us: int


class Follower:
    """Follows the aggregations of one run of a context.

    Args:
        by: The labels by which targets are grouped.
        windows_us: The windows.
        began_us: When the run began, on the context's clock.
    """

    def __init__(self, by: Sequence[str], windows_us: Sequence[int], began_us: int) -> None:
        self._by, self._windows_us, self._began_us = by, windows_us, began_us
        self._tolls_us: dict[str, int] = {}
        self._lost_us: dict[tuple[str, ...], int] = {}

    def follow(self, context: HookContext, snapshot: Snapshot) -> Followed:
        """Add an aggregation."""
        tolls_us: dict[str, int] = {}
        lost_us: dict[tuple[str, ...], int] = {}
        touched: list[tuple[int, ...] | None] = []
        for target in snapshot.targets:
            key = tuple(label_of(target, label) for label in self._by)
            tolls_us[target.name] = target.toll.cpu_us
            before_us = self._tolls_us.get(target.name, 0)
            # One that ended leaves what it lost with its group, so that no counter falls.
            added_us = max(target.toll.cpu_us - before_us, 0)
            lost_us[key] = lost_us.get(key, self._lost_us.get(key, 0)) + added_us
            pages = target.page_map()
            touched.append(
                None
                if pages is None
                else tuple(pages.touched_bytes(each) for each in self._windows_us)
            )
        self._tolls_us, self._lost_us = tolls_us, lost_us
        watched_us = context.clock.now_us() - self._began_us
        some = {key: each for key, each in lost_us.items() if each}
        return Followed(snapshot, watched_us, tuple(touched), some, context.late_after_us)
