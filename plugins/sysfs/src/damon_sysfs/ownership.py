"""The owners of kdamonds: this package, other programs, or the kernel.

Before a program runs a kdamond through this package, it writes a claim into a shared file: the
directory, the program, and the kernel's settings before. Contexts of all programs share the
directories, under a lock. The first context makes enough for all, as their number can't change
while a kdamond runs; the last one restores the settings. A program that is killed leaves its claim
behind; the next program finds it and switches the kdamond off. Kdamonds without a claim belong to
others and are not touched.
"""

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field
from attrs.validators import deep_mapping, instance_of, optional
from damon_vaddr import kernel_threads, living_thread, proc_problem, read_stat

from damon_core import PluginError
from damon_sysfs.tree import NUMBER, Tree

logger = logging.getLogger(__name__)

FOLDER = Path("/run/damon-sysfs")
TRACING = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
#: The greatest number of contexts, of all programs together.
MAX_KDAMONDS = 64
_LINGERING_SECONDS = 0.1
_KDAMOND = r"kdamond\.\d+"


# The file may be damaged.
_whole, _text = instance_of(int), instance_of(str)
_whole_if_any = optional(_whole)
_files_if_any: Any = optional(deep_mapping(_text, _text))


@define
class Claim:
    """A claim on a kdamond, by a program that uses this package.

    Attributes:
        slot: The number of its directory.
        pid: The process that has claimed it.
        started: The start time of that process, in clock ticks since boot.
        namespace: The pid namespace that `pid` belongs to.
        instance: The trace instance for its results.
        kdamond: The thread id; None while it is being started or doesn't run.
        kdamond_started: The start time of that thread.
        plan: The files that were written before it was switched on; None while it is off.
    """

    slot: int = field(validator=_whole)
    pid: int = field(validator=_whole)
    started: int | None = field(validator=_whole_if_any)
    namespace: int = field(validator=_whole)
    instance: str = field(validator=_text)
    kdamond: int | None = field(default=None, validator=_whole_if_any)
    kdamond_started: int | None = field(default=None, validator=_whole_if_any)
    plan: dict[str, str] | None = field(default=None, validator=_files_if_any)

    @property
    def folder(self) -> str:
        """Its directory, relative to the root of the tree, with a slash at the end."""
        return f"kdamonds/{self.slot}/"


@define
class Record:
    """The content of the shared file.

    Attributes:
        before: The settings before the first claim; None without claims.
        claims: All claims.
    """

    before: dict[str, str] | None = field(default=None, validator=_files_if_any)
    claims: list[Claim] = field(factory=list)


class Registry:
    """The kdamonds of all programs that use this package.

    Args:
        tree: The kernel's directories.
        folder: The directory of the shared file.
        tracing: The directories where tracefs may be mounted.
    """

    def __init__(
        self,
        tree: Tree | None = None,
        folder: Path = FOLDER,
        tracing: tuple[Path, ...] = TRACING,
    ) -> None:
        self.tree = tree or Tree()
        self._folder = folder
        self._tracing = tracing

    def read(self) -> Record:
        """Return the content of the shared file, without the lock.

        Raises:
            PluginError: It is damaged.
        """
        path = self._folder / "claims.json"
        try:
            raw = json.loads(path.read_bytes())
            return Record(raw["before"], [Claim(**claim) for claim in raw["claims"]])
        except FileNotFoundError:
            return Record()
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f"{path} is damaged: stop all programs that use the kernel's DAMON, remove it"
            raise PluginError("kernel", reason) from error

    def take(self) -> Claim:
        """Claim the directory of an unused kdamond; clean up after programs that have ended.

        Raises:
            PluginError: DAMON isn't free, all directories are in use, or /proc belongs to another
                pid namespace.
            OSError: The kernel refuses.
        """
        if problem := proc_problem():
            raise PluginError("kernel", f"/proc: {problem}")
        with self._locked() as record:
            self._clean(record)
            self._make_directories(record)
            free = set(range(MAX_KDAMONDS)) - {claim.slot for claim in record.claims}
            if not free:
                reason = f"all {MAX_KDAMONDS} kdamonds are in use: close another context first"
                raise PluginError("kernel", reason)
            slot, pid = min(free), os.getpid()
            name = f"damon-{pid}-{slot}"
            claim = Claim(slot, pid, start_time(pid), _namespace(), name)
            record.claims.append(claim)
            self._write(record)
            return claim

    def start(self, claim: Claim, plan: dict[str, str]) -> None:
        """Switch the kdamond of a claim on.

        Args:
            claim: The claim; its `kdamond` is set.
            plan: The files that have been written, with their values.

        Raises:
            OSError: The kernel refuses.
        """
        with self._locked() as record:
            claim.plan, claim.kdamond, claim.kdamond_started = plan, None, None
            self._put(record, claim)
            self.tree.write(claim.folder + "state", "on")
            claim.kdamond = int(self.tree.read(claim.folder + "pid"))
            claim.kdamond_started = start_time(claim.kdamond)
            self._put(record, claim)

    def stop(self, claim: Claim) -> None:
        """Switch the kdamond of a claim off; one that has already ended is not an error."""
        with self._locked() as record:
            self._stop(record, claim)

    def clear(self, claim: Claim) -> None:
        """Switch the kdamond of a claim off, and clear its directory for other settings.

        Raises:
            PluginError: Another program has switched on a kdamond while ours was off.
            OSError: The kernel refuses.
        """
        with self._locked() as record:
            self._stop(record, claim)
            self._make_directories(record)
            # The kernel would use old regions for the new target with the same number.
            self.tree.write(claim.folder + "contexts/nr_contexts", 0)

    def _stop(self, record: Record, claim: Claim) -> None:
        if self.is_running(claim):
            self.tree.write(claim.folder + "state", "off")
        claim.plan = claim.kdamond = claim.kdamond_started = None
        self._put(record, claim)

    def _make_directories(self, record: Record) -> None:
        """Make the directories of kdamonds, unless they exist.

        Raises:
            PluginError: DAMON isn't free.
        """
        if rivals := find_rivals(self.tree, record):
            raise PluginError("kernel", f"DAMON isn't free: {'; '.join(rivals)}")
        # Another program may have changed their number while none of ours ran.
        if record.before is None or self.tree.number() != MAX_KDAMONDS:
            record.before = self.tree.save()
            self._write(record)
            self.tree.write(NUMBER, MAX_KDAMONDS)

    def _put(self, record: Record, claim: Claim) -> None:
        record.claims = [one for one in record.claims if one.slot != claim.slot] + [claim]
        self._write(record)

    def release(self, claim: Claim) -> None:
        """Switch the kdamond of a claim off and remove the claim.

        Raises:
            OSError: The kernel refuses.
        """
        with self._locked() as record:
            self._end(claim)
            record.claims = [one for one in record.claims if one.slot != claim.slot]
            self._restore(record)
            self._write(record)

    def _clean(self, record: Record) -> None:
        """Clean up after programs that have ended without releasing their claims."""
        dead = [claim for claim in record.claims if not _alive(claim)]
        for claim in dead:
            logger.info("kdamond %d was left behind by pid %d", claim.slot, claim.pid)
            self._end(claim)
            record.claims.remove(claim)
        self._restore(record)
        self._write(record)

    def _end(self, claim: Claim) -> None:
        """Switch a kdamond off, if it is the one that was claimed; remove its trace instance."""
        with contextlib.suppress(FileNotFoundError):
            if self.is_running(claim):
                self.tree.write(claim.folder + "state", "off")
            is_ours = self.tree.number() == MAX_KDAMONDS
            if is_ours and self.tree.read(claim.folder + "state") == "off":
                self.tree.write(claim.folder + "contexts/nr_contexts", 0)
        for tracing in self._tracing:
            with contextlib.suppress(OSError):
                (tracing / "instances" / claim.instance).rmdir()

    def _restore(self, record: Record) -> None:
        """Restore the settings from before the first claim, if no claim is left."""
        if record.before is None or record.claims:
            return
        try:
            # With another number, another program has made the directories.
            if self.tree.number() == MAX_KDAMONDS:
                self.tree.restore(record.before)
        except OSError as error:
            # Another program has switched on a kdamond in one of our directories.
            logger.warning("the settings of kdamonds can't be restored: %s", error)
        record.before = None

    def is_running(self, claim: Claim) -> bool:
        """Return whether the very kdamond that was claimed runs, and not another in its place."""
        if claim.plan is None or self.tree.read(claim.folder + "state") != "on":
            return False
        kdamond = int(self.tree.read(claim.folder + "pid"))
        if claim.kdamond is None:  # the program was killed while it started the kdamond
            return self.tree.holds(claim.plan, claim.folder)
        return (claim.kdamond, claim.kdamond_started) == (kdamond, start_time(kdamond))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Record]:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # The kernel releases the lock with the descriptor, however this process ends.
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(descriptor)

    def _write(self, record: Record) -> None:
        """Replace the shared file in one step, so that a kill at any moment leaves a valid one."""
        path = self._folder / "claims.json"
        if record == Record():
            path.unlink(missing_ok=True)
            return
        new = path.with_suffix(".new")
        new.write_text(json.dumps(attrs.asdict(record)), encoding="utf-8")
        new.replace(path)


def find_rivals(
    tree: Tree, record: Record, proc: Path = Path("/proc"), modules: Path = Path("/sys/module")
) -> list[str]:
    """Return descriptions of the running kdamonds that this package hasn't started."""
    ours = {claim.kdamond for claim in record.claims}
    starting = {claim.slot for claim in record.claims if claim.plan and claim.kdamond is None}
    running = tree.running()
    rivals = [
        f"kdamonds/{slot} is on (pid {kdamond}), started by another program"
        for slot, kdamond in running.items()
        if kdamond not in ours and slot not in starting
    ]
    known = ours | set(running.values())
    kdamonds = kernel_threads(_KDAMOND, proc)
    threads = {pid: name for pid, name in kdamonds.items() if pid not in known}
    if threads:
        # A kdamond that has just been switched off stays visible for a moment.
        time.sleep(_LINGERING_SECONDS)
        left = kernel_threads(_KDAMOND, proc)
        users = "".join(
            f"; {path.parts[-3].upper()} is on: write N to {path} to switch it off"
            for path in sorted(modules.glob("damon_*/parameters/enabled"))
            if path.read_text(encoding="ascii").strip() == "Y"
        )
        rivals += [
            f"{name} (pid {pid}) is running, started by the kernel{users}"
            for pid, name in sorted(threads.items())
            if pid in left
        ]
    return rivals


def start_time(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Return the start time of a process, in clock ticks since boot; None if it has ended."""
    try:
        return read_stat(pid, proc).started if living_thread(pid, proc) is not None else None
    except OSError:
        return None


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _alive(claim: Claim) -> bool:
    """Return whether the process of a claim runs; assume so if it can't be seen from here."""
    return claim.namespace != _namespace() or start_time(claim.pid) == claim.started
