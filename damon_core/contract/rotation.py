"""Files of a record that are moved aside: when a new one begins, and how many old ones stay."""

import logging
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen

logger = logging.getLogger(__name__)

# Not from a number of seconds: a float has no room for microseconds.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
        stamp = (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = path.with_name(f"{path.stem}.{stamp}{path.suffix}")
        if not os.path.lexists(aside):
            # One rename, and no placeholder to rename over: a kill leaves nothing half done, and
            # no file system takes it for a replacement that it had better flush to the disk.
            return path.rename(aside)
        time_us += 1


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
        # Not "another period": a context whose aggregation ends a little late must not turn it
        # back.
        return self.every_us is not None and time_us // self.every_us > begun_us // self.every_us

    def remove_oldest(self, path: Path) -> None:
        """Remove files that were moved aside from `path`, the oldest, until `keep` are left.

        To be called when a new file has been begun. One that can't be removed is logged.
        """
        if self.keep is None:
            return
        found = moved_aside(path)
        for old in found[: max(0, len(found) - self.keep)]:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("'%s' can't be removed: %s", old, error.strerror)
