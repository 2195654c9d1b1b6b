"""Which groups of processes are there: a line in the log when one has gone, and when it is back."""

import logging
from collections import Counter
from collections.abc import Iterator

from damon_vaddr.identity import GROUP, NO_GROUP
from damon_vaddr.target import ProcessTarget

#: What comes and goes is shown by services, too, unlike other lines of this level.
logger = logging.getLogger("damon.events.vaddr")

#: Of more groups than this that have gone or come within a period, one line says how many.
_MOST_LINES, _PERIOD_US = 6, 10_000_000
#: How many of them it names.
_MOST_NAMED = 3
#: How many groups that have gone are remembered, to say that they are back.
_REMEMBERED = 1_000


class Presence:
    """Follows which groups have processes. Without groups all processes are one.

    Args:
        group_by: The label that groups are named after, or ``none``.
    """

    def __init__(self, group_by: str = NO_GROUP) -> None:
        self._has_groups = group_by != NO_GROUP
        self._group_of: dict[ProcessTarget, str] = {}
        self._without_group: set[ProcessTarget] = set()
        self._logged: set[str] = set()
        self._gone: dict[str, None] = {}
        self._has_begun = False
        # The period in which lines are counted, when it ends, and how many there were.
        self._period_ends_us, self._lines = 0, 0

    def clear(self) -> None:
        """Begin anew."""
        self._group_of.clear()
        self._without_group.clear()
        self._logged.clear()
        self._gone.clear()
        self._has_begun = False
        self._period_ends_us, self._lines = 0, 0

    def add(self, target: ProcessTarget) -> None:
        """Note a target that is new or has other labels."""
        group = target.labels.get(GROUP, "")
        self.remove(target)
        if group or not self._has_groups:
            self._group_of[target] = group
        else:
            self._without_group.add(target)

    def remove(self, target: ProcessTarget) -> None:
        """Note that a target is no longer monitored."""
        self._group_of.pop(target, None)
        self._without_group.discard(target)

    def log(self, context: str, now_us: int) -> None:
        """Log what has come and gone since the last call.

        Where that is much, one line sums up a period; what comes and goes within it isn't logged.

        Args:
            context: The name of the context.
            now_us: The time.
        """
        there = Counter(self._group_of.values())
        if not self._has_begun:
            self._has_begun = True
            self._log_beginning(context, there)
            self._logged = set(there)
            return
        left, came = self._logged - there.keys(), there.keys() - self._logged
        if not left and not came:
            return
        if now_us >= self._period_ends_us:
            self._period_ends_us, self._lines = now_us + _PERIOD_US, 0
        is_much = self._lines + len(left) + len(came) > _MOST_LINES
        if is_much and self._lines:
            return  # until the period ends
        self._lines += _MOST_LINES if is_much else len(left) + len(came)
        for line in self._summary(left, came) if is_much else self._each(left, came, there):
            logger.info("context '%s': %s", context, line)
        self._logged = set(there)
        for group in left:
            self._gone[group] = None
            if len(self._gone) > _REMEMBERED:
                del self._gone[next(iter(self._gone))]
        for group in came:
            self._gone.pop(group, None)

    def _each(self, left: set[str], came: set[str], there: Counter[str]) -> Iterator[str]:
        for group in left:
            yield _gone(group)
        for group in came:
            name = next(each.name for each, of in self._group_of.items() if of == group)
            more = there[group] - 1
            yield _there(group, f"{name} and {more} more" if more else name, self._gone)

    def _summary(self, left: set[str], came: set[str]) -> Iterator[str]:
        back = came & self._gone.keys()
        for groups, what in ((left, "gone"), (back, "back"), (came - back, "new")):
            if groups:
                named = ", ".join(f"'{each}'" for each in sorted(groups)[:_MOST_NAMED])
                more = len(groups) - _MOST_NAMED
                rest = f" and {more} more" if more > 0 else ""
                count = "1 group is" if len(groups) == 1 else f"{len(groups)} groups are"
                yield f"{count} {what}: {named}{rest}"

    def _log_beginning(self, context: str, there: Counter[str]) -> None:
        without = len(self._without_group)
        count = there.total() + without
        processes = "1 process" if count == 1 else f"{count or 'no'} processes"
        groups = ""
        if self._has_groups and there:
            groups = " of 1 group" if len(there) == 1 else f" of {len(there)} groups"
        if without:
            groups += f", {without} of them in no group" if there else " in no group"
        logger.info("context '%s': %s%s at first", context, processes, groups)


def _gone(group: str) -> str:
    return f"group '{group}' has gone" if group else "the last process has gone"


def _there(group: str, which: str, gone: dict[str, None]) -> str:
    if group:
        return f"group '{group}' is {'back' if group in gone else 'new'}: {which}"
    return f"there are processes again: {which}" if gone else f"the first process: {which}"
