"""Processes, identified by more than their pid, which the kernel may give to a later process."""

import contextlib
import errno
import logging
import os
import select
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import psutil
from attrs import define, field

from damon_core import Range, TargetError
from damon_vaddr import descriptors
from damon_vaddr.mappings import parse_maps
from damon_vaddr.procfs import (
    living_thread,
    may_read_others,
    name_of,
    pids,
    proc_problem,
    read_stat,
    thread_group,
)

logger = logging.getLogger(__name__)

#: The kernel's pid_t is an int; system calls don't accept greater numbers.
_GREATEST_PID = (1 << 31) - 1
#: How often a file is opened again because its thread has just exited, though others go on.
_ATTEMPTS = 10
#: How much `peek` returns.
_PEEK_BYTES = 4096
#: How many processes are added at once: it takes a quarter of a second, of which others wait.
_MOST_NEW = 128
#: Why processes are left out, in one word, and what it means.
REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unreadable": "this user may not read its memory",
        "hidden": "/proc doesn't show it to this user",
        "open_files": "too many files are open",
        "other_namespace": "it belongs to another pid namespace, or is hidden",
        "failed": "another failure, which the log names",
    }
)
_HIDDEN = "/proc doesn't show it to this user (mount option hidepid): run as root"


@define(eq=False)
class Process:
    """A process: its pid, and what proves that the pid still belongs to it.

    It has two descriptors: its pidfd, and one in reserve for the file that `open_kept` opens.

    Attributes:
        pid: Its pid.
        started: Its start time, in clock ticks since boot.
    """

    pid: int
    started: int
    _pidfd: int | None = field(default=None, alias="pidfd")
    _spare: int | None = field(default=None, alias="spare")

    @classmethod
    def open(cls, pid: int) -> "Process":
        """Return the process that has this pid now; close it after use.

        Raises:
            ProcessLookupError: There is no such process, or it is a zombie.
            PermissionError: /proc hides it from this user.
            OSError: Too many files are open.
        """
        pidfd, spare = _open_pidfd(pid)
        process = cls(pid, 0, pidfd, spare)
        try:
            process.started = read_stat(pid).started
            if process.ended():
                raise ProcessLookupError(pid)
        except ProcessLookupError as error:
            hidden = pidfd is not None and not process.ended()
            process.close()
            if hidden:
                raise PermissionError(errno.EACCES, _HIDDEN) from error
            raise
        except OSError:
            process.close()
            raise
        return process

    @property
    def pidfd(self) -> int | None:
        """The pidfd, a file descriptor for the process; None where Linux doesn't have pidfds."""
        return self._pidfd

    def label(self) -> str:
        """Return a label for users: name and pid, such as ``redis-server[1234]``.

        Raises:
            ProcessLookupError: The process has ended.
            OSError: Its name can't be read.
        """
        return f"{name_of(self.pid)}[{self.pid}]"

    def mention(self) -> str:
        """Return how messages name the process, which may have ended."""
        try:
            return self.label()
        except OSError:
            return f"pid {self.pid}"

    def ended(self) -> bool:
        """Return whether the process has ended or is a zombie."""
        if self._pidfd is not None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            return bool(poll.poll(0))
        try:
            return read_stat(self.pid).started != self.started or living_thread(self.pid) is None
        except ProcessLookupError:
            return True

    def thread(self) -> int:
        """Return the id of a thread that shows the memory: the first one, unless it has exited.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: /proc hides it from this user.
        """
        # What has exited has no memory. Its state would tell, too, but takes several times as long.
        if self.peek("statm").partition(b" ")[0].strip(b"0"):
            return self.pid
        found = living_thread(self.pid)
        if found is not None:
            return found
        if self._pidfd is not None and not self.ended():
            raise PermissionError(errno.EACCES, _HIDDEN)
        raise ProcessLookupError(self.pid)

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file in the `/proc/PID` of this very process; return the file descriptor.

        It is that of a thread which hasn't exited.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The file may not be opened by this user.
            OSError: Another failure, such as too many open files.
        """
        for _ in range(_ATTEMPTS):
            thread = self.thread()
            folder = (
                f"/proc/{self.pid}" if thread == self.pid else f"/proc/{self.pid}/task/{thread}"
            )
            try:
                descriptor = os.open(f"{folder}/{name}", flags | os.O_CLOEXEC)
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread has just exited
            # A process that hasn't ended by now still had its pid when the file was opened.
            if self.ended():
                os.close(descriptor)
                break
            return descriptor
        raise ProcessLookupError(self.pid)

    def open_kept(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file as `open_file` does, to keep it open while the process is monitored."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        return self.open_file(name, flags)

    def peek(self, name: str) -> bytes:
        """Return the first 4 KiB of a file in the `/proc/PID` of this very process.

        Empty if it can't be read, also as the first thread has exited: `open_file` says why.
        """
        try:
            descriptor = os.open(f"/proc/{self.pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            text = os.read(descriptor, _PEEK_BYTES)
        except OSError:
            return b""
        finally:
            os.close(descriptor)
        return b"" if self.ended() else text

    def maps(self) -> bytes:
        """Return `/proc/PID/maps`; empty while the process has no memory.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The process may not be read by this user.
        """
        # It is empty, too, if the thread has just exited, though others go on: then again.
        return self._read_maps() or self._read_maps()

    def _read_maps(self) -> bytes:
        with open(self.open_file("maps"), "rb", buffering=0) as file:
            return file.readall()

    def mappings(self) -> list[Range]:
        """Return the mappings as `parse_maps` does; raises what `maps` raises."""
        return parse_maps(self.maps())

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (self._pidfd, self._spare):
            if descriptor is not None:
                os.close(descriptor)
        self._pidfd = self._spare = None


def _open_pidfd(pid: int) -> tuple[int | None, int | None]:
    """Open a pidfd, and one more descriptor in reserve; both None where Linux has no pidfds.

    Raises:
        ProcessLookupError: There is no such process.
        OSError: Too many files are open.
    """
    opened: list[int] = []
    try:
        opened.append(os.pidfd_open(pid))
        opened.append(os.dup(opened[0]))
        descriptors.check_reserve(max(opened))
    except OSError as error:
        for descriptor in opened:
            os.close(descriptor)
        if isinstance(error, ProcessLookupError) or descriptors.is_shortage(error):
            raise
        return None, None  # Linux before 5.3, or a sandbox: use only the start time.
    return opened[0], opened[1]


class ProcessTable:
    """The processes that a source follows, by pid.

    Attributes:
        has_more: Whether the last `add_all` has left some to the next ones.
        left_out: How many the last `add_all` couldn't add, by the reasons of `REASONS`.

    Raises:
        TargetError: /proc belongs to another pid namespace.
    """

    def __init__(self) -> None:
        if problem := proc_problem():
            raise TargetError("/proc", problem)
        self._by_pid: dict[int, Process] = {}
        self._by_pidfd: dict[int, Process] = {}
        self._epoll: select.epoll | None = None
        self._reported: dict[str, int] = {}
        self.left_out: Counter[str] = Counter()
        self.has_more = False

    def __len__(self) -> int:
        return len(self._by_pid)

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self._by_pid.values()))

    def __contains__(self, pid: object) -> bool:
        return pid in self._by_pid

    def add(self, pid: int) -> None:
        """Add the process that has this pid now; do nothing if there is none.

        Raises:
            PermissionError: /proc hides the process from this user.
            OSError: Too many files are open.
        """
        if pid not in self._by_pid:
            with contextlib.suppress(ProcessLookupError):
                self.adopt(Process.open(pid))

    def add_all(self, wanted: Iterable[int]) -> None:
        """Add the processes that have these pids now, as far as they can be opened.

        How many are left out is logged with the reason, and again when they are twice as many. Of
        many that are new some come with the next calls.
        """
        left_out: dict[str, list[int]] = {}
        self.left_out = Counter()
        most, self.has_more = len(self) + _MOST_NEW, False
        for pid in sorted(wanted):
            if len(self) >= most:
                self.has_more = True
                break
            try:
                self.add(pid)
            except OSError as error:
                self.left_out[reason_left_out(pid, error)] += 1
                left_out.setdefault(why_left_out(pid, error), []).append(pid)
        for reason, left in left_out.items():
            if len(left) >= 2 * self._reported.get(reason, 0):
                self._reported[reason] = len(left)
                logger.warning("%s not monitored: %s", _count(left), reason)

    def adopt(self, process: Process) -> None:
        """Add an open process; the table will close it."""
        self._by_pid[process.pid] = process
        if process.pidfd is not None:
            self._by_pidfd[process.pidfd] = process
            if self._epoll is None:
                self._epoll = select.epoll()
            self._epoll.register(process.pidfd, select.EPOLLIN)

    def drop(self, process: Process) -> None:
        """Remove a process and close it."""
        del self._by_pid[process.pid]
        if process.pidfd is not None:
            del self._by_pidfd[process.pidfd]
            # Closing isn't enough: a child that was forked meanwhile has the same pidfd, and keeps
            # it in the epoll.
            if self._epoll is not None:
                self._epoll.unregister(process.pidfd)
        process.close()

    def take_ended(self) -> list[Process]:
        """Remove and return the processes that have ended since the last call.

        With pidfds this is one system call for all processes, cheap enough for each sampling
        interval. Without them each process is checked.
        """
        ready = self._epoll.poll(0) if self._epoll is not None else []
        ended = [self._by_pidfd[pidfd] for pidfd, _ in ready if pidfd in self._by_pidfd]
        if len(self._by_pidfd) < len(self._by_pid):
            ended += [process for process in self if process.pidfd is None and process.ended()]
        for process in ended:
            self.drop(process)
        return ended

    def close(self) -> None:
        """Remove and close all processes; the table may be used again."""
        self._reported.clear()
        self.left_out = Counter()
        for process in self:
            self.drop(process)
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None


def _count(left: list[int]) -> str:
    if len(left) == 1:
        return f"pid {left[0]} is"
    return f"{len(left)} processes (pid {left[0]} and others) are"


def descendants_of(parents: set[int]) -> set[int]:
    """Return the pids of all children, grandchildren and so on of the given processes.

    Raises:
        OSError: /proc can't be read, as with too many open files.
    """
    children: dict[int, list[int]] = {}
    for pid in pids():
        try:
            parent = read_stat(pid).parent
        except (ProcessLookupError, PermissionError):  # it has ended in the meantime, or is hidden
            continue
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    left = list(parents)
    while left:
        new = set(children.get(left.pop(), ())) - found
        found |= new
        left += new
    return found


def reason_left_out(pid: int, error: OSError) -> str:
    """Return why a process can't be monitored, as one of `REASONS`."""
    if descriptors.is_shortage(error):
        return "open_files"
    if isinstance(error, PermissionError):
        return "unreadable" if os.path.exists(f"/proc/{pid}") else "hidden"
    return "failed"


def why_left_out(pid: int, error: OSError) -> str:
    """Return why a process can't be monitored, and what to do."""
    if descriptors.is_shortage(error):
        return (
            f"this program may open {descriptors.limit()} files, of which each process needs two "
            "and some are kept for other things: raise 'ulimit -n'"
        )
    if isinstance(error, PermissionError):
        return why_unreadable(pid)
    return error.strerror or str(error)


def why_unreadable(pid: int) -> str:
    """Return why a process's memory may not be read, and what to do."""
    if not os.path.exists(f"/proc/{pid}"):
        return _HIDDEN
    if may_read_others():
        return (
            "its memory may not be read in spite of CAP_SYS_PTRACE and CAP_DAC_OVERRIDE: a "
            "security module of the kernel protects it, or it belongs to a user namespace above "
            "this one"
        )
    needed = "as root, or with CAP_SYS_PTRACE and CAP_DAC_OVERRIDE"
    try:
        process = psutil.Process(pid)
        # After a change of its user a process isn't dumpable: not even that user may read it.
        if process.uids().real not in (0, os.geteuid()):
            needed = f"as {process.username()}, {needed}"
    except (psutil.Error, OSError):
        pass
    return f"its memory may not be read by this user: run {needed}"


def open_named(pid: int) -> Process:
    """Return the process with a pid that the user gave; close it after use.

    Raises:
        TargetError: The process doesn't exist, has ended, has no memory, or may not be read.
    """
    label = f"pid {pid}"
    if pid > _GREATEST_PID or not _exists(pid):
        raise TargetError(label, "there is no such process")
    group = thread_group(pid)
    if group is not None and group != pid:
        raise TargetError(label, f"it is a thread of process {group}: give that pid")
    try:
        process = Process.open(pid)
    except OSError as error:
        raise TargetError(label, _fate(pid, error)) from error
    try:
        has_memory = bool(process.mappings())
    except OSError as error:
        process.close()
        raise TargetError(label, _fate(pid, error)) from error
    if not has_memory:
        process.close()
        raise TargetError(label, "it has no user memory: it is a kernel thread or about to end")
    return process


def reopen_named(pid: int, started: int) -> Process:
    """Open again a process that `open_named` returned before, by its pid and start time.

    Raises:
        TargetError: As for `open_named`, or the pid now belongs to another process.
    """
    if not _exists(pid):
        raise TargetError(f"pid {pid}", "the process has ended")
    process = open_named(pid)
    if process.started != started:
        process.close()
        raise TargetError(
            f"pid {pid}", "the process has ended, and the pid now belongs to another one"
        )
    return process


def _exists(pid: int) -> bool:
    """Return whether there is a process or thread with an id, even if /proc hides it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _fate(pid: int, error: OSError) -> str:
    """Return why an existing pid can't be opened or read: it may have ended just now."""
    if not isinstance(error, ProcessLookupError):
        return why_left_out(pid, error)
    with contextlib.suppress(OSError):
        stat = read_stat(pid)
        if stat.is_of_kernel:
            return "it has no user memory: it is a kernel thread"
        if stat.has_exited:
            return "the process has ended, but its parent hasn't waited for it yet (a zombie)"
    return "the process has ended"
