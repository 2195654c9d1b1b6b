"""Sources of processes to monitor: given pids or a command to start, and their descendants."""

import os
import subprocess
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from damon_core import DamonError, TargetError, why_not_a_program
from damon_vaddr.processes import (
    Process,
    ProcessTable,
    open_named,
    reopen_named,
    why_left_out,
)
from damon_vaddr.selection import Descendants, Patterns

#: For how long a command that was started is waited for until its program is mapped, in seconds.
_MAPPED_S = 1.0


class ProcessSource(Protocol):
    """Finds the processes to monitor. Only the worker calls it.

    Each run of the context calls `start` at its beginning and `close` at its end. After `processes`
    an attribute ``left_out`` says how many it leaves out, by the words of `REASONS`; without one it
    is none. A source that knows labels of a process has a method ``labels``, which is given it:
    these win over those that are found. One that has one process and never another has a true
    attribute ``is_single``. A source whose `close` waits for something has an attribute
    ``stop_timeout_us``: how long that may take, in microseconds.
    """

    def start(self) -> None:
        """Begin to follow processes.

        Raises:
            TargetError: A process that the user named no longer exists or may not be read.
        """

    def processes(self) -> Collection[Process]:
        """Return the current processes; called each update interval.

        Raises:
            OSError: They can't be found just now, as too many files are open.
        """

    def take_ended(self) -> Collection[Process]:
        """Return the processes that ended since the last call; called each sampling interval."""

    def finished(self) -> bool:
        """Return whether no process is left or will ever appear; called each sampling interval."""

    def close(self) -> None:
        """Release everything. May be called without `start`, and more than once."""


class _Followed:
    """The common part of the sources in this module: processes and their descendants.

    Descendants are found as children of the processes that are already followed, so a grandchild
    stays when its parent ends. If the parent started and ended between two updates, the grandchild
    is missed: nothing shows its ancestor any more.
    """

    def __init__(self, descendants: bool, exclude: Patterns | None) -> None:
        self._descendants = Descendants(exclude) if descendants else None
        self._table = ProcessTable()

    @property
    def has_more(self) -> bool:
        """Whether some processes are to come with the next updates, as there are many."""
        return self._table.has_more

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many can't be monitored, or can't be asked, by reason."""
        below = Counter() if self._descendants is None else self._descendants.left_out
        return self._table.left_out + below

    def processes(self) -> Collection[Process]:
        """Return the current processes."""
        if self._descendants is not None:
            parents = {process.pid for process in self._table}
            self._table.add_all(self._descendants.of(parents, self._table))
        return list(self._table)

    def take_ended(self) -> Collection[Process]:
        """Return the processes that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Return whether all processes have ended."""
        return not len(self._table)


class PidSource(_Followed):
    """Processes with given pids.

    Args:
        pids: The pids.
        descendants: Whether their children, grandchildren and so on are monitored as well.
        exclude: What is left out of these; nothing by default.

    Attributes:
        is_single: Whether there is one process, and never another.

    Raises:
        TargetError: One of the processes doesn't exist, has no memory, or may not be read.
    """

    def __init__(
        self, pids: Sequence[int], descendants: bool = False, exclude: Patterns | None = None
    ) -> None:
        super().__init__(descendants, exclude)
        self._started: dict[int, int] = {}
        for pid in dict.fromkeys(pids):
            process = open_named(pid)
            self._started[pid] = process.started
            process.close()
        self.is_single = not descendants and len(self._started) == 1

    def start(self) -> None:
        """Open the processes.

        Raises:
            TargetError: One has ended since it was named, or may no longer be read.
        """
        for pid, started in self._started.items():
            self._table.adopt(reopen_named(pid, started))

    def close(self) -> None:
        """Close the processes."""
        self._table.close()


class CommandSource(_Followed):
    """A command that is started with the monitoring and ended with it.

    If the command still runs at the end it is sent SIGTERM and, `grace` seconds later, SIGKILL;
    its descendants are sent nothing. It shares the standard streams of this program.

    Args:
        command: The program and its arguments. No shell is involved.
        descendants: Whether its children, grandchildren and so on are monitored as well.
        exclude: What is left out of these; nothing by default.
        grace: Seconds between the two signals.

    Attributes:
        stop_timeout_us: How long `close` may take: both signals need a grace.
        is_single: Whether there is one process, and never another.
        exit_status: The exit status of the last run's command, negative for a signal; None before.

    Raises:
        TargetError: The program doesn't exist or may not be executed.
    """

    def __init__(
        self,
        command: Sequence[str],
        descendants: bool = False,
        grace: float = 5.0,
        exclude: Patterns | None = None,
    ) -> None:
        super().__init__(descendants, exclude)
        self._command = list(command)
        self._grace = grace
        self.stop_timeout_us = round(2e6 * grace) + 5_000_000
        self._popen: subprocess.Popen[bytes] | None = None
        self.exit_status: int | None = None
        self.is_single = not descendants
        program = self._command[0] if self._command else ""
        if reason := why_not_a_program(program):
            raise TargetError(f"command '{program}'", reason)

    def start(self) -> None:
        """Start the command.

        Raises:
            TargetError: It can't be executed, or too many files are open to monitor it.
        """
        self.exit_status = None
        try:
            self._popen = subprocess.Popen(self._command)
        except OSError as error:
            reason = error.strerror or str(error)
            raise TargetError(f"command '{self._command[0]}'", reason) from error
        _wait_until_mapped(self._popen.pid)
        try:
            self._table.add(self._popen.pid)
        except OSError as error:
            reason = why_left_out(self._popen.pid, error)
            raise TargetError(f"command '{self._command[0]}'", reason) from error

    @property
    def command_runs(self) -> bool:
        """Whether the command has started and not ended yet; from any thread."""
        popen = self._popen
        return popen is not None and popen.poll() is None

    def take_ended(self) -> Collection[Process]:
        """Return the processes that ended since the last call."""
        ended = super().take_ended()
        if ended and self._popen is not None:
            self.exit_status = self._popen.poll()  # and leave no zombie
        return ended

    def close(self) -> None:
        """End the command if it still runs, and close all processes."""
        self._table.close()
        if self._popen is None:
            return
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(self._grace)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._wait_killed()
        self.exit_status = self._popen.returncode
        self._popen = None

    def _wait_killed(self) -> None:
        """Wait for the end of a killed command, which a hanging device can prevent."""
        assert self._popen is not None
        try:
            self._popen.wait(self._grace)
        except subprocess.TimeoutExpired as error:
            raise DamonError(
                f"command '{self._command[0]}' (pid {self._popen.pid}) doesn't end after SIGKILL"
            ) from error


def _wait_until_mapped(pid: int) -> None:
    """Wait until a program that is being executed is mapped; a busy machine may take a while.

    `Popen` returns when the kernel closes the old program's files. Only then the process gets its
    new name and mappings: who looks too early finds a stack and nothing else. The auxiliary vector
    (getauxval(3)) is written last.
    """
    deadline_s = time.monotonic() + _MAPPED_S
    while time.monotonic() < deadline_s:
        try:
            with open(f"/proc/{pid}/auxv", "rb") as vector:
                if any(vector.read()):
                    return
        except OSError:
            return  # whoever monitors it says why
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.001)
