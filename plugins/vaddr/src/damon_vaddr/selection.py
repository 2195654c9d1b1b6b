"""Rules that select processes by what they are known by, and the source that follows them."""

import os
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping
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
#: What only those may ask that may read the process's memory.
_EXE = "exe"
_CGROUP = "cgroup"
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

    def asks(self, name: str) -> bool:
        """Return whether something is compared by a name."""
        return name in self.match or name in self.exclude

    @property
    def is_empty(self) -> bool:
        """Whether it selects everything."""
        return not self.match and not self.exclude

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Return whether a process is selected, given its labels and perhaps its ``cmdline``."""
        excluded = bool(self.exclude) and _matches(self.exclude, labels)
        return not excluded and _matches(self.match, labels)

    def without(self, name: str) -> "Rule":
        """Return the rule that asks the same but for one name."""
        match = {each: pattern for each, pattern in self.match.items() if each != name}
        return Rule(match, {} if name in self.exclude else self.exclude)


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
        any(_is_like(name, labels.get(name, ""), each) for each in _several(pattern))
        for name, pattern in patterns.items()
    )


def _is_like(name: str, value: str, pattern: str) -> bool:
    # Paths of cgroups are written without the first slash, too, as by systemd.
    if name == _CGROUP and not pattern.startswith(("/", "*")):
        value = value.removeprefix("/")
    return fnmatchcase(value, pattern)


def _several(pattern: str | tuple[str, ...]) -> Iterable[str]:
    return (pattern,) if isinstance(pattern, str) else pattern


class Selector:
    """Asks processes whether a rule selects them.

    One that was refused is asked again when it has another name, as after it has executed another
    program. This program itself is never selected, nor are threads of the kernel.

    Args:
        rule: The rule.

    Attributes:
        left_out: How many couldn't be asked though they may be meant, by the words of `REASONS`.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._identities = Identities()
        # What processes were when they were refused, by their pids, and why they couldn't be asked.
        self._refused: dict[int, tuple[tuple[int, bytes], str]] = {}
        self.left_out: Counter[str] = Counter()

    def clear(self) -> None:
        """Forget what was refused."""
        self._refused.clear()
        self.left_out = Counter()

    def select(self, asked: Iterable[int]) -> set[int]:
        """Return the pids of those that are selected.

        Args:
            asked: All that are there and aren't selected yet.
        """
        refused: dict[int, tuple[tuple[int, bytes], str]] = {}
        selected, self.left_out = set(), Counter()
        for pid in asked:
            if pid == os.getpid():
                continue
            try:
                stat = read_stat(pid)
                now, why = (stat.started, stat.name), ""
                before = self._refused.get(pid)
                if before is not None and before[0] == now:
                    why = before[1]
                else:
                    is_selected, why = self._ask(pid, stat)
                    if is_selected:
                        selected.add(pid)
                        continue
                refused[pid] = now, why
            except ProcessLookupError:  # it has ended meanwhile
                continue
            except PermissionError:
                why = "hidden"
            if why:
                self.left_out[why] += 1
        self._refused = refused
        return selected

    def _ask(self, pid: int, stat: Stat) -> tuple[bool, str]:
        """Return whether a process is selected, and why not if it couldn't be asked."""
        if stat.is_of_kernel:
            return False, ""
        labels = dict(self._identities.labels_of_pid(pid))
        if self._rule.asks(_CMDLINE):
            arguments = command_line(pid).rstrip(b"\0").replace(b"\0", b" ")
            labels[_CMDLINE] = printable(os.fsdecode(arguments))
        if _EXE not in labels and self._rule.asks(_EXE):
            # Excluded programs are monitored only if they are known to be others.
            return False, "unreadable" if self._rule.without(_EXE).selects(labels) else ""
        return self._rule.selects(labels), ""


class Descendants:
    """Finds the children, grandchildren and so on of processes, but for those that are left out.

    Those of a process that is left out are found all the same.

    Args:
        exclude: What is left out; nothing by default.
    """

    def __init__(self, exclude: Patterns | None = None) -> None:
        self._selector = Selector(Rule(exclude=exclude)) if exclude else None

    @property
    def left_out(self) -> Counter[str]:
        """How many couldn't be asked though they may be meant, by the words of `REASONS`."""
        return Counter() if self._selector is None else self._selector.left_out

    def clear(self) -> None:
        """Forget what was left out."""
        if self._selector is not None:
            self._selector.clear()

    def of(self, parents: set[int], known: Container[int]) -> set[int]:
        """Return the pids of those of `parents`, without those that are known already.

        Raises:
            OSError: /proc can't be read, as with too many open files.
        """
        found = {pid for pid in descendants_of(parents) if pid not in known}
        return found if self._selector is None else self._selector.select(found)


class RuleSource:
    """All processes that a rule selects, now and later.

    They are looked for when the context updates, as `Selector` does; one that was selected stays.
    What the rule excludes is left out of their descendants, too.

    Args:
        rule: The rule.
        descendants: Whether their children, grandchildren and so on are monitored as well.
        wait: Whether to wait when there is none of them any more; otherwise that is the end.

    Raises:
        TargetError: /proc belongs to another pid namespace.
    """

    def __init__(self, rule: Rule, descendants: bool = False, wait: bool = True) -> None:
        self._selector = Selector(rule)
        self._descendants = Descendants(rule.exclude) if descendants else None
        self._wait = wait
        self._table = ProcessTable()
        self._has_found = False

    @property
    def has_more(self) -> bool:
        """Whether some processes are to come with the next updates, as there are many."""
        return self._table.has_more

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many can't be monitored, or can't be asked, by the words of `REASONS`."""
        below = Counter() if self._descendants is None else self._descendants.left_out
        return self._table.left_out + self._selector.left_out + below

    def start(self) -> None:
        """Begin anew."""
        self._selector.clear()
        if self._descendants is not None:
            self._descendants.clear()
        self._has_found = False

    def processes(self) -> Collection[Process]:
        """Return the processes that the rule selects now.

        Raises:
            OSError: They can't be found just now, as too many files are open.
        """
        found = self._selector.select(pid for pid in pids() if pid not in self._table)
        if self._descendants is not None:
            parents = found.union(process.pid for process in self._table)
            found |= self._descendants.of(parents, self._table)
        self._table.add_all(found - {os.getpid()})
        self._has_found |= len(self._table) > 0
        return list(self._table)

    def take_ended(self) -> Collection[Process]:
        """Return the processes that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Return whether all have ended and others aren't waited for."""
        return not self._wait and self._has_found and not len(self._table)

    def close(self) -> None:
        """Close the processes."""
        self._table.close()
