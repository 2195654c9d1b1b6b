"""The workload as a child process."""

import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

from damon_core import DamonError
from damon_demo import workload
from damon_demo.truth import Truth
from damon_demo.workload import Pattern


class WorkloadProcess:
    """The workload, running from construction to the end of the ``with`` block.

    Args:
        pattern: What it shall do.

    Attributes:
        pid: Its process.

    Raises:
        DamonError: It can't be started, or ends before its memory is there.
    """

    def __init__(self, pattern: Pattern) -> None:
        # By file and without site-packages, so that the process holds little but its areas. In
        # a session of its own, so that Ctrl-C ends the monitoring first and then the workload.
        command = [sys.executable, "-I", "-S", workload.__file__, "-"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
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
            self.close()
            raise DamonError(
                f"the workload ended with code {self._process.returncode} before it began"
            )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            self._ready.set()
        self._ready.set()

    def truth(self) -> Truth:
        """Return what it has done so far."""
        return Truth.parse(list(self._lines))

    def close(self) -> None:
        """End the process and read its last lines."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
