"""Which processes are monitored: given pids, or a command that is started, and descendants."""

import shutil
import subprocess
from collections.abc import Collection, Sequence
from typing import Protocol

import psutil

from damon_core import DamonError, TargetError
from damon_vaddr.processes import (
    Process,
    ProcessTable,
    descendants_of,
    open_named,
    reopen_named,
)


class ProcessSource(Protocol):
    """Says which processes there are to monitor. All methods are called from the worker.

    A source is started and closed once a run of the context, in turn.
    """

    def start(self) -> None:
        """Begin to follow processes.

        Raises:
            TargetError: What the user named isn't there any more or may not be read.
        """

    def processes(self) -> Collection[Process]:
        """Look for changes and return the processes of now; called each update interval."""

    def take_ended(self) -> Collection[Process]:
        """Return those that ended since the last call; called each sampling interval."""

    def finished(self) -> bool:
        """Tell whether there is nothing to monitor and never will be; as often."""

    def close(self) -> None:
        """Release everything. May be called without `start`, and more than once."""


class _Followed:
    """What the sources of this module share: a table, and the descendants of what is in it.

    Descendants are looked for among the children of every process that is followed, so a
    grandchild whose parent ended stays. One whose parent came and went between two updates is
    missed: nothing tells any more whose it is.
    """

    def __init__(self, descendants: bool) -> None:
        self._descendants = descendants
        self._table = ProcessTable()

    def processes(self) -> Collection[Process]:
        """Return the processes of now."""
        if self._descendants:
            for pid in sorted(descendants_of({process.pid for process in self._table})):
                self._table.add(pid)
        return list(self._table)

    def take_ended(self) -> Collection[Process]:
        """Return those that ended since the last call."""
        return self._table.take_ended()

    def finished(self) -> bool:
        """Tell whether all have ended."""
        return not len(self._table)


class PidSource(_Followed):
    """Processes that are named by their pids.

    Args:
        pids: The pids.
        descendants: Follow their children, grandchildren and so on as well.

    Raises:
        TargetError: One of the processes doesn't exist, has no memory, or may not be read.
    """

    def __init__(self, pids: Sequence[int], descendants: bool = False) -> None:
        super().__init__(descendants)
        self._named: list[psutil.Process] = []
        for pid in dict.fromkeys(pids):
            process = open_named(pid)
            self._named.append(process.identity)
            process.close()

    def start(self) -> None:
        """Take hold of the processes.

        Raises:
            TargetError: One has ended since, or may not be read any more.
        """
        for identity in self._named:
            self._table.adopt(reopen_named(identity))

    def close(self) -> None:
        """Let go of the processes."""
        self._table.close()


class CommandSource(_Followed):
    """A command that is started with the monitoring and ended with it.

    At the end a command that still runs is sent SIGTERM and, `grace` seconds later, SIGKILL;
    nothing is sent to its descendants. Its input and outputs are this program's own.

    Args:
        command: The program and its arguments. No shell is involved.
        descendants: Follow its children, grandchildren and so on as well.
        grace: Seconds between the two signals.

    Attributes:
        exit_status: What the command of the last run exited with, negative for a signal; None
            before.

    Raises:
        TargetError: There is no such program.
    """

    def __init__(
        self, command: Sequence[str], descendants: bool = False, grace: float = 5.0
    ) -> None:
        super().__init__(descendants)
        self._command = list(command)
        self._grace = grace
        self._popen: subprocess.Popen[bytes] | None = None
        self.exit_status: int | None = None
        if not self._command or shutil.which(self._command[0]) is None:
            program = self._command[0] if self._command else ""
            raise TargetError(
                f"command '{program}'", "there is no executable program of this name on the PATH"
            )

    def start(self) -> None:
        """Start the command.

        Raises:
            TargetError: It can't be executed.
        """
        self.exit_status = None
        try:
            self._popen = subprocess.Popen(self._command)
        except OSError as error:
            reason = error.strerror or str(error)
            raise TargetError(f"command '{self._command[0]}'", reason) from error
        self._table.add(self._popen.pid)

    def take_ended(self) -> Collection[Process]:
        """Return those that ended since the last call."""
        ended = super().take_ended()
        if ended and self._popen is not None:
            self.exit_status = self._popen.poll()  # no zombie is left behind
        return ended

    def close(self) -> None:
        """End the command if it runs, and let go of all processes."""
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
        """Wait for the end of a killed command, which a hanging device can put off for ever."""
        assert self._popen is not None
        try:
            self._popen.wait(self._grace)
        except subprocess.TimeoutExpired as error:
            raise DamonError(
                f"command '{self._command[0]}' (pid {self._popen.pid}) doesn't end after SIGKILL"
            ) from error
