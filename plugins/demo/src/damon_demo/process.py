"""The workload as a child process."""

import signal
import subprocess
import sys
import threading

from damon_core import DamonError, SelfClosing
from damon_demo import workload
from damon_demo.truth import Truth
from damon_demo.workload import Pattern

#: Starts the program; without site-packages, so that the process has little beside its areas.
COMMAND = (sys.executable, "-I", "-S", workload.__file__)


class WorkloadProcess(SelfClosing):
    """The workload, running from construction to the end of the ``with`` block.

    Args:
        pattern: The pattern to carry out.

    Attributes:
        pid: The process id.

    Raises:
        DamonError: The workload can't be started, or ends before its areas are mapped, for
            example because the machine can't provide the kind of memory that the pattern names.
    """

    def __init__(self, pattern: Pattern) -> None:
        # In a new session, so that Ctrl-C ends the monitoring first, then the workload.
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
        # Reads all the time, so that a full pipe never blocks the workload.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stdin:
                stdin.write(pattern.to_json())
        except BrokenPipeError:
            pass  # the process has ended already: reported below
        self._ready.wait()
        if not self._lines:
            self.wait()
            raise DamonError("the workload ended before it printed the addresses of its areas")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            self._ready.set()
        self._ready.set()

    def truth(self) -> Truth:
        """Return the workload's true accesses so far."""
        return Truth.parse(list(self._lines))

    def wait(self) -> None:
        """Wait until the workload has ended by itself.

        Raises:
            DamonError: The workload failed.
        """
        self._end(0)

    def close(self) -> None:
        """End the workload, if it hasn't ended yet.

        Raises:
            DamonError: The workload had failed.
        """
        self._process.terminate()
        self._end(0, -signal.SIGTERM)

    def _end(self, *codes: int) -> None:
        """Read the last lines; the output ends when the workload and its children have ended."""
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
            raise DamonError(
                f"the workload failed: {errors[-1] if errors else f'exit code {code}'}"
            )
