"""Files as in /proc and /sys: what reads the machine's reads these."""

from pathlib import Path

import numpy as np
import psutil
import pytest

from damon_core.testing import KernelFiles, sleeping_program


@pytest.fixture
def files(tmp_path: Path) -> KernelFiles:
    """Return an empty machine."""
    return KernelFiles(tmp_path / "machine")


def test_a_process_is_one_for_psutil(files: KernelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, parent, state and start are where the kernel has them."""
    files.write("proc/stat", "btime 1700000000\n")
    files.process(77, "two words", parent=5, state="R", start_ticks=700)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(files.proc))
    process = psutil.Process(77)
    assert (process.ppid(), process.status()) == (5, psutil.STATUS_RUNNING)
    assert Path(files.proc / "77/stat").read_text().startswith("77 (two words) R 5 ")


def test_a_cgroup_has_its_processes_and_those_above_it_none(files: KernelFiles) -> None:
    """Each is a directory with cgroup.procs, up to the root of the hierarchy."""
    folder = files.cgroup("/system.slice/db.service", [5, 77])
    assert (folder / "cgroup.procs").read_text() == "5\n77\n"
    found = sorted(str(each.parent) for each in files.root.rglob("cgroup.procs"))
    root = files.sys / "fs/cgroup"
    assert found == [str(root), f"{root}/system.slice", f"{root}/system.slice/db.service"]


def test_words_are_those_of_the_kernel(files: KernelFiles) -> None:
    """64 bits each."""
    path = files.words("proc/kpageflags", [1 << 5, 0, 1 << 63])
    assert np.fromfile(path, dtype=np.uint64).tolist() == [32, 0, 1 << 63]


def test_blocks_of_memory_are_of_their_node(files: KernelFiles) -> None:
    """By links, as with hot-plug."""
    files.memory_blocks({0: [1, 2], 1: [3]}, 128 << 20)
    devices = files.sys / "devices/system"
    assert (devices / "node/node1/memory3/state").read_text() == "online\n"
    assert (devices / "memory/block_size_bytes").read_text() == "8000000\n"


def test_a_sleeping_program_ends_with_its_block() -> None:
    """Whatever happens in it."""
    with sleeping_program() as pid:
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
