"""Virtual time for tests of what work costs."""

from damon_core import VirtualClock


class CpuClock(VirtualClock):
    """Virtual time in which work takes time and processor time."""

    def __init__(self) -> None:
        super().__init__()
        self._cpu_us = 0

    def cpu_us(self) -> int:
        """Return the processor time of all work so far, in microseconds."""
        return self._cpu_us

    def work(self, us: int) -> None:
        """Let work take some microseconds."""
        self._cpu_us += us
        self.advance(us)
