"""The primitive: the memory of processes, checked by a backend."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import cast

from damon_core import (
    AccumulatingSampling,
    HookContext,
    Intervals,
    Range,
    RegionPolicy,
    SamplingFactory,
    hookimpl,
    part_name,
)
from damon_vaddr.backend import ProcessBackend
from damon_vaddr.descriptors import is_shortage
from damon_vaddr.identity import GROUP, NO_GROUP, Identities
from damon_vaddr.kinds import Kinds
from damon_vaddr.layouts import lay_out
from damon_vaddr.mappings import Claims, clipped, parse_shared
from damon_vaddr.presence import Presence
from damon_vaddr.processes import Process, reason_left_out, why_left_out
from damon_vaddr.sources import ProcessSource
from damon_vaddr.target import LayoutInput, ProcessTarget

logger = logging.getLogger(__name__)

#: How many processes the log names that are not monitored: without privileges it may be most.
_MOST_NAMED = 10
#: Where targets have fewer regions than this, their number is a power of two: so a few processes
#: that come or go don't change the regions of all others.
_FEW_REGIONS = 8
#: How many targets are asked for their names at an update.
_MOST_RENAMED = 128


class ProcessMemory:
    """Monitors processes: one target for each process of a source.

    A process that executes another program has new memory and becomes a new target. A process
    that may not be read is skipped with one warning, unless the user named it: then `init` fails.

    Args:
        source: Finds the processes to monitor.
        backend: Detects their accesses.
        name: The primitive's name in logs.
        better_backends: Returns what works here and is preferred to the backend. To find out may
            take longer than all else, so it is asked only where a message names them.
        group_by: The label that says which group a process belongs to, or ``none``: targets have
            its value as their label ``group``.
        kinds: Whether regions have kinds of memory (`damon_vaddr.kinds`).
        ranges: The only addresses of each process that are monitored, ascending; empty for all.

    Attributes:
        sampling: The backend's way of sampling.
        backend_name: The backend's name.
        left_out: How many processes of the source aren't monitored, by the words of `REASONS`.
    """

    def __init__(
        self,
        source: ProcessSource,
        backend: ProcessBackend,
        name: str = "vaddr",
        better_backends: Callable[[], Sequence[str]] = tuple,
        group_by: str = NO_GROUP,
        *,
        kinds: bool = False,
        ranges: Sequence[Range] = (),
    ) -> None:
        self._ranges = tuple(ranges)
        self._find_better = better_backends
        self.left_out: Mapping[str, int] = {}
        self._group_by = group_by
        self._presence = Presence(group_by)
        # Why processes of the source have no target, by the words of `REASONS`.
        self._refused: dict[Process, str] = {}
        self.name = name
        self.backend_name = part_name(backend)
        self._source = source
        self._given_backend = self._backend = backend
        self.sampling: SamplingFactory = backend.sampling
        self._warned: set[int] = set()
        self._renamed = 0  # how many of the targets, in turn
        self._identities = Identities()
        self._follows_mappings = bool(getattr(backend, "follows_mappings", False))
        self._maps: dict[Process, bytes] = {}
        self._claimed: dict[Process, tuple[Range, ...]] = {}
        self._kinds: Kinds | None = None
        if kinds:
            read_kinds = getattr(backend, "read_kinds", None)
            self._kinds = Kinds(exact=read_kinds is not None)
            if read_kinds is not None:
                read_kinds()

    def choose_sampling(self, context: HookContext, policy: RegionPolicy | None) -> SamplingFactory:
        """Return the backend's way of sampling; the backend may choose it for the context."""
        for_context = getattr(self._given_backend, "for_context", None)
        if for_context is not None:
            is_single = bool(getattr(self._source, "is_single", False))
            self._backend = for_context(context, policy, is_single=is_single)
            self.sampling = self._backend.sampling
        return self.sampling

    @property
    def better_backends(self) -> Sequence[str]:
        """What works here and is preferred to the backend."""
        # Others would answer another question than one that sees writes alone.
        return () if getattr(self._backend, "only_writes", False) else self._find_better()

    @property
    def leaves_resting_targets_alone(self) -> bool:
        """Whether an aggregation may leave targets out: where each has its own looks."""
        return self.sampling is AccumulatingSampling

    @property
    def has_more_targets(self) -> bool:
        """Whether some are to come with the next updates, as there are many."""
        return bool(getattr(self._source, "has_more", False))

    @property
    def stop_timeout_us(self) -> int:
        """How long the source may take to close; 0 if it doesn't wait for anything."""
        return int(getattr(self._source, "stop_timeout_us", 0))

    @property
    def spent_elsewhere_us(self) -> int:
        """CPU time that others, such as the kernel, have spent on sampling; 0 if unknown."""
        return int(getattr(self._backend, "cpu_us", 0))

    @property
    def tuned_intervals(self) -> Intervals | None:
        """The intervals to which what samples has tuned itself; None if it doesn't."""
        tuned: Intervals | None = getattr(self._backend, "tuned_intervals", None)
        return tuned

    @property
    def startup_capabilities(self) -> Collection[int]:
        """The capabilities that the backend needs only until `init` has returned."""
        capabilities: Collection[int] = getattr(self._backend, "startup_capabilities", ())
        return capabilities

    @property
    def ends_on_interrupt(self) -> bool:
        """Whether a command runs that was started, and that Ctrl-C in a terminal reaches too."""
        return bool(getattr(self._source, "command_runs", False))

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Find the processes and make their regions."""
        self._warned.clear()
        self.left_out = {}
        self._presence.clear()
        self._source.start()
        self._follow(context)

    @hookimpl
    def target_valid(self, context: HookContext) -> bool:
        """Drop processes that have ended; return whether there are others or may be later."""
        for process in self._source.take_ended():
            logger.info("context '%s': pid %d has ended", context.name, process.pid)
            self._drop(context, [t for t in _targets(context) if t.process is process])
            self._presence.log(context.name, context.clock.now_us())
        return not self._source.finished()

    @hookimpl
    def prepare_access_checks(self, context: HookContext) -> None:
        """Let the backend prepare."""
        self._replace(context, self._backend.prepare(_looked_at(context), context))

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Let the backend check."""
        self._replace(context, self._backend.check(_looked_at(context), context))

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        """Set the resident bytes of regions, unless the backend does, and their kinds of memory."""
        now_us = context.clock.now_us()
        self._backend.layout.describe(_targets(context), now_us)
        if self._kinds is not None:
            self._kinds.describe(_targets(context), now_us)

    @hookimpl
    def update(self, context: HookContext) -> None:
        """Update targets and regions to the current processes and mappings."""
        self._follow(context)

    @hookimpl
    def cleanup(self) -> None:
        """Release everything; end a command that was started."""
        try:
            self._backend.close()
        finally:
            self._source.close()

    @hookimpl
    def release(self) -> None:
        """Close the backend, which was made with the primitive."""
        self._backend.close()

    def _follow(self, context: HookContext) -> None:
        """Update targets to the current processes, and regions to their current mappings."""
        try:
            processes = self._source.processes()
        except OSError as error:
            if not is_shortage(error):
                raise
            self._say_once(0, f"processes that are new are not monitored: {why_left_out(0, error)}")
            self.left_out = {**self.left_out, reason_left_out(0, error): 1}
            return
        self._refused.clear()
        known = {target.process: target for target in _targets(context)}
        self._drop(context, [known[process] for process in known.keys() - set(processes)])
        if known:
            self._presence.log(context.name, context.clock.now_us())
        maps = {process: self._maps_of(process, known.get(process)) for process in processes}
        mappings = sum(text.count(b"\n") for text in maps.values())
        max_regions = context.limits.max_regions
        self._claim_shared(maps)
        for process, text in maps.items():
            if not text:
                continue
            limit = _share(max_regions, text.count(b"\n"), mappings)
            if process not in known:
                self._add(context, process, text, limit)
            elif not known[process].resting:
                self._make_regions(context, known[process], text, limit)
        self._rename_some(context, list(known.values()))
        self._count_left_out(context)
        self._presence.log(context.name, context.clock.now_us())

    def _count_left_out(self, context: HookContext) -> None:
        """Count the processes that the source can't open, and those that may not be read."""
        left_out = Counter(getattr(self._source, "left_out", {}))
        monitored = {target.process for target in _targets(context)}
        left_out.update(why for each, why in self._refused.items() if each not in monitored)
        self.left_out = left_out

    def _claim_shared(self, maps: dict[Process, bytes]) -> None:
        """Find the memory of each process that counts in an earlier one."""
        if maps == self._maps:
            return
        self._maps = maps
        if not self._backend.sees_all_users:
            self._claimed = dict.fromkeys(maps, ())
            return
        claims = Claims()
        self._claimed = {
            process: claims.claim(parse_shared(text)) for process, text in maps.items()
        }

    def _replace(self, context: HookContext, gone: Collection[ProcessTarget]) -> None:
        """Drop targets whose memory is gone; add a process that still runs, with new memory."""
        self._drop(context, gone)
        for target in gone:
            text = self._read_maps(target.process)
            if text:
                self._claim_shared({**self._maps, target.process: text})
                used = sum(len(other.regions) for other in context.targets)
                self._add(context, target.process, text, context.limits.max_regions - used)
        if gone:
            self._presence.log(context.name, context.clock.now_us())

    def _add(self, context: HookContext, process: Process, maps: bytes, limit: int) -> None:
        try:
            target = ProcessTarget(process.label(), process=process, ranges=self._ranges)
            target.labels = self._labels(process)
            if self._backend.sees_all_users:
                target.resident.counts_files_whole = True
            self._make_regions(context, target, maps, limit)
            self._backend.add(target)
        except ProcessLookupError:
            return
        except OSError as error:
            self._warn(process, error)
            return
        logger.info("context '%s': monitoring %s", context.name, target.name)
        context.targets.append(target)
        self._presence.add(target)

    def _rename_some(self, context: HookContext, targets: Sequence[ProcessTarget]) -> None:
        """Rename targets; of many, others each time."""
        first = self._renamed if self._renamed < len(targets) else 0
        self._renamed = first + _MOST_RENAMED
        for target in targets[first : self._renamed]:
            self._rename(context, target)

    def _rename(self, context: HookContext, target: ProcessTarget) -> None:
        """Give a target the current name of its process, as servers name their workers late."""
        with contextlib.suppress(OSError):  # it has ended
            name = target.process.label()
            if name != target.name:
                logger.info("context '%s': %s is now %s", context.name, target.name, name)
                target.name = name
                target.labels = self._labels(target.process)
                self._presence.add(target)

    def _labels(self, process: Process) -> Mapping[str, str]:
        """Return the labels of a process, and its group."""
        labels = dict(self._identities.labels(process))
        if (known := getattr(self._source, "labels", None)) is not None:
            labels.update(known(process))
        return {**labels, GROUP: labels.get(self._group_by, "")}

    def _drop(self, context: HookContext, targets: Iterable[ProcessTarget]) -> None:
        for target in targets:
            self._backend.forget(target)
            self._presence.remove(target)
            if self._kinds is not None:
                self._kinds.forget(target)
            context.targets.remove(target)

    def _make_regions(
        self, context: HookContext, target: ProcessTarget, maps: bytes, limit: int
    ) -> None:
        given = LayoutInput(maps, limit, self._claimed[target.process])
        lay_out(target, given, self._backend.layout, context.limits)

    def _maps_of(self, process: Process, target: ProcessTarget | None) -> bytes:
        """Return a process's maps; as they were where looks follow them, or nobody looks."""
        if target is not None and (target.resting or self._follows_mappings):
            return target.layout_input.maps
        return self._read_maps(process)

    def _read_maps(self, process: Process) -> bytes:
        """Return a process's maps; empty if it has no memory or may not be read."""
        try:
            return clipped(process.maps(), self._ranges)
        except ProcessLookupError:
            return b""
        except OSError as error:
            self._warn(process, error)
            return b""

    def _warn(self, process: Process, error: OSError) -> None:
        """Log why a process is skipped, once for each pid; count it."""
        self._refused[process] = reason_left_out(process.pid, error)
        reason = why_left_out(process.pid, error)
        self._say_once(process.pid, f"{process.mention()} is not monitored: {reason}")

    def _say_once(self, pid: int, text: str) -> None:
        """Log a warning, once in each run about a process, or about all (0), up to a number."""
        if pid in self._warned:
            return
        self._warned.add(pid)
        if len(self._warned) <= _MOST_NAMED:
            logger.warning("%s", text)
        elif len(self._warned) == _MOST_NAMED + 1:
            logger.warning("further processes that are not monitored are counted, and not named")


def _share(max_regions: int, mappings: int, all_mappings: int) -> int:
    """Return how many regions a process may have that has so many of all mappings."""
    if all_mappings <= max_regions:
        return max_regions
    share = max_regions * mappings // all_mappings
    return share if share >= _FEW_REGIONS else 1 << max(share.bit_length() - 1, 0)


def _looked_at(context: HookContext) -> Sequence[ProcessTarget]:
    """Return the targets that this aggregation looks at."""
    return tuple(target for target in _targets(context) if not target.resting)


def _targets(context: HookContext) -> Sequence[ProcessTarget]:
    """Return the context's current targets, all of which this primitive has made."""
    return cast(Sequence[ProcessTarget], tuple(context.targets))
