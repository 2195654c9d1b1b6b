"""When a file has become long or old enough, and what it is called from then on."""

import logging
import re
from pathlib import Path

from attrs import frozen

from damon_core import stamped

logger = logging.getLogger(__name__)

_STAMP = r"\d{8}T\d{6}\.\d{6}Z"


@frozen
class Rotation:
    """When to begin a new file, and how many old ones to keep.

    Attributes:
        size_bytes: No file gets longer than this, unless one aggregation alone is. None: no
            limit.
        every_us: A new file begins at each whole multiple of this, in UTC: with an hour, at the
            full hours. None: never.
        keep: How many rotated files stay. None: all.
    """

    size_bytes: int | None = None
    every_us: int | None = None
    keep: int | None = None

    @property
    def enabled(self) -> bool:
        """Whether files are ever rotated."""
        return self.size_bytes is not None or self.every_us is not None

    def is_due(self, file_bytes: int, begun_us: int, more_bytes: int, time_us: int) -> bool:
        """Tell whether rows should go to a new file.

        Args:
            file_bytes: The length of the present file.
            begun_us: The time of its first row.
            more_bytes: The length of the rows to come.
            time_us: Their time.
        """
        if self.size_bytes is not None and file_bytes + more_bytes > self.size_bytes:
            return True
        # Not "another period": a context whose rows come a little late must not turn it back.
        return self.every_us is not None and time_us // self.every_us > begun_us // self.every_us


def rotate(path: Path, time_us: int) -> None:
    """Rename a file to ``STEM.STAMP.SUFFIX``, never over another.

    The caller holds the file's lock: nobody else then makes names from its name.

    Raises:
        OSError: It can't be renamed; it is where it was.
    """
    # One rename, and no placeholder to rename over: a kill leaves nothing half done, and no file
    # system takes it for a replacement that it had better flush to the disk.
    path.rename(stamped(path, time_us))


def rotated_files(path: Path) -> list[Path]:
    """Return the rotated files of `path`, oldest first."""
    name = re.compile(rf"{re.escape(path.stem)}\.{_STAMP}{re.escape(path.suffix)}")
    # The stamp has a fixed width: the order of names is the order of time.
    return sorted(entry for entry in path.parent.iterdir() if name.fullmatch(entry.name))


def prune(path: Path, keep: int) -> None:
    """Remove all rotated files of `path` but the last `keep`; one that can't be is logged."""
    for old in rotated_files(path)[:-keep]:
        try:
            old.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("'%s' can't be removed: %s", old, error.strerror)
