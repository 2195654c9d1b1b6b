"""Cgroups for tests: directories that look like them, and real ones with sleeping members."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_cgroup import Hierarchy, hierarchies

from damon_core.testing import KernelFiles


@pytest.fixture
def sleepers() -> Iterator[Callable[[], int]]:
    """Return a function that starts a sleeping process and returns its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one() -> int:
        started.append(subprocess.Popen(["sleep", "600"]))
        return started[-1].pid

    yield start_one
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """Return a directory that looks like a mounted hierarchy with one group in it."""
    return KernelFiles(tmp_path).cgroup("system.slice/db.service").parents[1]


def _writable(hierarchy: Hierarchy) -> bool:
    return hierarchy.version == 2 or hierarchy.mount.name in ("pids", "freezer", "systemd")


@pytest.fixture(params=[2, 1])
def real(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a real cgroup of version 2 or 1; it is removed after the test."""
    found = [h for h in hierarchies() if h.version == request.param and _writable(h)]
    if not found:
        pytest.skip(f"no cgroup v{request.param} hierarchy is mounted on this machine")
    path = found[0].mount / f"damon-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"cgroups can't be made here: {error}; run on a machine that allows it")
    yield path
    _remove(path)


def _remove(path: Path) -> None:
    """Remove a cgroup and those below it; move its processes to the one above it."""
    if not path.is_dir():
        return
    for child in path.iterdir():
        if child.is_dir():
            _remove(child)
    for pid in (path / "cgroup.procs").read_text().split():
        (path.parent / "cgroup.procs").write_text(pid)
    path.rmdir()
