"""The primitive: the memory of processes, through whichever backend works."""

import errno
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import cast

from damon_core import Context, Range, hookimpl, part_name
from damon_vaddr.backend import ProcessBackend, ProcessSampler, ProcessTarget
from damon_vaddr.budget import Budget
from damon_vaddr.mappings import (
    Claims,
    Mapped,
    mapping_regions,
    parse_accessible,
    parse_areas,
    parse_maps,
    parse_shared,
    range_regions,
    without,
)
from damon_vaddr.processes import Process, why_unreadable
from damon_vaddr.sources import ProcessSource

logger = logging.getLogger(__name__)


class ProcessMemory:
    """One target a process; processes come and go as the source says.

    A process that executes another program becomes a new target, as its memory is a new one.
    A process that may not be read is left out, with one warning; only a process that the user
    named makes `init` fail.

    Looking keeps to the context's CPU budget by lengthening the sampling interval alone, as long
    as an aggregation has room for that: see `Context.stretch_sampling`.

    Args:
        source: Which processes.
        backend: How their accesses are seen.
        name: What logs call the primitive.

    Attributes:
        samples_itself: Whether the backend is a `ProcessSampler`.
        backend_name: What the backend is called.
    """

    def __init__(
        self,
        source: ProcessSource,
        backend: ProcessBackend | ProcessSampler,
        name: str = "vaddr",
    ) -> None:
        self.name = name
        self.backend_name = part_name(backend)
        self._source = source
        self._backend = backend
        # Told apart once: to ask for a protocol takes as long as to look at dozens of pages.
        self._sampler = backend if isinstance(backend, ProcessSampler) else None
        self._checker = None if isinstance(backend, ProcessSampler) else backend
        self.samples_itself = self._sampler is not None
        self._budget = Budget(1.0, 0)
        self._prepare_us = 0
        self._warned: set[int] = set()
        self._maps: dict[Process, bytes] = {}
        self._taken: dict[Process, tuple[Range, ...]] = {}

    @property
    def spent_elsewhere_us(self) -> int:
        """The processor time that a sampler's sampling has taken so far, if it tells."""
        return int(getattr(self._sampler, "cpu_us", 0))

    @hookimpl
    def init(self, context: Context) -> None:
        """Find the processes and make their regions."""
        self._warned.clear()
        # A whole processor is all that there is for one thread.
        self._budget = Budget(context.cpu_budget or 1.0, context.clock.now_us())
        self._source.start()
        self._follow(context)

    @hookimpl
    def target_valid(self, context: Context) -> bool:
        """Drop the processes that have ended; valid while others are there or may come."""
        for process in self._source.take_ended():
            logger.info("context '%s': pid %d has ended", context.name, process.pid)
            self._drop(context, [t for t in _targets(context) if t.process is process])
        return not self._source.finished()

    @hookimpl
    def prepare_access_checks(self, context: Context) -> None:
        """Let the backend prepare."""
        if self._sampler is not None:
            self._replace(
                context, self._sampler.steer(_targets(context), context.intervals, context.limits)
            )
            return
        assert self._checker is not None
        before_us = context.clock.cpu_us()
        self._replace(context, self._checker.prepare(_targets(context)))
        self._prepare_us = context.clock.cpu_us() - before_us

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        """Let the backend look, and see to it that looking stays within its budget."""
        if self._sampler is not None:
            self._replace(context, self._sampler.collect(_targets(context)))
            return
        assert self._checker is not None
        before_us = context.clock.cpu_us()
        self._replace(context, self._checker.check(_prepared(context)))
        self._budget.checked(self._prepare_us + context.clock.cpu_us() - before_us)
        self._stretch(context)

    @hookimpl
    def describe_regions(self, context: Context) -> None:
        """Tell how much of regions is mapped, where they span what isn't."""
        for target in _targets(context):
            if target.adaptive or self.samples_itself:
                regions = target.regions
                regions.resident_bytes = target.mapped.bytes_in(regions.start, regions.end)

    @hookimpl
    def update(self, context: Context) -> None:
        """Follow processes and mappings as they come and go."""
        if not self._budget.update_due(context.clock.now_us()):
            return
        before_us = context.clock.cpu_us()
        self._follow(context)
        self._budget.updated(context.clock.cpu_us() - before_us, context.clock.now_us())

    @hookimpl
    def cleanup(self) -> None:
        """Release everything; a command that was started is ended."""
        try:
            self._backend.close()
        finally:
            self._source.close()

    def _stretch(self, context: Context) -> None:
        context.stretch_sampling(
            self._budget.sampling_us(context.clock.now_us(), context.intervals.update_us)
        )

    def _follow(self, context: Context) -> None:
        """Make the targets those of the processes of now, and their regions those of now."""
        processes = self._source.processes()
        known = {target.process: target for target in _targets(context)}
        self._drop(context, [known[process] for process in known.keys() - set(processes)])
        maps = {process: self._read_maps(process) for process in processes}
        mappings = sum(text.count(b"\n") for text in maps.values())
        most = context.limits.max_regions
        self._share_out(maps)
        for process, text in maps.items():
            limit = most if mappings <= most else most * text.count(b"\n") // mappings
            if not text:
                continue
            if process not in known:
                self._add(context, process, text, limit)
            elif known[process].made_from != (text, limit, self._taken[process]):
                self._make_regions(context, known[process], text, limit)

    def _share_out(self, maps: dict[Process, bytes]) -> None:
        """Find what of each process's memory an earlier process has as well, if that is seen."""
        if maps == self._maps:
            return
        self._maps = maps
        if not self._backend.sees_all_users:
            self._taken = dict.fromkeys(maps, ())
            return
        claims = Claims()
        self._taken = {process: claims.claim(parse_shared(text)) for process, text in maps.items()}

    def _replace(self, context: Context, gone: Collection[ProcessTarget]) -> None:
        """Drop targets whose memory is gone; a process that lives on has a new memory."""
        self._drop(context, gone)
        for target in gone:
            text = self._read_maps(target.process)
            if text:
                self._share_out({**self._maps, target.process: text})
                used = sum(len(other.regions) for other in context.targets)
                self._add(context, target.process, text, context.limits.max_regions - used)

    def _add(self, context: Context, process: Process, maps: bytes, limit: int) -> None:
        try:
            adaptive = self._checker is not None and self._checker.layout == "ranges"
            target = ProcessTarget(process.label(), adaptive=adaptive, process=process)
            self._make_regions(context, target, maps, limit)
            self._backend.add(target)
        except ProcessLookupError:
            return
        except OSError as error:
            self._warn(process, error)
            return
        logger.info("context '%s': monitoring %s", context.name, target.name)
        context.targets.append(target)

    def _drop(self, context: Context, targets: Iterable[ProcessTarget]) -> None:
        for target in targets:
            self._backend.forget(target)
            context.targets.remove(target)

    def _make_regions(
        self, context: Context, target: ProcessTarget, maps: bytes, limit: int
    ) -> None:
        taken = self._taken[target.process]
        mappings = parse_maps(maps)
        if target.adaptive or self.samples_itself:
            # Those of a sampler follow the mappings by themselves.
            if target.adaptive or not len(target.regions):
                mappings = without(mappings, taken)
                target.regions = range_regions(target.regions, mappings, context.limits)
            target.mapped = Mapped.of(without(parse_accessible(maps), taken))
        else:
            target.regions = mapping_regions(target.regions, mappings, limit)
        target.areas = parse_areas(maps)
        target.made_from = maps, limit, taken

    def _read_maps(self, process: Process) -> bytes:
        """Return a process's maps; empty if it has no memory, or none for us."""
        try:
            return process.maps()
        except ProcessLookupError:
            return b""
        except OSError as error:
            self._warn(process, error)
            return b""

    def _warn(self, process: Process, error: OSError) -> None:
        """Say, once a process, why it is left out."""
        if process.pid in self._warned:
            return
        self._warned.add(process.pid)
        if isinstance(error, PermissionError):
            reason = why_unreadable(process.pid)
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            reason = "too many open files: each process takes three; raise 'ulimit -n'"
        else:
            reason = str(error)
        logger.warning("pid %d is left out: %s", process.pid, reason)


def _targets(context: Context) -> Sequence[ProcessTarget]:
    """Return the context's targets of now, which this primitive alone makes."""
    return cast(Sequence[ProcessTarget], tuple(context.targets))


def _prepared(context: Context) -> Sequence[ProcessTarget]:
    """Return the targets but for those that came when the others had been prepared.

    A region that is a whole mapping needs no preparation to be looked at.
    """
    return [
        target for target in _targets(context) if target.samples is not None or not target.adaptive
    ]
