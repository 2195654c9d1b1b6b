"""Which kdamonds are ours, and whose the others are.

Every program that runs a kdamond through this package notes that in one file, before it does:
which directory, who it is, and what the kernel's settings were before. Under a lock, any number
of contexts in any number of programs share the directories: the first makes enough for all, as
their number can't change while a kdamond runs, and the last brings back what was there before.
Whatever a program that was killed has left behind is found in the file by the next one, which
switches it off. What isn't in the file is somebody else's, and isn't touched.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from attrs import define, field

from damon_core import PluginError
from damon_sysfs.tree import NUMBER, Tree

logger = logging.getLogger(__name__)

FOLDER = Path("/run/damon-sysfs")
TRACING = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
#: How many contexts, of all programs together, there can be.
MOST = 64
_LINGERING_SECONDS = 0.1


@define
class Claim:
    """A kdamond of ours.

    Attributes:
        slot: The number of its directory.
        pid: The process that has it.
        started: When that process was started, as the kernel counts.
        namespace: The pid namespace that `pid` belongs to.
        instance: The trace instance for its results.
        kdamond: The thread id; None while it is being started or doesn't run.
        kdamond_started: When that was started.
        plan: The files that were written before it was switched on; None while it is off.
    """

    slot: int
    pid: int
    started: int | None
    namespace: int
    instance: str
    kdamond: int | None = None
    kdamond_started: int | None = None
    plan: dict[str, str] | None = None

    @property
    def folder(self) -> str:
        """Its directory, below the root of the tree."""
        return f"kdamonds/{self.slot}/"


@define
class Record:
    """What is noted in the file.

    Attributes:
        before: The settings before the first of the claims; None while there is none.
        claims: All kdamonds of ours.
    """

    before: dict[str, str] | None = None
    claims: list[Claim] = field(factory=list)


class Registry:
    """The kdamonds of all programs that use this package.

    Args:
        tree: The kernel's directories.
        folder: Where the file is.
        tracing: Where trace instances may be.
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
        """Return what is noted, without taking the lock."""
        try:
            raw = json.loads((self._folder / "claims.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Record()
        return Record(raw["before"], [Claim(**claim) for claim in raw["claims"]])

    def take(self) -> Claim:
        """Take a directory of a kdamond that nobody uses, and clean up behind the dead.

        Raises:
            PluginError: DAMON isn't free, or all directories are taken.
            OSError: The kernel doesn't let us.
        """
        with self._locked() as record:
            self._clean(record)
            self._make_room(record)
            free = set(range(MOST)) - {claim.slot for claim in record.claims}
            if not free:
                raise PluginError("kernel", f"there are {MOST} contexts already, which is the most")
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
            plan: What its files have been set to.

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
        """Switch it off; one that has ended by itself is no error."""
        with self._locked() as record:
            self._stop(record, claim)

    def clear(self, claim: Claim) -> None:
        """Switch it off, and make its directory ready for other settings.

        Raises:
            PluginError: While ours was off, somebody else has switched one on.
            OSError: The kernel doesn't let us.
        """
        with self._locked() as record:
            self._stop(record, claim)
            self._make_room(record)
            # Regions of before would be taken for those of whoever has that number now.
            self.tree.write(claim.folder + "contexts/nr_contexts", 0)

    def _stop(self, record: Record, claim: Claim) -> None:
        if self.is_running(claim):
            self.tree.write(claim.folder + "state", "off")
        claim.plan = claim.kdamond = claim.kdamond_started = None
        self._put(record, claim)

    def _make_room(self, record: Record) -> None:
        """See to it that the directories are there, and nobody else's."""
        if rivals := find_rivals(self.tree, record):
            raise PluginError("kernel", f"DAMON isn't free: {'; '.join(rivals)}")
        # Somebody may have made others while none of ours ran.
        if record.before is None or self.tree.number() != MOST:
            record.before = self.tree.save()
            self._write(record)
            self.tree.write(NUMBER, MOST)

    def _put(self, record: Record, claim: Claim) -> None:
        record.claims = [one for one in record.claims if one.slot != claim.slot] + [claim]
        self._write(record)

    def release(self, claim: Claim) -> None:
        """Switch a kdamond of ours off and give its directory back.

        Raises:
            OSError: The kernel doesn't let us.
        """
        with self._locked() as record:
            self._end(claim)
            record.claims = [one for one in record.claims if one.slot != claim.slot]
            self._restore(record)
            self._write(record)

    def _clean(self, record: Record) -> None:
        """Take back what programs that have ended left behind."""
        dead = [claim for claim in record.claims if not _alive(claim)]
        for claim in dead:
            logger.info("kdamond %d was left behind by pid %d", claim.slot, claim.pid)
            self._end(claim)
            record.claims.remove(claim)
        self._restore(record)
        self._write(record)

    def _end(self, claim: Claim) -> None:
        """Switch a kdamond off, if it is the one that was claimed, and remove what it has."""
        with contextlib.suppress(FileNotFoundError):
            if self.is_running(claim):
                self.tree.write(claim.folder + "state", "off")
            if self.tree.number() == MOST and self.tree.read(claim.folder + "state") == "off":
                self.tree.write(claim.folder + "contexts/nr_contexts", 0)
        for tracing in self._tracing:
            with contextlib.suppress(OSError):
                (tracing / "instances" / claim.instance).rmdir()

    def _restore(self, record: Record) -> None:
        """Bring back the settings of before when nothing of ours is left."""
        if record.before is None or record.claims:
            return
        try:
            # If the number isn't ours any more, somebody else has made other directories.
            if self.tree.number() == MOST:
                self.tree.restore(record.before)
        except OSError as error:
            # Somebody has switched on one of the directories that we made: now it is theirs.
            logger.warning("the directories of kdamonds stay as they are: %s", error)
        record.before = None

    def is_running(self, claim: Claim) -> bool:
        """Tell whether the kdamond of a claim runs, and not another one in its place."""
        if claim.plan is None or self.tree.read(claim.folder + "state") != "on":
            return False
        kdamond = int(self.tree.read(claim.folder + "pid"))
        if claim.kdamond is None:  # killed in the moment of starting it
            return self.tree.holds(claim.plan, claim.folder)
        return (claim.kdamond, claim.kdamond_started) == (kdamond, start_time(kdamond))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Record]:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # The lock goes with the descriptor, however this process ends.
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(descriptor)

    def _write(self, record: Record) -> None:
        """Replace the file by a whole new one, whenever this process may be killed."""
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
    """Return which kdamonds run that aren't of this package, in words."""
    ours = {claim.kdamond for claim in record.claims}
    starting = {claim.slot for claim in record.claims if claim.plan and claim.kdamond is None}
    running = tree.running()
    rivals = [
        f"kdamonds/{slot} is on (pid {kdamond}), which another program has started"
        for slot, kdamond in running.items()
        if kdamond not in ours and slot not in starting
    ]
    known = ours | set(running.values())
    threads = {pid: name for pid, name in _kdamonds(proc).items() if pid not in known}
    if threads:
        # One that was switched off just now is seen for a moment yet.
        time.sleep(_LINGERING_SECONDS)
        left = _kdamonds(proc)
        users = "".join(
            f"; {path.parts[-3].upper()} is on, {path} switches it off"
            for path in sorted(modules.glob("damon_*/parameters/enabled"))
            if path.read_text(encoding="ascii").strip() == "Y"
        )
        rivals += [
            f"{name} (pid {pid}) runs, which the kernel has started{users}"
            for pid, name in sorted(threads.items())
            if pid in left
        ]
    return rivals


def _kdamonds(proc: Path) -> dict[int, str]:
    """Return the names of the kernel's threads of DAMON, by pid."""
    found = {}
    for entry in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip()
            if re.fullmatch(r"kdamond\.\d+", name):
                found[int(entry.name)] = name
    return found


def start_time(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Return when a process was started, in clock ticks since boot; None if it has ended."""
    try:
        status = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name is in parentheses and may hold anything, parentheses too.
    fields = status.rpartition(b")")[2].split()
    return None if fields[0] == b"Z" else int(fields[19])


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _alive(claim: Claim) -> bool:
    """Tell whether the process of a claim lives; if it can't be seen from here, it does."""
    return claim.namespace != _namespace() or start_time(claim.pid) == claim.started
