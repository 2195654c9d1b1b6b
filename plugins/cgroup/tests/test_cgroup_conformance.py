"""The package keeps the rules of its kind, on a cgroup with one process."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from damon_cgroup import hierarchies

from damon_core.testing import eventually, sleeping_program
from damon_core.testing.conformance import primitive_rules


@contextlib.contextmanager
def cgroup(directory: Path) -> Iterator[Mapping[str, object]]:
    """Give options that name a cgroup, which is there meanwhile."""
    mounts = [
        each.mount
        for each in hierarchies()
        if each.version == 2 or each.mount.name in ("pids", "freezer", "systemd")
    ]
    if not mounts:
        pytest.skip("no cgroup hierarchy is mounted on this machine")
    path = mounts[0] / f"damon-rules-{os.getpid()}-{directory.name}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"cgroups can't be made here: {error}; run on a machine that allows it")
    try:
        with sleeping_program() as pid:
            (path / "cgroup.procs").write_text(str(pid))
            yield {"path": str(path), "backend": "referenced"}
    finally:
        # The kernel knows a moment later that the process has ended.
        eventually(lambda: _removed(path))


def _removed(path: Path) -> bool:
    """Remove a cgroup, if it is empty already."""
    try:
        path.rmdir()
    except OSError:
        return False
    return True


# Every rule is some contexts, and every context reads and clears what the kernel knows.
test_primitive = pytest.mark.slow(primitive_rules("cgroup", cgroup))
