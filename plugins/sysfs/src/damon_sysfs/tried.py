"""Results without tracing: what a scheme that does nothing was tried on.

The kernel lists the regions of one aggregation in directories, four files each, and doesn't say
whose they are: so this is dear, and good for one target.
"""

import contextlib
import time

import numpy as np

from damon_sysfs.events import Aggregation, Table
from damon_sysfs.tree import Tree

_SCHEME = "contexts/0/schemes/0/"
_TRIED = _SCHEME + "tried_regions"
_PAUSE_SECONDS = 0.01
_COLUMNS = ("start", "end", "nr_accesses", "age")

#: A scheme for regions of any size, frequency and age, which only counts them.
STAT_SCHEME = {
    "contexts/0/schemes/nr_schemes": "1",
    _SCHEME + "action": "stat",
    _SCHEME + "access_pattern/sz/min": "0",
    _SCHEME + "access_pattern/sz/max": str(2**64 - 1),
    _SCHEME + "access_pattern/nr_accesses/min": "0",
    _SCHEME + "access_pattern/nr_accesses/max": str(2**32 - 1),
    _SCHEME + "access_pattern/age/min": "0",
    _SCHEME + "access_pattern/age/max": str(2**32 - 1),
}


class TriedRegions:
    """The regions of the one target of a kdamond whose files hold `STAT_SCHEME`.

    Args:
        tree: The kernel's directories.
        kdamond: The directory of the kdamond, with a slash behind.
    """

    lost = missed = 0  # the kernel waits for us

    def __init__(self, tree: Tree, kdamond: str) -> None:
        self._tree = tree
        self._kdamond = kdamond

    def follow(self, kdamond: int, targets: int, regions: int) -> None:
        """As `Trace.follow`: there is nothing to do."""

    def take(self, timeout: float) -> list[Aggregation]:
        """Return the regions of an aggregation; none yet is an empty list.

        The kernel lets the writer wait until the aggregation is complete.

        Raises:
            OSError: The kdamond doesn't run any more.
        """
        self._tree.write(self._kdamond + "state", "update_schemes_tried_regions")
        table = self._table()
        if len(table.start):
            return [Aggregation(time.monotonic_ns(), {0: table})]
        time.sleep(min(timeout, _PAUSE_SECONDS))
        return []

    def _table(self) -> Table:
        folder = self._tree.root / (self._kdamond + _TRIED)
        rows = []
        for region in sorted(
            (path for path in folder.iterdir() if path.name.isdigit()), key=lambda p: int(p.name)
        ):
            with contextlib.suppress(FileNotFoundError):
                rows.append([int((region / name).read_text()) for name in _COLUMNS])
        return Table(*np.array(rows, dtype=np.int64).reshape(-1, len(_COLUMNS)).T)

    def close(self) -> None:
        """As `Trace.close`: there is nothing to do."""
