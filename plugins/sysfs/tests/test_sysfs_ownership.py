"""Whose kdamonds are whose: on files of the kernel's layout, and with real processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from damon_sysfs.features import probe
from damon_sysfs.ownership import Claim, Record, Registry, find_rivals, start_time
from damon_sysfs.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return directories like the kernel's, with two kdamonds that are off."""
    for number in range(2):
        folder = tmp_path / f"admin/kdamonds/{number}"
        (folder / "contexts").mkdir(parents=True)
        (folder / "state").write_text("off\n")
        (folder / "pid").write_text("-1\n")
        (folder / "contexts/nr_contexts").write_text("0\n")
    (tmp_path / "admin/kdamonds/nr_kdamonds").write_text("2\n")
    return Tree(tmp_path / "admin")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a /proc without any kdamond."""
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/comm").write_text("init\n")
    return tmp_path / "proc"


def switch_on(tree: Tree, slot: int, pid: int) -> None:
    """Make a kdamond run, as far as files tell."""
    (tree.root / f"kdamonds/{slot}/state").write_text("on\n")
    (tree.root / f"kdamonds/{slot}/pid").write_text(f"{pid}\n")


def claim(slot: int, kdamond: int | None) -> Claim:
    """Return a claim of this process."""
    pid = os.getpid()
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return Claim(slot, pid, start_time(pid), namespace, "damon-x", kdamond, None, {})


def test_nothing_runs(tree: Tree, proc: Path) -> None:
    """Directories alone are nobody's."""
    assert find_rivals(tree, Record(), proc) == []


def test_a_kdamond_that_is_not_noted_is_somebody_elses(tree: Tree, proc: Path) -> None:
    """It is named by its directory and pid."""
    switch_on(tree, 1, 4711)
    assert find_rivals(tree, Record({}, [claim(0, 4710)]), proc) == [
        "kdamonds/1 is on (pid 4711), which another program has started"
    ]


def test_a_kdamond_of_ours_is_no_rival(tree: Tree, proc: Path) -> None:
    """Neither by its directory nor as a thread."""
    switch_on(tree, 1, 4711)
    (proc / "4711").mkdir()
    (proc / "4711/comm").write_text("kdamond.0\n")
    assert find_rivals(tree, Record({}, [claim(1, 4711)]), proc) == []


def test_a_kdamond_of_the_kernel_is_named(tree: Tree, proc: Path) -> None:
    """DAMON_RECLAIM and others have no directory."""
    (proc / "81").mkdir()
    (proc / "81/comm").write_text("kdamond.0\n")
    assert find_rivals(tree, Record(), proc) == [
        "kdamond.0 (pid 81) runs, which the kernel has started"
    ]


def test_a_probe_tells_who_has_it_and_writes_nothing(
    tree: Tree, proc: Path, tmp_path: Path
) -> None:
    """What another program has started makes the backend unusable; all files stay."""
    switch_on(tree, 0, 4711)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in files}
    findings = probe(Registry(tree, tmp_path / "run"), (tmp_path / "tracing",), proc)
    (free,) = [finding for finding in findings if finding.name == "DAMON for this program"]
    assert (free.works, free.required) == (False, True)
    assert "pid 4711" in free.detail
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert {path: path.stat().st_mtime_ns for path in files} == times


def test_a_kernel_without_damon(tmp_path: Path) -> None:
    """One line says what is missing."""
    (finding,) = probe(Registry(Tree(tmp_path / "admin"), tmp_path / "run"))
    assert not finding.works
    assert "CONFIG_DAMON_SYSFS" in finding.detail


@pytest.mark.parametrize(("release", "works"), [("5.18.0", False), ("6.12.107+deb13-amd64", True)])
def test_features_are_told_one_by_one(
    tree: Tree, proc: Path, tmp_path: Path, release: str, works: bool
) -> None:
    """What a kernel lacks, but can be done without, is no reason not to use it."""
    (proc / "sys/kernel").mkdir(parents=True)
    (proc / "sys/kernel/osrelease").write_text(release)
    (proc / "kallsyms").write_text("0 t damon_va_young\n")
    findings = {
        finding.name: finding
        for finding in probe(Registry(tree, tmp_path / "run"), (tmp_path / "tracing",), proc)
    }
    assert findings["changes while it runs"].works is works
    assert findings["operations 'vaddr', for processes"].works
    assert not findings["operations 'paddr', for physical memory"].works
    assert all(finding.works or not finding.required for finding in findings.values())


def test_settings_are_saved_and_restored(tree: Tree) -> None:
    """Those that somebody has made in directories that are off."""
    name = "kdamonds/0/contexts/nr_contexts"
    tree.write(name, 1)
    saved = tree.save()
    tree.write(name, 0)
    tree.restore(saved)
    assert tree.read(name) == "1"


def test_nothing_is_made_that_the_kernel_lacks(tree: Tree) -> None:
    """A file that isn't there stays so."""
    with pytest.raises(FileNotFoundError):
        tree.write("kdamonds/0/no_such_file", 1)
    assert not tree.has("kdamonds/0/no_such_file")


def test_a_zombie_has_ended(eventually: Callable[[Callable[[], object]], None]) -> None:
    """A program that was killed holds nothing any more, even if nobody has noticed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert start_time(process.pid) is not None
        process.kill()
        eventually(lambda: start_time(process.pid) is None)
