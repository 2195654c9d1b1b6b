"""Rules that select processes by what they are known by, and the source that follows them."""

import os
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from attrs import field, frozen

from damon_core import AttributeValueError
from damon_vaddr.identity import LABELS, Identities
from damon_vaddr.processes import Process, ProcessTable, descendants_of
from damon_vaddr.procfs import Stat, command_line, pids, printable, read_stat

#: Patterns by what they are compared with: one, or several of which one has to match.
Patterns = Mapping[str, str | tuple[str, ...]]
#: What is compared, too, but is no label: command lines may be long, and have passwords in them.
_CMDLINE = "cmdline"
_NAMES = (*LABELS, _CMDLINE)


@frozen
class Rule:
    """What a process has to be to be selected.

    Patterns are those of shells: ``*``, ``?`` and ``[a-z]``, by the names of `LABELS`, or by
    ``cmdline`` for the arguments with spaces between them. All of the names have to match.

    Attributes:
        match: What processes have to be; empty for any.
        exclude: What is left out of these; empty for nothing.

    Raises:
        AttributeValueError: A name is another.
    """

    match: Patterns = field(factory=dict)
    exclude: Patterns = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        check_names("match", self.match)
        check_names("exclude", self.exclude)

    @property
    def asks_cmdline(self) -> bool:
        """Whether command lines are compared."""
        return _CMDLINE in self.match or _CMDLINE in self.exclude

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Return whether a process is selected, given its labels and perhaps its ``cmdline``."""
        excluded = bool(self.exclude) and _matches(self.exclude, labels)
        return not excluded and _matches(self.match, labels)


def check_names(attribute: str, patterns: Patterns) -> None:
    """Refuse names of patterns that nothing is compared with.

    Raises:
        AttributeValueError: There is one.
    """
    for name in patterns:
        if name not in _NAMES:
            allowed = f"must be one of {', '.join(_NAMES)}"
            raise AttributeValueError(f"{attribute}.{name}", repr(name), allowed)


def _matches(patterns: Patterns, labels: Mapping[str, str]) -> bool:
    return all(
        any(fnmatchcase(labels.get(name, ""), each) for each in _several(pattern))
        for name, pattern in patterns.items()
    )


def _several(pattern: str | tuple[str, ...]) -> Iterable[str]:
    return (pattern,) if isinstance(pattern, str) else pattern


class RuleSource:
    """All processes that a rule selects, now and later.

    They are looked for when the context updates. A process that was refused is asked again when it
    has another name, as after it has executed another program; one that was selected stays. This
    program itself is never selected.

    Args:
        rule: The rule.
        descendants: Whether their children, grandchildren and so on are monitored as well.
        wait: Whether to wait when there is none of them any more; otherwise that is the end.

    Raises:
        TargetError: /proc belongs to another pid namespace.
    """

    def __init__(self, rule: Rule, descendants: bool = False, wait: bool = True) -> None:
        self._rule = rule
        self._descendants = descendants
        self._wait = wait
        self._identities = Identities()
        self._table = ProcessTable()
        # What processes were when they were refused, by their pids: asked again if they change.
        self._refused: dict[int, tuple[int, bytes]] = {}
        self._has_found = False

    def start(self) -> None:
        """Begin anew."""
        self._refused.clear()
        self._has_found = False

    def processes(self) -> Collection[Process]:
        """Return the processes that the rule selects now.

        Raises:
            OSError: They can't be found just now, as too many files are open.
        """
        self._table.add_all(self._found())
        if self._descendants:
            self._table.add_all(descendants_of({process.pid for process in self._table}))
        self._has_found |= len(self._table) > 0
        return list(self._table)

    def _found(self) -> set[int]:
        """Return the pids of processes that are selected and not followed yet."""
        refused: dict[int, tuple[int, bytes]] = {}
        found = set()
        for pid in pids():
            if pid in self._table or pid == os.getpid():
                continue
            try:
                stat = read_stat(pid)
                now = (stat.started, stat.name)
                if self._refused.get(pid) != now and self._selects(pid, stat):
                    found.add(pid)
                else:
                    refused[pid] = now
            except (ProcessLookupError, PermissionError):  # it has ended meanwhile, or is hidden
                continue
        self._refused = refused
        return found

    def _selects(self, pid: int, stat: Stat) -> bool:
        if stat.is_of_kernel:
            return False
        labels = dict(self._identities.labels_of_pid(pid))
        if self._rule.asks_cmdline:
            arguments = command_line(pid).rstrip(b"\0").replace(b"\0", b" ")
            labels[_CMDLINE] = printable(os.fsdecode(arguments))
        return self._rule.selects(labels)

    def take_ended(self) -> Collection[Process]:
        """Return the processes that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Return whether all have ended and others aren't waited for."""
        return not self._wait and self._has_found and not len(self._table)

    def close(self) -> None:
        """Close the processes."""
        self._table.close()
