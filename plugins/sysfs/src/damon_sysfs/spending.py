"""The CPU time of kdamonds, from procfs."""

import contextlib
import os
from pathlib import Path

from attrs import define, field


@define(eq=False)
class Spending:
    """The total CPU time of threads that run one after the other.

    Args:
        proc: The mount of procfs.
    """

    _proc: Path = Path("/proc")
    _thread: int | None = field(default=None, init=False)
    # Kept open: it is read in each aggregation, and opening it takes ten times as long.
    _file: int | None = field(default=None, init=False)
    _in_ticks: bool = field(default=False, init=False)
    _running_us: int = field(default=0, init=False)
    _ended_us: int = field(default=0, init=False)

    def total_us(self, thread: int | None) -> int:
        """Return the CPU time of all threads so far, in microseconds.

        Args:
            thread: The thread id of the one that runs now; None if none does. A thread that has
                ended counts with its time at the last call.
        """
        if thread != self._thread:
            self.close()
            self._thread = thread
            self._ended_us, self._running_us = self._ended_us + self._running_us, 0
        if thread is not None:
            with contextlib.suppress(OSError):
                self._running_us = self._read_us(thread)
        return self._ended_us + self._running_us

    def close(self) -> None:
        """Close the thread's file; `total_us` may be called again."""
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _read_us(self, thread: int) -> int:
        if self._file is None:
            folder = self._proc / str(thread)
            # Some kernels have no schedstat.
            self._in_ticks = not (folder / "schedstat").exists()
            name = "stat" if self._in_ticks else "schedstat"
            self._file = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        text = os.pread(self._file, 1024, 0)
        if not self._in_ticks:
            return int(text.split()[0]) // 1000
        # The name is in parentheses and may contain anything, even parentheses.
        fields = text.rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // os.sysconf("SC_CLK_TCK")
