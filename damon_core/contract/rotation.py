"""Files of a record that are moved aside: when a new one begins, and how many old ones stay."""

import logging
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen

logger = logging.getLogger(__name__)

# Not from a number of seconds: a float has no room for microseconds.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The end of the year 9999: later times can't be written, and are a clock's or a file's mistake.
_LAST_US = 253_402_300_799_999_999
_STAMP = r"\d{8}T\d{6}\.\d{6}Z"


def move_aside(path: Path, time_us: int) -> Path:
    """Rename a file to ``STEM.STAMP.SUFFIX`` beside it, never over another, and return that.

    The stamp has a fixed width, so that the order of names is the order of time. Of several
    writers only one may do this at a time: each holds a lock on the file.

    Args:
        path: The file.
        time_us: The time for the stamp, Unix microseconds; the next free one is taken.

    Raises:
        OSError: It can't be renamed; it is where it was.
    """
    while True:
        aside = _stamped(path, time_us)
        if not os.path.lexists(aside):
            # One rename, and no placeholder to rename over: a kill leaves nothing half done, and
            # no file system takes it for a replacement that it had better flush to the disk.
            return path.rename(aside)
        time_us = (time_us + 1) % _LAST_US


def _stamped(path: Path, time_us: int) -> Path:
    time_us = min(max(time_us, 0), _LAST_US)
    stamp = (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y%m%dT%H%M%S.%fZ")
    return path.with_name(f"{path.stem}.{stamp}{path.suffix}")


def moved_aside(path: Path) -> list[Path]:
    """Return the files that `move_aside` made of files at `path`, oldest first."""
    name = re.compile(rf"{re.escape(path.stem)}\.{_STAMP}{re.escape(path.suffix)}")
    return sorted(entry for entry in path.parent.iterdir() if name.fullmatch(entry.name))


@frozen
class Rotation:
    """When a record goes on in a new file, and how many old ones stay.

    Attributes:
        size_bytes: No file gets longer than this, unless one aggregation alone is. None: no
            limit.
        every_us: A new file begins at each whole multiple of this, in UTC: with an hour, at the
            full hours. None: never.
        keep: How many files that were moved aside stay, for whatever reason they were; the one
            that is being written doesn't count. None: all.
    """

    size_bytes: int | None = None
    every_us: int | None = None
    keep: int | None = None

    @property
    def enabled(self) -> bool:
        """Whether new files are ever begun."""
        return self.size_bytes is not None or self.every_us is not None

    def is_due(self, begun_us: int, time_us: int, size_bytes: int = 0) -> bool:
        """Return whether an aggregation should go to a new file.

        Args:
            begun_us: The time of the first aggregation in the present file.
            time_us: Its own time.
            size_bytes: How long the present file would be with it.
        """
        if self.size_bytes is not None and size_bytes > self.size_bytes:
            return True
        if self.every_us is None:
            return False
        # Not "another period": a context whose aggregation ends a little late must not turn it
        # back. By a period or more, it is a clock that was ahead and was set right.
        return (
            time_us // self.every_us > begun_us // self.every_us
            or begun_us - time_us >= self.every_us
        )

    def remove_oldest(
        self,
        path: Path,
        now_us: int | None = None,
        is_ours: Callable[[Path], bool] = lambda _path: True,
    ) -> None:
        """Remove files that were moved aside from `path`, the oldest, until `keep` are left.

        To be called when a new file has been begun. One that can't be removed is logged. A file
        with a stamp in the future is of a clock that was ahead: it counts as the oldest.

        Args:
            path: The file that is being written.
            now_us: The time now, Unix microseconds; None: no stamp is in the future.
            is_ours: Whether a file is a record of this format; others don't count, and stay.
        """
        if self.keep is None:
            return
        # A moment later than the present, as stamps that are taken are passed over.
        found = [each for each in moved_aside(path) if is_ours(each)]
        if now_us is not None:
            present = _stamped(path, now_us + 1_000_000).name
            found.sort(key=lambda each: (each.name <= present, each.name))
        for old in found[: max(0, len(found) - self.keep)]:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("'%s' can't be removed: %s", old, error.strerror)
