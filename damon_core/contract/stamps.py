"""Files that were moved out of the way: what they are called, and how many of them stay."""

import logging
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

logger = logging.getLogger(__name__)

# Not from a number of seconds: a float has no room for microseconds.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = r"\d{8}T\d{6}\.\d{6}Z"


def stamped(path: Path, time_us: int) -> Path:
    """Return a name beside `path` that no file has: ``STEM.STAMP.SUFFIX``.

    Formats use it for what they move out of the way. The stamp has a fixed width, so that the order
    of names is the order of time.

    Args:
        path: The file that is to get the name.
        time_us: The time for the stamp, Unix microseconds; the next free one is taken.
    """
    while True:
        stamp = (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y%m%dT%H%M%S.%fZ")
        name = path.with_name(f"{path.stem}.{stamp}{path.suffix}")
        if not os.path.lexists(name):
            return name
        time_us += 1


def stamped_files(path: Path) -> list[Path]:
    """Return the files that were moved out of the way of `path`, oldest first."""
    name = re.compile(rf"{re.escape(path.stem)}\.{_STAMP}{re.escape(path.suffix)}")
    return sorted(entry for entry in path.parent.iterdir() if name.fullmatch(entry.name))


def remove_stamped(path: Path, keep: int) -> None:
    """Remove these files but the last `keep`; one that can't be removed is logged."""
    found = stamped_files(path)
    for old in found[: max(0, len(found) - keep)]:
        try:
            old.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("'%s' can't be removed: %s", old, error.strerror)
