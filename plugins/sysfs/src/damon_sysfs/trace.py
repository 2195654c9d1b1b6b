"""Results from the tracepoint `damon:damon_aggregated`, in a separate trace instance."""

import contextlib
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

from damon_sysfs.events import (
    TUNED_FIELDS,
    Aggregation,
    Collector,
    EventFormat,
    Events,
    parse_page,
)

_EVENT = "events/damon/damon_aggregated"
#: Linux 6.17 and later: the kernel has tuned the intervals of a kdamond.
_TUNED = "events/damon/damon_monitor_intervals_tune"
#: All events of an aggregation are written at once: if none comes for this long, it is complete.
PAUSE_SECONDS = 0.002
#: The size of each processor's buffer: the aggregations that it has room for, and the minimum.
_AGGREGATIONS = 4
_MIN_BYTES = 256 << 10


def find_tracing(mounts: tuple[Path, ...]) -> Path | None:
    """Return the first mount of tracefs that has the event and is usable; None if there is none."""
    for mount in mounts:
        if (mount / _EVENT / "format").exists() and os.access(mount / "instances", os.W_OK):
            return mount
    return None


def says_what_is_tuned(mount: Path) -> bool:
    """Return whether a kernel tunes intervals, and says to what.

    Args:
        mount: The mount of tracefs.
    """
    return (mount / _TUNED / "format").exists()


class Instance:
    """A trace instance with the results of kdamonds, which nobody else reads.

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
        self._size_bytes = 0
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
            self._tuned_format = self._find_tuned()
            self._page_bytes = _page_bytes(self._folder)
            for path in sorted(self._folder.glob("per_cpu/cpu*/trace_pipe_raw")):
                file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._files.append(file)
                self._epoll.register(file, select.EPOLLIN)
        except BaseException:
            self.close()
            raise

    def _find_tuned(self) -> EventFormat | None:
        """Return the format of the event about tuned intervals; None where there is none."""
        with contextlib.suppress(OSError, ValueError):
            text = (self._folder / _TUNED / "format").read_text()
            return EventFormat.parse(text, TUNED_FIELDS)
        return None

    def hold(self, regions: int) -> None:
        """Make room for some aggregations of so many regions."""
        size_bytes = max(_MIN_BYTES, _AGGREGATIONS * regions * self._format.row.itemsize)
        if size_bytes != self._size_bytes:
            self._write("buffer_size_kb", size_bytes >> 10)
            self._size_bytes = size_bytes

    def listen(self, kdamonds: Iterable[int], *, tuning: bool = False) -> None:
        """Take the results of some kdamonds from now on.

        Args:
            kdamonds: Their threads.
            tuning: Whether to take events about tuned intervals as well, where there are any.
        """
        wanted = " || ".join(f"common_pid == {kdamond}" for kdamond in sorted(kdamonds))
        for event in (_EVENT, *([_TUNED] if tuning and self._tuned_format is not None else [])):
            self._write(f"{event}/filter", wanted)
            self._write(f"{event}/enable", 1)

    def pause(self) -> None:
        """Take no results until `resume`; of tuned intervals they are said all the same."""
        self._write(f"{_EVENT}/enable", 0)

    def resume(self) -> None:
        """Take results again, of the kdamonds that were named last."""
        self._write(f"{_EVENT}/enable", 1)

    @property
    def says_what_is_tuned(self) -> bool:
        """Whether there are events about tuned intervals."""
        return self._tuned_format is not None

    def read(self, timeout: float, tuned_since_ns: int = 0) -> tuple[Events, dict[int, int]]:
        """Return new events; wait at most `timeout` seconds if there are none yet.

        Args:
            timeout: The maximum time to wait, in seconds.
            tuned_since_ns: Leave out what was tuned earlier, on the clock of `time.monotonic_ns`.

        Returns:
            The events, and the sampling interval in microseconds of each kdamond, by its thread,
            whose intervals the kernel has tuned meanwhile.
        """
        parts: list[Events] = []
        tuned: dict[int, int] = {}
        for file, _ in self._epoll.poll(timeout):
            while True:
                try:
                    page = os.read(file, self._page_bytes)
                except BlockingIOError:
                    break
                if not page:
                    break
                found = parse_page(page, self._format, self._tuned_format)
                self.lost += found.lost
                parts += found.events
                for time_ns, row in found.others:
                    if time_ns >= tuned_since_ns:
                        tuned[int(row["common_pid"])] = int(row["sample_us"])
        return Events.joined(parts or [Events.none(self._format)]), tuned

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


class Trace:
    """The results of one kdamond at a time.

    Args:
        tracing: The mount of tracefs.
        name: The name of the instance to make.

    Attributes:
        tuned_us: The sampling interval in microseconds to which the kernel has tuned the kdamond
            since it is followed; None if it hasn't.

    Raises:
        OSError: The instance can't be made.
        ValueError: This kernel's event has other fields.
    """

    def __init__(self, tracing: Path, name: str) -> None:
        self.tuned_us: int | None = None
        self._followed_ns = 0
        self._instance = Instance(tracing, name)
        self._collector = Collector()
        self._kdamond = -1
        self._targets = self._since_ns = 0

    @property
    def lost(self) -> int:
        """The number of events lost because they weren't read in time."""
        return self._instance.lost

    @property
    def missed(self) -> int:
        """Number of aggregations left out because some of their events were lost."""
        return self._collector.missed

    @property
    def says_what_is_tuned(self) -> bool:
        """Whether this kernel says to what it tunes intervals."""
        return self._instance.says_what_is_tuned

    def follow(self, kdamond: int, targets: int, regions: int, since_ns: int = 0) -> None:
        """Read the events of another kdamond, or one with other settings, from now on.

        Args:
            kdamond: The thread id of the kdamond.
            targets: The number of its targets.
            regions: The maximum number of its regions.
            since_ns: Leave out what is older, on the clock of `time.monotonic_ns`.
        """
        self._kdamond, self._targets, self._since_ns = kdamond, targets, since_ns
        self._instance.hold(regions)
        self._instance.listen([kdamond], tuning=True)
        self._collector.forget()
        # What was tuned before doesn't count any more.
        self.tuned_us, self._followed_ns = None, time.monotonic_ns()

    def take(self, timeout: float) -> list[Aggregation]:
        """Return the aggregations since the last call; wait if there is none yet.

        Args:
            timeout: The maximum time to wait, in seconds.
        """
        until = time.monotonic() + timeout
        wait, closed = timeout, False
        while True:
            events, tuned = self._instance.read(wait, self._followed_ns)
            self.tuned_us = tuned.get(self._kdamond, self.tuned_us)
            # Events that were written while the filter was set may be those of another thread.
            events = events.of(self._kdamond).since(self._since_ns)
            if found := self._collector.take(events, self._targets, closed and not len(events)):
                return found
            left = until - time.monotonic()
            if left <= 0:
                return []
            # Once some events have come, all have, unless more come during the pause.
            closed = len(events) > 0
            wait = 0.0 if closed else left
            if closed:
                time.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        """Remove the instance."""
        self._instance.close()


def _page_bytes(folder: Path) -> int:
    """Return the size of a page of the ring buffer, which may have been made larger."""
    with contextlib.suppress(OSError):
        return int((folder / "buffer_subbuf_size_kb").read_text()) << 10
    return os.sysconf("SC_PAGE_SIZE")
