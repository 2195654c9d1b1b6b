"""The processes of a cgroup: in directories that look like cgroups, and in real cgroups."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from damon_cgroup import CgroupSource, Hierarchy, find_cgroup, hierarchies, plugin
from damon_vaddr import forecast_processes
from damon_vaddr import plugin as vaddr_plugin

from damon_core import Context, Intervals, Plugins, TargetError, start, stop
from damon_core.testing import eventually

_SHORT = Intervals(sampling_us=20_000, aggregation_us=100_000, update_us=50_000)


def _pids(source: CgroupSource) -> set[int]:
    return {process.pid for process in source.processes()}


def test_hierarchies_are_read_from_the_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2 first; other file systems are skipped, escapes in paths are decoded."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text(
        "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0\n"
        "cgroup /sys/fs/cgroup/devices cgroup rw,relatime,devices 0 0\n"
        "cgroup2 /mnt/my\\040groups cgroup2 rw,relatime 0 0\n"
    )
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert hierarchies() == [
        Hierarchy(Path("/mnt/my groups"), 2),
        Hierarchy(Path("/sys/fs/cgroup/devices"), 1),
    ]


@pytest.mark.parametrize("path", ["system.slice/db.service", "/system.slice/db.service"])
def test_a_cgroup_is_found_below_a_hierarchy(fake: Path, path: str) -> None:
    """By the path that systemd or /proc/PID/cgroup shows."""
    assert find_cgroup(path, [Hierarchy(fake, 2)]) == fake / "system.slice" / "db.service"


def test_a_cgroup_is_found_by_its_absolute_path(fake: Path) -> None:
    """Even if it is the root of a hierarchy."""
    for path in (fake / "system.slice", fake):
        assert find_cgroup(str(path), [Hierarchy(fake, 1)]) == path


def test_a_missing_cgroup_is_an_error(fake: Path) -> None:
    """The message names it and the hierarchies that were searched."""
    with pytest.raises(TargetError, match=f"cgroup 'nosuch': there is no such.*{fake}"):
        find_cgroup("nosuch", [Hierarchy(fake, 2)])


def test_an_ordinary_directory_is_not_a_cgroup(fake: Path) -> None:
    """Outside of the mounted hierarchies no directory is a cgroup, even with a cgroup.procs."""
    with pytest.raises(TargetError, match="not a cgroup"):
        find_cgroup("/tmp", [Hierarchy(fake, 2)])
    with pytest.raises(TargetError, match="not a cgroup"):
        find_cgroup(str(fake), [Hierarchy(fake / "system.slice", 2)])


def test_dots_do_not_lead_out_of_a_hierarchy(fake: Path) -> None:
    """A relative path can't name a directory outside of the hierarchy."""
    with pytest.raises(TargetError, match="cgroup"):
        find_cgroup("../../system.slice", [Hierarchy(fake / "system.slice" / "db.service", 2)])


def test_a_machine_without_hierarchies_is_an_error() -> None:
    """The message differs from that of a missing cgroup."""
    with pytest.raises(TargetError, match="no cgroup hierarchy is mounted"):
        find_cgroup("a", [])


def test_members_come_and_go(fake: Path, sleepers: Callable[[], int]) -> None:
    """The processes are those listed now."""
    one, other = sleepers(), sleepers()
    source = CgroupSource(fake)
    source.start()
    assert _pids(source) == set()
    (fake / "cgroup.procs").write_text(f"{one}\n{other}\n")
    assert _pids(source) == {one, other}
    (fake / "cgroup.procs").write_text(f"{other}\n0\n")
    assert _pids(source) == {other}
    assert not source.finished()
    source.close()


def test_members_are_counted_without_being_opened(fake: Path) -> None:
    """So even those that have ended meanwhile count: what matters is about how many there are."""
    (fake / "cgroup.procs").write_text("100001\n100002\n0\n")
    source = CgroupSource(fake)
    assert source.count() == 2
    source.close()


def test_descendants_are_the_cgroups_below(fake: Path, sleepers: Callable[[], int]) -> None:
    """With `descendants` the members of all cgroups below are monitored."""
    pid = sleepers()
    (fake / "system.slice" / "db.service" / "cgroup.procs").write_text(f"{pid}\n")
    for descendants, expected in ((False, set[int]()), (True, {pid})):
        source = CgroupSource(fake, descendants)
        assert _pids(source) == expected
        source.close()


def test_a_removed_cgroup_cannot_be_started(fake: Path) -> None:
    """The start raises an error."""
    source = CgroupSource(fake / "gone", wait=False)
    assert source.finished()
    with pytest.raises(TargetError, match="removed"):
        source.start()


def test_a_link_to_a_hierarchy_is_followed(
    fake: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """/sys/fs/cgroup/cpu is a link to cpu,cpuacct on machines with cgroup v1."""
    link = tmp_path_factory.mktemp("links") / "cpu"
    link.symlink_to(fake)
    assert find_cgroup(str(link / "system.slice"), [Hierarchy(fake, 1)]) == fake / "system.slice"


@pytest.mark.needs("root")
@pytest.mark.slow
def test_a_real_cgroup_is_monitored_to_its_end(real: Path, sleepers: Callable[[], int]) -> None:
    """It may be empty, members come and go, and its removal ends the context, on request."""
    plugins = Plugins({"cgroup": plugin, "vaddr": vaddr_plugin})
    primitive = plugins.make_primitive("cgroup", {"path": str(real), "when_gone": "end"})
    context = Context(primitive, intervals=_SHORT)

    def targets() -> int:
        return len(context.snapshot.targets) if context.snapshot is not None else -1

    start(context)
    eventually(lambda: targets() == 0)
    pids = [sleepers(), sleepers()]
    for pid in pids:
        (real / "cgroup.procs").write_text(str(pid))
    eventually(lambda: targets() == 2)
    assert context.snapshot is not None
    assert context.snapshot.total_bytes > 0
    os.kill(pids[0], 9)
    eventually(lambda: targets() == 1)
    (real.parent / "cgroup.procs").write_text(str(pids[1]))
    eventually(lambda: targets() == 0)
    real.rmdir()
    assert context.wait(30)
    assert context.error is None


@pytest.mark.needs("root")
def test_a_cgroup_that_is_made_again_is_followed(real: Path, sleepers: Callable[[], int]) -> None:
    """As when its service restarts after a pause."""
    source = CgroupSource(real)
    source.start()
    (real / "cgroup.procs").write_text(str(sleepers()))
    assert len(source.processes()) == 1
    (real.parent / "cgroup.procs").write_text(str(*_pids(source)))
    real.rmdir()
    assert _pids(source) == set()
    assert not source.finished()
    real.mkdir()
    pid = sleepers()
    (real / "cgroup.procs").write_text(str(pid))
    assert _pids(source) == {pid}
    source.close()


@pytest.fixture
def threaded(real: Path, sleepers: Callable[[], int]) -> Iterator[tuple[Path, int]]:
    """Return a threaded cgroup, and the pid of the process whose threads are in it."""
    inner = real / "inner"
    inner.mkdir()
    (inner / "cgroup.type").write_text("threaded")
    pid = sleepers()
    (real / "cgroup.procs").write_text(str(pid))
    (inner / "cgroup.threads").write_text(str(pid))
    yield inner, pid
    (real.parent / "cgroup.procs").write_text(str(pid))
    inner.rmdir()


@pytest.mark.needs("root")
@pytest.mark.parametrize("real", [2], indirect=True)
def test_a_threaded_cgroup_has_the_processes_of_its_threads(threaded: tuple[Path, int]) -> None:
    """Its cgroup.procs can't be read."""
    directory, pid = threaded
    source = CgroupSource(directory)
    source.start()
    assert _pids(source) == {pid}
    source.close()


@pytest.mark.needs("root")
@pytest.mark.parametrize("real", [2], indirect=True)
def test_the_domain_of_a_threaded_cgroup_is_named(
    threaded: tuple[Path, int], caplog: pytest.LogCaptureFixture
) -> None:
    """The memory is accounted there."""
    directory, _ = threaded
    with caplog.at_level("INFO"):
        CgroupSource(directory).start()
    assert f"its memory belongs to cgroup '{directory.parent}'" in caplog.text


def test_a_cgroup_without_processes_is_said_to_be_empty(
    fake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do if they are in the cgroups below."""
    CgroupSource(fake / "system.slice").start()
    assert "system.slice' has no processes now; those of cgroups below it count" in caplog.text


def test_members_that_cannot_be_read_are_an_error(fake: Path) -> None:
    """The error of the named cgroup has the kernel's reason."""
    (fake / "cgroup.procs").unlink()
    (fake / "cgroup.procs").mkdir()
    with pytest.raises(TargetError, match="its members can't be read: Is a directory"):
        CgroupSource(fake).start()


def test_members_below_that_cannot_be_read_are_left_out(
    fake: Path, sleepers: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    """A warning names the file, once."""
    pid = sleepers()
    (fake / "cgroup.procs").write_text(f"{pid}\n")
    (fake / "system.slice/cgroup.procs").unlink()
    (fake / "system.slice/cgroup.procs").mkdir()
    source = CgroupSource(fake, descendants=True)
    assert [_pids(source), _pids(source)] == [{pid}, {pid}]
    (warning,) = caplog.messages
    assert f"{fake}/system.slice/cgroup.procs are not monitored: Is a directory" in warning
    source.close()


def test_members_of_other_pid_namespaces_are_counted(
    fake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel lists them as 0."""
    (fake / "cgroup.procs").write_text("0\n0\n")
    assert CgroupSource(fake).processes() == []
    assert "2 of the members of cgroup" in caplog.text


@pytest.mark.needs("root")
def test_a_real_cgroup_is_found_by_its_name(real: Path) -> None:
    """The path in the hierarchy is enough."""
    assert find_cgroup(real.name) == real


@pytest.mark.needs("root")
def test_a_cgroup_inside_another_is_followed(real: Path, sleepers: Callable[[], int]) -> None:
    """Even if it is made during the monitoring."""
    plugins = Plugins({"cgroup": plugin, "vaddr": vaddr_plugin})
    primitive = plugins.make_primitive("cgroup", {"path": real.name, "descendants": True})
    context = Context(primitive, intervals=_SHORT)
    start(context)
    child = real / "child"
    child.mkdir()
    (child / "cgroup.procs").write_text(str(sleepers()))
    eventually(lambda: context.snapshot is not None and len(context.snapshot.targets) == 1)
    stop(context)
    assert context.error is None


def test_the_probe_reports_the_hierarchies() -> None:
    """`damon doctor` shows where they are mounted."""
    finding = plugin.probe()[0]
    assert finding.works == bool(hierarchies())
    assert all(str(found.mount) in finding.detail for found in hierarchies())


def test_processes_are_foretold(fake: Path, sleepers: Callable[[], int]) -> None:
    """What `damon doctor --cgroup` knows of each member, and only of those."""
    pids = sorted(sleepers() for _ in range(2))
    group = fake / "system.slice" / "db.service"
    (group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    found = forecast_processes(CgroupSource(group))
    assert [target.pid for target in found] == pids
    assert forecast_processes(CgroupSource(group.parent)) == []


def test_nothing_is_foretold_of_a_cgroup_that_is_not_there() -> None:
    """It is the same mistake as with monitoring."""
    with pytest.raises(TargetError, match="there is no such cgroup"):
        plugin.forecast_cgroup(plugin.CgroupOptions("no/such/cgroup"))
