"""Results from the tracepoint `damon:damon_aggregated`, in a separate trace instance."""

import contextlib
import os
import select
import time
from pathlib import Path

from damon_sysfs.events import Aggregation, Collector, EventFormat, Events, parse_page

_EVENT = "events/damon/damon_aggregated"
#: All events of an aggregation are written at once: if none comes for this long, it is complete.
_PAUSE_SECONDS = 0.002
#: The size of each processor's buffer: the aggregations that it has room for, and the minimum.
_AGGREGATIONS = 4
_MIN_BYTES = 256 << 10


def find_tracing(mounts: tuple[Path, ...]) -> Path | None:
    """Return the first mount of tracefs that has the event and is usable; None if there is none."""
    for mount in mounts:
        if (mount / _EVENT / "format").exists() and os.access(mount / "instances", os.W_OK):
            return mount
    return None


class Trace:
    """The events of one kdamond at a time.

    Args:
        tracing: The mount of tracefs.
        name: The name of the instance to make.

    Attributes:
        lost: The number of events lost because they weren't read in time.

    Raises:
        OSError: The instance can't be made.
        ValueError: This kernel's event has other fields.
    """

    def __init__(self, tracing: Path, name: str) -> None:
        self.lost = 0
        self._folder = tracing / "instances" / name
        self._files: list[int] = []
        self._collector = Collector()
        self._kdamond = -1
        self._targets = self._size_bytes = 0
        # Remove that of an earlier process with the same pid.
        with contextlib.suppress(FileNotFoundError):
            self._folder.rmdir()
        self._folder.mkdir()
        self._epoll = select.epoll()
        try:
            self._write("trace_clock", "mono")
            with contextlib.suppress(OSError):  # Linux before 5.0 always wakes readers at once.
                self._write("buffer_percent", 0)
            self._format = EventFormat.parse((self._folder / _EVENT / "format").read_text())
            self._page_bytes = _page_bytes(self._folder)
            for path in sorted(self._folder.glob("per_cpu/cpu*/trace_pipe_raw")):
                file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._files.append(file)
                self._epoll.register(file, select.EPOLLIN)
        except BaseException:
            self.close()
            raise

    @property
    def missed(self) -> int:
        """Number of aggregations left out because some of their events were lost."""
        return self._collector.missed

    def follow(self, kdamond: int, targets: int, regions: int) -> None:
        """Read the events of another kdamond from now on.

        Args:
            kdamond: The thread id of the kdamond.
            targets: The number of its targets.
            regions: The maximum number of its regions.
        """
        self._kdamond, self._targets = kdamond, targets
        size_bytes = max(_MIN_BYTES, _AGGREGATIONS * regions * self._format.row.itemsize)
        if size_bytes != self._size_bytes:
            self._write("buffer_size_kb", size_bytes >> 10)
            self._size_bytes = size_bytes
        self._write(f"{_EVENT}/filter", f"common_pid == {kdamond}")
        self._write(f"{_EVENT}/enable", 1)
        self._collector.forget()

    def take(self, timeout: float) -> list[Aggregation]:
        """Return the aggregations since the last call; wait if there is none yet.

        Args:
            timeout: The maximum time to wait, in seconds.
        """
        until = time.monotonic() + timeout
        wait, closed = timeout, False
        while True:
            events = self._read(wait)
            if found := self._collector.take(events, self._targets, closed and not len(events)):
                return found
            left = until - time.monotonic()
            if left <= 0:
                return []
            # Once some events have come, all have, unless more come during the pause.
            closed = len(events) > 0
            wait = 0.0 if closed else left
            if closed:
                time.sleep(_PAUSE_SECONDS)

    def _read(self, timeout: float) -> Events:
        """Return new events; wait at most `timeout` seconds if there are none yet."""
        parts: list[Events] = []
        for file, _ in self._epoll.poll(timeout):
            while True:
                try:
                    page = os.read(file, self._page_bytes)
                except BlockingIOError:
                    break
                if not page:
                    break
                events, lost = parse_page(page, self._format)
                self.lost += lost
                parts += events
        # Events that were written while the filter was set may be those of another thread.
        return Events.joined(parts or [Events.none(self._format)]).of(self._kdamond)

    def _write(self, name: str, value: object) -> None:
        (self._folder / name).write_text(str(value), encoding="ascii")

    def close(self) -> None:
        """Remove the instance."""
        for file in self._files:
            os.close(file)
        self._files.clear()
        self._epoll.close()
        with contextlib.suppress(FileNotFoundError):
            self._folder.rmdir()


def _page_bytes(folder: Path) -> int:
    """Return the size of a page of the ring buffer, which may have been made larger."""
    with contextlib.suppress(OSError):
        return int((folder / "buffer_subbuf_size_kb").read_text()) << 10
    return os.sysconf("SC_PAGE_SIZE")
