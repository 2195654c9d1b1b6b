"""Processes, identified by more than their pid, which the kernel may give to a later process."""

import contextlib
import os
import select
from collections.abc import Iterator

import psutil
from attrs import define, field

from damon_core import Range, TargetError
from damon_vaddr.mappings import parse_maps

#: The kernel's pid_t is an int; system calls don't accept greater numbers.
_GREATEST_PID = (1 << 31) - 1


@define(eq=False)
class Process:
    """A process: its pid, and what proves that the pid still belongs to it.

    Attributes:
        pid: Its pid.
        identity: psutil's object, which compares the pid and the start time.
    """

    pid: int
    identity: psutil.Process
    _pidfd: int | None = field(default=None, alias="pidfd")

    @classmethod
    def open(cls, pid: int) -> "Process":
        """Return the process that has this pid now; close it after use.

        Raises:
            ProcessLookupError: There is no such process, or it is a zombie.
        """
        pidfd: int | None = None
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError:  # Linux before 5.3, or a sandbox: use only the start time.
            pass
        try:
            process = cls(pid, psutil.Process(pid), pidfd)
        except psutil.Error as error:
            if pidfd is not None:
                os.close(pidfd)
            raise ProcessLookupError(pid) from error
        if process.ended():
            process.close()
            raise ProcessLookupError(pid)
        return process

    @property
    def pidfd(self) -> int | None:
        """The pidfd, a file descriptor for the process; None where Linux doesn't have pidfds."""
        return self._pidfd

    def label(self) -> str:
        """Return a label for users: name and pid, such as ``redis-server[1234]``.

        Raises:
            ProcessLookupError: The process has ended.
        """
        try:
            name = self.identity.name()
        except psutil.Error as error:
            raise ProcessLookupError(self.pid) from error
        # Programs may put any bytes into their name, and not every output accepts them.
        return "".join(char if char.isprintable() else "?" for char in name) + f"[{self.pid}]"

    def ended(self) -> bool:
        """Return whether the process has ended or is a zombie."""
        if self._pidfd is not None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            return bool(poll.poll(0))
        try:
            return not self.identity.is_running() or (
                self.identity.status() == psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return True

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file in the `/proc/PID` of this very process; return the file descriptor.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The file may not be opened by this user.
        """
        try:
            descriptor = os.open(f"/proc/{self.pid}/{name}", flags | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ProcessLookupError(self.pid) from error
        # A process that hasn't ended by now still had its pid when the file was opened.
        if self.ended():
            os.close(descriptor)
            raise ProcessLookupError(self.pid)
        return descriptor

    def maps(self) -> bytes:
        """Return `/proc/PID/maps`; empty while the process has no memory.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The process may not be read by this user.
        """
        with open(self.open_file("maps"), "rb", buffering=0) as file:
            return file.readall()

    def mappings(self) -> list[Range]:
        """Return the mappings as `parse_maps` does; raises what `maps` raises."""
        return parse_maps(self.maps())

    def close(self) -> None:
        """Close the pidfd."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


class ProcessTable:
    """The processes that a source follows, by pid."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Process] = {}
        self._by_pidfd: dict[int, Process] = {}
        self._epoll: select.epoll | None = None

    def __len__(self) -> int:
        return len(self._by_pid)

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self._by_pid.values()))

    def __contains__(self, pid: object) -> bool:
        return pid in self._by_pid

    def add(self, pid: int) -> None:
        """Add the process that has this pid now; do nothing if there is none."""
        if pid not in self._by_pid:
            with contextlib.suppress(ProcessLookupError):
                self.adopt(Process.open(pid))

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
        """Remove and close all processes."""
        for process in self:
            self.drop(process)
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None


def descendants_of(pids: set[int]) -> set[int]:
    """Return the pids of all children, grandchildren and so on of the given processes."""
    children: dict[int, list[int]] = {}
    for pid in psutil.pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The name is in parentheses and may contain anything, even parentheses.
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):  # it has ended in the meantime
            continue
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    left = list(pids)
    while left:
        new = set(children.get(left.pop(), ())) - found
        found |= new
        left += new
    return found


def why_unreadable(pid: int) -> str:
    """Return why a process's memory may not be read, and what to do."""
    needed = "as root or with CAP_SYS_PTRACE"
    try:
        process = psutil.Process(pid)
        # After a change of its user a process isn't dumpable: not even that user may read it.
        if process.uids().real not in (0, os.geteuid()):
            needed = f"as {process.username()}, {needed}"
    except psutil.Error:
        pass
    return f"its memory may not be read by this user: run {needed}"


def open_named(pid: int) -> Process:
    """Return the process with a pid that the user gave; close it after use.

    Raises:
        TargetError: The process doesn't exist, has ended, has no memory, or may not be read.
    """
    label = f"pid {pid}"
    if pid > _GREATEST_PID or not psutil.pid_exists(pid):
        raise TargetError(label, "there is no such process")
    try:
        process = Process.open(pid)
    except ProcessLookupError as error:
        raise TargetError(label, _fate(pid)) from error
    try:
        has_memory = bool(process.mappings())
    except PermissionError as error:
        process.close()
        raise TargetError(label, why_unreadable(pid)) from error
    except OSError as error:
        process.close()
        raise TargetError(label, _fate(pid)) from error
    if not has_memory:
        process.close()
        raise TargetError(label, "it has no user memory: it is a kernel thread or about to end")
    return process


def reopen_named(identity: psutil.Process) -> Process:
    """Open again a process that `open_named` returned before.

    Raises:
        TargetError: As for `open_named`, or the pid now belongs to another process.
    """
    if not psutil.pid_exists(identity.pid):
        raise TargetError(f"pid {identity.pid}", "the process has ended")
    process = open_named(identity.pid)
    if process.identity != identity:
        process.close()
        raise TargetError(
            f"pid {identity.pid}",
            "the process has ended, and the pid now belongs to another one",
        )
    return process


def _fate(pid: int) -> str:
    """Return why an existing pid can't be opened: the process has just ended, or is hidden."""
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return "the process has ended, but its parent hasn't waited for it yet (a zombie)"
    except psutil.Error:
        pass
    if psutil.pid_exists(pid):
        return "/proc doesn't show it to this user (mount option hidepid): run as root"
    return "the process has ended"
