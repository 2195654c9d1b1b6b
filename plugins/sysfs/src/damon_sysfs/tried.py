"""Results without tracing, from the directories `tried_regions` of a scheme that only counts.

The kernel lists the regions of one aggregation in directories, with four files for each region but
without its target. So this costs more than tracing, and works for one target only.
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
_MOST = (1 << 63) - 1
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
    """Add a filter to `STAT_SCHEME`, so that it counts only the pages of one memory cgroup.

    Args:
        tree: The kernel's directories.
        kdamond: The directory of the kdamond, with a slash at the end; it has the scheme.
        cgroup: The path of the cgroup in its hierarchy, with a leading slash.

    Raises:
        PluginError: This kernel's filters don't report how much passes them.
    """
    if not tree.has(kdamond + _PASSED_IN_ALL):
        reason = "this kernel can't monitor the memory of one cgroup: Linux 6.14 is needed"
        raise PluginError("kernel", reason)
    # Linux 6.15 has a separate directory for filters of single pages.
    newer = tree.has(kdamond + _SCHEME + "ops_filters")
    folder = _SCHEME + ("ops_filters/" if newer else "filters/")
    files = {"nr_filters": "1", "0/type": "memcg", "0/memcg_path": cgroup}
    # The filter rejects pages that aren't the cgroup's; kernels allow pages that no filter matches.
    files |= {"0/matching": "N", "0/allow": "N"}
    tree.write_all(files, kdamond + folder)


class TriedRegions:
    """The regions of the only target of a kdamond that has `STAT_SCHEME`.

    Args:
        tree: The kernel's directories.
        kdamond: The directory of the kdamond, with a slash at the end.
        filtered: Whether `write_filter` was called.
    """

    lost = missed = 0  # the kernel waits for the reader
    tuned_us = None

    def __init__(self, tree: Tree, kdamond: str, filtered: bool = False) -> None:
        self._tree = tree
        self._kdamond = kdamond
        self._columns = (*_COLUMNS, _PASSED) if filtered else _COLUMNS

    def follow(self, kdamond: int, targets: int, regions: int, since_ns: int = 0) -> None:
        """Do nothing; see `Trace.follow`."""

    def take(self, timeout: float) -> list[Aggregation]:
        """Wait for the end of the aggregation; return it, or an empty list without any regions yet.

        Raises:
            OSError: The kdamond no longer runs.
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
        """Do nothing; see `Trace.close`."""


def _number(path: str) -> int:
    """Return the number in a file; fast, as there are thousands of files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Addresses go up to 2^64 - 1, columns to half of that.
        return min(int(os.read(descriptor, 32)), _MOST)
    finally:
        os.close(descriptor)
