"""The primitive: the memory of processes, through whichever backend works."""

import errno
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import cast

from damon_core import HookContext, Range, SamplingFactory, hookimpl, part_name
from damon_vaddr.backend import ProcessBackend
from damon_vaddr.mappings import Claims, parse_areas, parse_shared
from damon_vaddr.processes import Process, why_unreadable
from damon_vaddr.sources import ProcessSource
from damon_vaddr.target import Look, ProcessTarget

logger = logging.getLogger(__name__)


class ProcessMemory:
    """One target a process; processes come and go as the source says.

    A process that executes another program becomes a new target, as its memory is a new one.
    A process that may not be read is left out, with one warning; only a process that the user
    named makes `init` fail.

    Args:
        source: Which processes.
        backend: How their accesses are seen.
        name: What logs call the primitive.

    Attributes:
        sampling: The backend's way of sampling.
        backend_name: What the backend is called.
    """

    def __init__(
        self,
        source: ProcessSource,
        backend: ProcessBackend,
        name: str = "vaddr",
    ) -> None:
        self.name = name
        self.backend_name = part_name(backend)
        self._source = source
        self._backend = backend
        self.sampling: SamplingFactory = backend.sampling
        self._warned: set[int] = set()
        self._maps: dict[Process, bytes] = {}
        self._taken: dict[Process, tuple[Range, ...]] = {}

    @property
    def spent_elsewhere_us(self) -> int:
        """CPU time that others have spent on sampling, where the backend knows it."""
        return int(getattr(self._backend, "cpu_us", 0))

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Find the processes and make their regions."""
        self._warned.clear()
        self._source.start()
        self._follow(context)

    @hookimpl
    def target_valid(self, context: HookContext) -> bool:
        """Drop the processes that have ended; valid while others are there or may come."""
        for process in self._source.take_ended():
            logger.info("context '%s': pid %d has ended", context.name, process.pid)
            self._drop(context, [t for t in _targets(context) if t.process is process])
        return not self._source.finished()

    @hookimpl
    def prepare_access_checks(self, context: HookContext) -> None:
        """Let the backend prepare."""
        self._replace(context, self._backend.prepare(_targets(context), context))

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Let the backend look."""
        self._replace(context, self._backend.check(_targets(context), context))

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        """Say how much of regions is in memory, where the backend hasn't."""
        for target in _targets(context):
            self._backend.layout.describe(target)

    @hookimpl
    def update(self, context: HookContext) -> None:
        """Follow processes and mappings as they come and go."""
        self._follow(context)

    @hookimpl
    def cleanup(self) -> None:
        """Release everything; a command that was started is ended."""
        try:
            self._backend.close()
        finally:
            self._source.close()

    def _follow(self, context: HookContext) -> None:
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
            else:
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

    def _replace(self, context: HookContext, gone: Collection[ProcessTarget]) -> None:
        """Drop targets whose memory is gone; a process that lives on has a new memory."""
        self._drop(context, gone)
        for target in gone:
            text = self._read_maps(target.process)
            if text:
                self._share_out({**self._maps, target.process: text})
                used = sum(len(other.regions) for other in context.targets)
                self._add(context, target.process, text, context.limits.max_regions - used)

    def _add(self, context: HookContext, process: Process, maps: bytes, limit: int) -> None:
        try:
            target = ProcessTarget(process.label(), process=process)
            self._make_regions(context, target, maps, limit)
            self._backend.add(target)
        except ProcessLookupError:
            return
        except OSError as error:
            self._warn(process, error)
            return
        logger.info("context '%s': monitoring %s", context.name, target.name)
        context.targets.append(target)

    def _drop(self, context: HookContext, targets: Iterable[ProcessTarget]) -> None:
        for target in targets:
            self._backend.forget(target)
            context.targets.remove(target)

    def _make_regions(
        self, context: HookContext, target: ProcessTarget, maps: bytes, limit: int
    ) -> None:
        look = Look(maps, limit, self._taken[target.process])
        if look != target.look:
            self._backend.layout.lay_out(target, look, context.limits)
            target.areas = parse_areas(maps)
            target.look = look

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


def _targets(context: HookContext) -> Sequence[ProcessTarget]:
    """Return the context's targets of now, which this primitive alone makes."""
    return cast(Sequence[ProcessTarget], tuple(context.targets))
