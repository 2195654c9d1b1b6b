"""Which groups of processes are there: a line in the log when one has gone, and when it is back."""

import logging
from collections import Counter

from damon_vaddr.identity import GROUP, NO_GROUP
from damon_vaddr.target import ProcessTarget

#: What comes and goes is shown by services, too, unlike other lines of this level.
logger = logging.getLogger("damon.events.vaddr")

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
        self._logged: set[str] = set()
        self._gone: dict[str, None] = {}
        self._has_begun = False

    def clear(self) -> None:
        """Begin anew."""
        self._group_of.clear()
        self._logged.clear()
        self._gone.clear()
        self._has_begun = False

    def add(self, target: ProcessTarget) -> None:
        """Note a target that is new or has other labels."""
        group = target.labels.get(GROUP, "")
        if group or not self._has_groups:
            self._group_of[target] = group
        else:
            self._group_of.pop(target, None)

    def remove(self, target: ProcessTarget) -> None:
        """Note that a target is no longer monitored."""
        self._group_of.pop(target, None)

    def log(self, context: str) -> None:
        """Log what has come and gone since the last call.

        Args:
            context: The name of the context.
        """
        there = Counter(self._group_of.values())
        if not self._has_begun:
            self._has_begun = True
            self._log_beginning(context, there)
        else:
            for group in self._logged - there.keys():
                logger.info("context '%s': %s", context, _gone(group))
                self._gone[group] = None
                if len(self._gone) > _REMEMBERED:
                    del self._gone[next(iter(self._gone))]
            new = there.keys() - self._logged
            # Of all groups at once: hundreds may be new.
            names = {of: each.name for each, of in reversed(self._group_of.items())} if new else {}
            for group in new:
                name = names[group]
                more = there[group] - 1
                with_ = f"{name} and {more} more" if more else name
                logger.info("context '%s': %s", context, _there(group, with_, self._gone))
                self._gone.pop(group, None)
        self._logged = set(there)

    def _log_beginning(self, context: str, there: Counter[str]) -> None:
        count = there.total()
        processes = "1 process" if count == 1 else f"{count or 'no'} processes"
        groups = ""
        if self._has_groups and there:
            groups = " of 1 group" if len(there) == 1 else f" of {len(there)} groups"
        logger.info("context '%s': %s%s at first", context, processes, groups)


def _gone(group: str) -> str:
    return f"group '{group}' has gone" if group else "the last process has gone"


def _there(group: str, which: str, gone: dict[str, None]) -> str:
    if group:
        return f"group '{group}' is {'back' if group in gone else 'new'}: {which}"
    return f"there are processes again: {which}" if gone else f"the first process: {which}"
