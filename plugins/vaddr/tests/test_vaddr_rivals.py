"""Rivals: who else clears accessed bits, and that it is said."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from damon_vaddr import Process, ProcessTarget, Referenced, find_rivals, referenced, rivals_finding

from damon_core.testing import KernelFiles


@pytest.fixture
def files(tmp_path: Path) -> KernelFiles:
    """Return the files of a machine without rivals."""
    files = KernelFiles(tmp_path)
    files.process(77, "bash")
    files.write("proc/locks", "")
    files.write("bitmap", "")
    return files


@pytest.fixture
def root(files: KernelFiles) -> Path:
    """Return where they are."""
    return files.root


def test_an_ordinary_machine_has_no_rivals(root: Path) -> None:
    """Nothing is found to warn of."""
    assert find_rivals(root, root / "bitmap") == []


def test_a_thread_of_the_kernels_damon_is_a_rival(files: KernelFiles, root: Path) -> None:
    """Even if DAMON's directories in sysfs don't show it."""
    files.process(77, "kdamond.0", of_kernel=True)
    (rival,) = find_rivals(root, root / "bitmap")
    assert "kdamond.0, pid 77" in rival


def test_a_process_of_a_user_is_no_rival(files: KernelFiles, root: Path) -> None:
    """Whatever it calls itself."""
    files.process(77, "kdamond.7")
    assert find_rivals(root, root / "bitmap") == []


def test_a_kdamond_that_is_on_is_a_rival(files: KernelFiles, root: Path) -> None:
    """Its thread may be hidden, as in a container."""
    for number, state in enumerate(("off", "on")):
        files.write(f"sys/kernel/mm/damon/admin/kdamonds/{number}/state", f"{state}\n")
    (rival,) = find_rivals(root, root / "bitmap")
    assert rival.endswith("(kdamonds/1)")


def test_another_monitor_is_named_by_its_pid(tmp_path: Path) -> None:
    """Its lock is found in the real /proc/locks."""
    path = tmp_path / "bitmap"
    path.write_bytes(b"")
    code = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX);"
        " print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        rivals = find_rivals(marks=path)
    assert f"another monitor (pid {other.pid}) uses idle marks" in rivals


def test_another_monitor_in_this_process_is_not_a_rival(tmp_path: Path) -> None:
    """Contexts of one program share the marks."""
    path = tmp_path / "bitmap"
    path.write_bytes(b"")
    with path.open() as ours:
        fcntl.flock(ours, fcntl.LOCK_EX)
        assert not any("another monitor" in rival for rival in find_rivals(marks=path))


def test_what_of_the_kernel_runs_damon_is_named(files: KernelFiles, root: Path) -> None:
    """With the file to switch it off, as newer kernels do this by default."""
    files.process(77, "kdamond.0", of_kernel=True)
    for name, state in (("damon_stat", "Y"), ("damon_reclaim", "N")):
        files.write(f"sys/module/{name}/parameters/enabled", f"{state}\n")
    (rival,) = find_rivals(root, root / "bitmap")
    assert rival.endswith(
        "DAMON_STAT is on: write N to /sys/module/damon_stat/parameters/enabled to switch it off"
    )


def test_rivals_limit_results(files: KernelFiles, root: Path) -> None:
    """They prevent nothing, so a backend works in spite of them."""
    assert rivals_finding(root).works
    files.process(77, "kdamond.0", of_kernel=True)
    finding = rivals_finding(root)
    assert not finding.works
    assert not finding.required
    assert "each may miss accesses" in finding.detail


def test_rivals_are_logged_when_referenced_begins(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a run, not for each process."""
    monkeypatch.setattr(referenced, "find_rivals", lambda: ["the kernel's own DAMON is running"])
    backend = Referenced()
    with caplog.at_level("INFO"):
        for _ in range(2):
            process = Process.open(os.getpid())
            backend.add(ProcessTarget("this", process=process))
    backend.close()
    assert caplog.text.count("DAMON is running") == 1
