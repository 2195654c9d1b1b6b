"""Cgroups that match patterns, and which of their processes are meant: as they come and go."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_cgroup import CgroupOptions, CgroupPatterns, CgroupSource, Hierarchy, plugin
from damon_vaddr import Rule
from damon_vaddr import plugin as vaddr_plugin

from damon_core import ConfigError, Context, Intervals, Plugins, start, stop
from damon_core.registry.options import structure
from damon_core.testing import eventually

_SHORT = Intervals(sampling_us=20_000, aggregation_us=100_000, update_us=50_000)
_GROUPS = (
    "system.slice/db.service",
    "system.slice/web@1.service",
    "system.slice/web@2.service",
    "system.slice/cron.slice/job.service",
    "user.slice",
)

Sleepers = Callable[[], int]


@pytest.fixture
def hierarchy(fake: Path) -> Hierarchy:
    """Return a hierarchy with services of the system and of a slice in it."""
    for name in _GROUPS:
        directory = fake / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.procs").touch()
    (fake / "system.slice/cron.slice/cgroup.procs").touch()
    return Hierarchy(fake, 2)


def _fail(error: OSError) -> None:
    raise error


def _found(hierarchy: Hierarchy, *include: str, exclude: tuple[str, ...] = ()) -> list[str]:
    return sorted(CgroupPatterns(include, exclude, (hierarchy,)).find(_fail))


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (
            ["system.slice/web@*.service"],
            ["/system.slice/web@1.service", "/system.slice/web@2.service"],
        ),
        (["/system.slice/db.service"], ["/system.slice/db.service"]),
        (["*.slice"], ["/system.slice", "/user.slice"]),
        (["*/d?.service", "user.slice"], ["/system.slice/db.service", "/user.slice"]),
        (["**/job.service"], ["/system.slice/cron.slice/job.service"]),
        (["system.slice/**/db.service"], ["/system.slice/db.service"]),
        (["system.slice/[a-d]b.service"], ["/system.slice/db.service"]),
        (["nosuch.slice/*", "DB.service"], []),
    ],
)
def test_patterns(patterns: list[str], found: list[str], hierarchy: Hierarchy) -> None:
    """A star stays in one level, two are any number of levels."""
    assert _found(hierarchy, *patterns) == found


def test_absolute_patterns(hierarchy: Hierarchy) -> None:
    """They say which hierarchy is meant."""
    assert _found(hierarchy, f"{hierarchy.mount}/user.*") == ["/user.slice"]


@pytest.mark.parametrize("pattern", ["system.slice/web@*", "system.slice", "**/*.service"])
def test_what_is_excluded_is_left_out_with_all_below(pattern: str, hierarchy: Hierarchy) -> None:
    """Exclusion wins over inclusion."""
    found = _found(hierarchy, "system.slice/*.service", exclude=(pattern,))
    assert found == (["/system.slice/db.service"] if "web" in pattern else [])


def test_the_first_hierarchy_that_has_a_cgroup(hierarchy: Hierarchy, tmp_path: Path) -> None:
    """A path is one cgroup, although version 1 has it in several hierarchies."""
    other = tmp_path / "other"
    (other / "user.slice").mkdir(parents=True)
    (other / "user.slice/cgroup.procs").touch()
    patterns = CgroupPatterns(("user.slice",), (), (hierarchy, Hierarchy(other, 1)))
    assert patterns.find(_fail) == {"/user.slice": hierarchy.mount / "user.slice"}


def test_what_cannot_be_read_is_reported(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of cgroups that seem to have gone."""

    def refuse(path: object) -> Iterator[os.DirEntry[str]]:
        raise OSError(24, "Too many open files", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        _found(hierarchy, "*")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({}, "must have exactly one of path and cgroups"),
        ({"path": "a", "cgroups": ["b"]}, "must have exactly one of path and cgroups"),
        ({"path": "a", "exclude_cgroups": ["b"]}, "exclude_cgroups, which only goes with cgroups"),
        ({"cgroups": ["a/../../b"]}, "must be a path of a cgroup such as"),
        ({"cgroups": ["/"]}, "must be a path of a cgroup such as"),
        ({"cgroups": ["a"], "match": {"name": "x"}}, "match.name: found 'name', must be one of"),
        ({"cgroups": ["a"], "group_by": "host"}, "must be one of 'none', 'cgroup', 'unit'"),
    ],
)
def test_mistakes_in_options(raw: dict[str, object], problem: str) -> None:
    """Each is one line that says what is allowed."""
    with pytest.raises(ConfigError) as raised:
        structure(CgroupOptions, raw)
    assert problem in str(raised.value)


@pytest.fixture
def follow(hierarchy: Hierarchy) -> Iterator[Callable[..., CgroupSource]]:
    """Return a function that follows the cgroups that match."""
    sources: list[CgroupSource] = []

    def make(*include: str, exclude: tuple[str, ...] = (), **options: object) -> CgroupSource:
        patterns = CgroupPatterns(include, exclude, (hierarchy,))
        sources.append(CgroupSource(patterns, **options))  # type: ignore[arg-type]
        sources[-1].start()
        return sources[-1]

    yield make
    for source in sources:
        source.close()


Follow = Callable[..., CgroupSource]


def _pids(source: CgroupSource) -> set[int]:
    return {process.pid for process in source.processes()}


def _put(hierarchy: Hierarchy, name: str, *pids: int) -> None:
    directory = hierarchy.mount / name
    directory.mkdir(exist_ok=True)
    (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def test_members_of_all_that_match(
    hierarchy: Hierarchy, follow: Follow, sleepers: Sleepers
) -> None:
    """They are monitored together."""
    one, other, third = sleepers(), sleepers(), sleepers()
    _put(hierarchy, "system.slice/web@1.service", one)
    _put(hierarchy, "system.slice/web@2.service", other)
    _put(hierarchy, "system.slice/db.service", third)
    assert _pids(follow("system.slice/web@*")) == {one, other}


def test_a_cgroup_that_is_made_later(
    hierarchy: Hierarchy, follow: Follow, sleepers: Sleepers, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is wrong while there is none, which is said; it is found at the next update."""
    source = follow("new.slice")
    assert _pids(source) == set()
    pid = sleepers()
    _put(hierarchy, "new.slice", pid)
    assert _pids(source) == {pid}
    assert caplog.messages[0] == "no cgroup matches new.slice yet"


def test_cgroups_below_that_are_excluded(
    hierarchy: Hierarchy, follow: Follow, sleepers: Sleepers
) -> None:
    """With descendants, what is excluded below isn't monitored."""
    one, other = sleepers(), sleepers()
    _put(hierarchy, "system.slice/db.service", one)
    _put(hierarchy, "system.slice/cron.slice/job.service", other)
    source = follow("system.slice", exclude=("**/cron.slice",), descendants=True)
    assert _pids(source) == {one}


def test_only_members_that_a_rule_selects(
    hierarchy: Hierarchy, follow: Follow, sleepers: Sleepers
) -> None:
    """By what they are known by, as for the primitive of processes."""
    one, other = sleepers(), sleepers()
    _put(hierarchy, "system.slice/db.service", one, other)
    rule = Rule({"comm": "sleep"}, {"pid": str(other)})
    assert _pids(follow("**/db.service", rule=rule)) == {one}


def test_this_program_is_not_selected(hierarchy: Hierarchy, follow: Follow) -> None:
    """By a pattern that its cgroup matches."""
    _put(hierarchy, "user.slice", os.getpid())
    assert _pids(follow("*.slice")) == set()


@pytest.mark.parametrize("wait", [True, False])
def test_when_the_last_is_removed(hierarchy: Hierarchy, follow: Follow, wait: bool) -> None:
    """That is the end, if others aren't waited for."""
    source = follow("user.slice", wait=wait)
    assert _pids(source) == set()
    assert not source.finished()
    (hierarchy.mount / "user.slice/cgroup.procs").unlink()
    (hierarchy.mount / "user.slice").rmdir()
    assert source.finished() is not wait


def test_what_cannot_be_seen_is_counted(hierarchy: Hierarchy, follow: Follow) -> None:
    """The kernel lists members of other pid namespaces as 0."""
    _put(hierarchy, "user.slice", 0, 0)
    source = follow("user.slice")
    _pids(source)
    assert source.left_out == {"other_namespace": 2}


def test_a_member_is_known_by_the_cgroup_that_it_was_found_in(
    hierarchy: Hierarchy, follow: Follow, sleepers: Sleepers
) -> None:
    """By its path in the hierarchy."""
    _put(hierarchy, "system.slice/db.service", sleepers())
    source = follow("system.slice", descendants=True)
    (process,) = source.processes()
    assert source.labels(process) == {"cgroup": "/system.slice/db.service"}


def test_a_member_that_moves_is_another_target(
    hierarchy: Hierarchy, follow: Follow, sleepers: Sleepers
) -> None:
    """Of another group."""
    pid = sleepers()
    _put(hierarchy, "system.slice/web@1.service", pid)
    source = follow("system.slice/web@*")
    (before,) = source.processes()
    _put(hierarchy, "system.slice/web@1.service")
    _put(hierarchy, "system.slice/web@2.service", pid)
    (after,) = source.processes()
    assert after is not before
    assert source.labels(after) == {"cgroup": "/system.slice/web@2.service"}


@pytest.fixture
def restart(real: Path, sleepers: Sleepers) -> Callable[[], int]:
    """Return a function that restarts a service: its cgroup is removed, made again, and filled."""

    def restart() -> int:
        _empty(real)
        real.rmdir()
        real.mkdir()
        pid = sleepers()
        (real / "cgroup.procs").write_text(str(pid))
        return pid

    return restart


def _empty(directory: Path) -> None:
    for pid in (directory / "cgroup.procs").read_text().split():
        (directory.parent / "cgroup.procs").write_text(pid)


def _of_machine(real: Path) -> CgroupPatterns:
    return CgroupPatterns.of_machine([f"{real.parent}/{real.name[:-1]}?"])


@pytest.mark.needs("root")
def test_a_restart_between_two_updates(
    real: Path, restart: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    """The next update has the new process, and a line says what happened."""
    source = CgroupSource(_of_machine(real))
    source.start()
    source.processes()
    with caplog.at_level("INFO"):
        pid = restart()
        assert _pids(source) == {pid}
    assert f"cgroup '/{real.name}' was removed, and is back" in caplog.messages
    source.close()


@pytest.mark.needs("root")
def test_a_restart_with_an_update_in_between(
    real: Path, restart: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    """One line for gone, and one for back."""
    source = CgroupSource(_of_machine(real))
    source.start()
    source.processes()
    with caplog.at_level("INFO"):
        _empty(real)
        real.rmdir()
        source.processes()
        real.mkdir()
        source.processes()
    name = f"cgroup '/{real.name}'"
    assert caplog.messages == [
        f"{name} was removed: waiting until it is back",
        f"{name} is back",
    ]
    source.close()


@pytest.mark.needs("root")
def test_data_after_a_restart(real: Path, restart: Callable[[], int], sleepers: Sleepers) -> None:
    """A context goes on with the new process, of the same group."""
    (real / "cgroup.procs").write_text(str(sleepers()))
    plugins = Plugins({"cgroup": plugin, "vaddr": vaddr_plugin})
    options = {"cgroups": [str(real)], "backend": "referenced", "group_by": "cgroup"}
    context = Context(plugins.make_primitive("cgroup", options), intervals=_SHORT)

    def groups() -> dict[str, str]:
        targets = context.snapshot.targets if context.snapshot is not None else ()
        return {target.name: target.labels["group"] for target in targets if target.total_bytes}

    start(context)
    eventually(lambda: len(groups()) == 1)
    pid = restart()
    eventually(lambda: groups() == {f"sleep[{pid}]": f"/{real.name}"})
    stop(context)
    assert context.error is None
