"""Results through the tracepoint `damon:damon_aggregated`, in a trace instance of our own."""

import contextlib
import os
import select
import time
from pathlib import Path

from damon_sysfs.events import Aggregation, Collector, EventFormat, Events, parse_page

_EVENT = "events/damon/damon_aggregated"
#: All events of an aggregation are written at once: after this pause there are no more.
_PAUSE_SECONDS = 0.002
#: The size of each processor's buffer: how many aggregations it has room for, and the least.
_AGGREGATIONS = 4
_LEAST_BYTES = 256 << 10


def find_tracing(places: tuple[Path, ...]) -> Path | None:
    """Return where tracefs with the event is mounted and can be used."""
    for place in places:
        if (place / _EVENT / "format").exists() and os.access(place / "instances", os.W_OK):
            return place
    return None


class Trace:
    """The events of one kdamond at a time.

    Args:
        tracing: Where tracefs is mounted.
        name: The name of the instance to make.

    Attributes:
        lost: How many events were lost because nobody read them in time.

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
        # So that none is left from a process that had the same number.
        with contextlib.suppress(FileNotFoundError):
            self._folder.rmdir()
        self._folder.mkdir()
        self._epoll = select.epoll()
        try:
            self._write("trace_clock", "mono")
            with contextlib.suppress(OSError):  # Linux before 5.0 wakes readers at once anyway.
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
        """How many aggregations were left out, as some of their events were lost."""
        return self._collector.missed

    def follow(self, kdamond: int, targets: int, regions: int) -> None:
        """Take the events of this kdamond from now on, which has at most so many regions."""
        self._kdamond, self._targets = kdamond, targets
        size_bytes = max(_LEAST_BYTES, _AGGREGATIONS * regions * self._format.row.itemsize)
        if size_bytes != self._size_bytes:
            self._write("buffer_size_kb", size_bytes >> 10)
            self._size_bytes = size_bytes
        self._write(f"{_EVENT}/filter", f"common_pid == {kdamond}")
        self._write(f"{_EVENT}/enable", 1)
        self._collector.forget()

    def take(self, timeout: float) -> list[Aggregation]:
        """Return the aggregations since the last call; wait for one if there is none.

        Args:
            timeout: For how many seconds to wait at most.
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
            # Once some have come, the rest has too, unless more comes within a moment.
            closed = len(events) > 0
            wait = 0.0 if closed else left
            if closed:
                time.sleep(_PAUSE_SECONDS)

    def _read(self, timeout: float) -> Events:
        """Return the events that there are; wait for some for so many seconds at most."""
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
        # What was under way when the filter was set may be another's.
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
    """Return how much is read at once: a page, unless somebody has made them larger."""
    with contextlib.suppress(OSError):
        return int((folder / "buffer_subbuf_size_kb").read_text()) << 10
    return os.sysconf("SC_PAGE_SIZE")
