"""The workload as a child process."""

import signal
import subprocess
import sys
import threading

from damon_core import DamonError, SelfClosing
from damon_demo import workload
from damon_demo.truth import Truth
from damon_demo.workload import Pattern

#: Runs the program. By file and without site-packages, so that it holds little but its areas.
COMMAND = (sys.executable, "-I", "-S", workload.__file__)


class WorkloadProcess(SelfClosing):
    """The workload, running from construction to the end of the ``with`` block.

    Args:
        pattern: What it shall do.

    Attributes:
        pid: Its process.

    Raises:
        DamonError: It can't be started, or ends before its memory is there, as where the machine
            can't give what the pattern asks for.
    """

    def __init__(self, pattern: Pattern) -> None:
        # In a session of its own, so that Ctrl-C ends the monitoring first, then the workload.
        try:
            self._process = subprocess.Popen(
                [*COMMAND, "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise DamonError(f"the workload can't be started: {error}") from error
        self.pid = self._process.pid
        self._lines: list[str] = []
        self._ready = threading.Event()
        # Reads along, so that a full pipe never stops the workload.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stdin:
                stdin.write(pattern.to_json())
        except BrokenPipeError:
            pass  # it has ended already: told below
        self._ready.wait()
        if not self._lines:
            self.wait()
            raise DamonError("the workload ended before it told where its areas lie")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            self._ready.set()
        self._ready.set()

    def truth(self) -> Truth:
        """Return what it has done so far."""
        return Truth.parse(list(self._lines))

    def wait(self) -> None:
        """Wait until it has ended by itself.

        Raises:
            DamonError: It failed.
        """
        self._end(0)

    def close(self) -> None:
        """End it, if it hasn't ended yet.

        Raises:
            DamonError: It had failed.
        """
        self._process.terminate()
        self._end(0, -signal.SIGTERM)

    def _end(self, *codes: int) -> None:
        """Read the last lines, whose end is the end of its children too."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if self._process.stdout.closed:
            return
        errors = self._process.stderr.read().splitlines()
        self._reader.join()
        code = self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()
        if code not in codes:
            raise DamonError(f"the workload failed: {errors[-1] if errors else f'code {code}'}")
