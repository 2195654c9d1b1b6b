"""Results without tracing: what a scheme that does nothing was tried on.

The kernel lists the regions of one aggregation in directories, four files each, and doesn't say
whose they are: so this is dear, and good for one target.
"""

import contextlib
import os
import time

import numpy as np

from damon_core import PluginError
from damon_sysfs.events import Aggregation, Table
from damon_sysfs.tree import Tree

_SCHEME = "contexts/0/schemes/0/"
_TRIED = _SCHEME + "tried_regions"
_PAUSE_SECONDS = 0.01
_COLUMNS = ("start", "end", "nr_accesses", "age")
_PASSED = "sz_filter_passed"
_PASSED_IN_ALL = _SCHEME + "stats/sz_ops_filter_passed"

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


def write_filter(tree: Tree, kdamond: str, cgroup: str) -> None:
    """Have `STAT_SCHEME`, which is written, count the pages of one memory cgroup alone.

    Args:
        tree: The kernel's directories.
        kdamond: The directory of the kdamond, with a slash behind.
        cgroup: The path of the cgroup below the root of its hierarchy.

    Raises:
        PluginError: This kernel's filters don't tell what passes them.
    """
    if not tree.has(kdamond + _PASSED_IN_ALL):
        reason = "this kernel can't tell one cgroup's memory: that takes Linux 6.14"
        raise PluginError("kernel", reason)
    # Linux 6.15 has filters for single pages apart from others.
    newer = tree.has(kdamond + _SCHEME + "ops_filters")
    folder = _SCHEME + ("ops_filters/" if newer else "filters/")
    files = {"nr_filters": "1", "0/type": "memcg", "0/memcg_path": cgroup}
    # What isn't the cgroup's is kept out; what no filter speaks of is let in by every kernel.
    files |= {"0/matching": "N", "0/allow": "N"}
    tree.write_all(files, kdamond + folder)


class TriedRegions:
    """The regions of the one target of a kdamond whose files hold `STAT_SCHEME`.

    Args:
        tree: The kernel's directories.
        kdamond: The directory of the kdamond, with a slash behind.
        filtered: Whether `write_filter` was called.
    """

    lost = missed = 0  # the kernel waits for us

    def __init__(self, tree: Tree, kdamond: str, filtered: bool = False) -> None:
        self._tree = tree
        self._kdamond = kdamond
        self._columns = (*_COLUMNS, _PASSED) if filtered else _COLUMNS

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
        for region in sorted(int(name) for name in os.listdir(folder) if name.isdigit()):
            with contextlib.suppress(FileNotFoundError):
                rows.append([_number(f"{folder}/{region}/{name}") for name in self._columns])
        return Table(*np.array(rows, dtype=np.int64).reshape(-1, len(self._columns)).T)

    def close(self) -> None:
        """As `Trace.close`: there is nothing to do."""


def _number(path: str) -> int:
    """Return the number that is in a file; there are thousands to read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 32))
    finally:
        os.close(descriptor)
