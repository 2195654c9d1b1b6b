"""When a file has become long or old enough, and how it is moved out of the way then."""

from pathlib import Path

from attrs import frozen

from damon_core import stamped


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
