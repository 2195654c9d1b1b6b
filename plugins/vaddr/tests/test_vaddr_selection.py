"""Rules that select processes, and the source that follows those of a real machine."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_vaddr import PidSource, descendants_of, read_stat
from damon_vaddr.plugin import VaddrOptions
from damon_vaddr.selection import Rule, RuleSource

from damon_core import AttributeValueError, ConfigError
from damon_core.registry.options import structure
from damon_core.testing import eventually

REDIS = {"comm": "redis-server", "user": "redis", "unit": "redis@7.service"}


@pytest.mark.parametrize(
    ("rule", "selected"),
    [
        (Rule({"comm": "redis-server"}), True),
        (Rule({"comm": "redis"}), False),
        (Rule({"comm": "redis*"}), True),
        (Rule({"comm": ("postgres", "redis*")}), True),
        (Rule({"comm": "redis*", "user": "root"}), False),
        (Rule({"unit": "redis@?.service"}), True),
        (Rule({"pod": "*"}), True),
        (Rule({"pod": "?*"}), False),
        (Rule({"comm": "*"}, {"user": "redis"}), False),
        (Rule({"comm": "*"}, {"user": "redis", "comm": "x"}), True),
        (Rule({"comm": "REDIS*"}), False),
    ],
)
def test_rules(rule: Rule, selected: bool) -> None:
    """All names have to match, one pattern of each; what is excluded is left out."""
    assert rule.selects(REDIS) is selected


def test_a_name_that_nothing_has() -> None:
    """It is refused, with those that there are."""
    with pytest.raises(AttributeValueError, match="must be one of pid, comm, exe, user, cgroup"):
        Rule({"name": "x"})


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"match": {"name": "x"}}, "match.name: found 'name', must be one of pid"),
        ({"match": {"comm": 7}}, "match.comm: found 7, must be a string or a list"),
        ({"match": {"comm": "x"}, "pid": 1}, "exactly one of pid, pids, command and match"),
        (
            {"pid": 1, "exclude": {"comm": "x"}},
            "has exclude, which only goes with match or descendants",
        ),
        ({"match": {"comm": "x"}, "when_gone": "stop"}, "must be one of 'wait', 'end'"),
    ],
)
def test_mistakes_in_options(raw: dict[str, object], problem: str) -> None:
    """Each is one line that says what is allowed."""
    with pytest.raises(ConfigError) as raised:
        structure(VaddrOptions, raw)
    assert problem in str(raised.value)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a sleeping program of a name."""
    children: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        program = tmp_path / name
        if not program.exists():
            shutil.copy(shutil.which("sleep") or "", program)
        child = subprocess.Popen([program, *(arguments or ("600",))])
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


def pids(source: RuleSource) -> set[int]:
    """Return the pids that a source has now."""
    return {process.pid for process in source.processes()}


@pytest.fixture
def follow(run: object) -> Iterator[Callable[..., RuleSource]]:
    """Return a function that makes a source and starts it."""
    sources: list[RuleSource] = []

    def make(rule: Rule, **options: bool) -> RuleSource:
        source = RuleSource(rule, **options)
        sources.append(source)
        source.start()
        return source

    yield make
    for source in sources:
        source.close()


Run = Callable[..., "subprocess.Popen[bytes]"]
Follow = Callable[..., RuleSource]


def test_processes_that_start_later(run: Run, follow: Follow) -> None:
    """They are found at the next update, and nothing is wrong while there is none."""
    name = f"damon{os.getpid()}a"
    source = follow(Rule({"comm": name}))
    assert pids(source) == set()
    child = run(name)
    assert pids(source) == {child.pid}


def test_a_service_that_restarts(run: Run, follow: Follow) -> None:
    """Its new process is found, and monitoring doesn't end in between."""
    name = f"damon{os.getpid()}b"
    source = follow(Rule({"comm": name}))
    first = run(name)
    assert pids(source) == {first.pid}
    first.kill()
    first.wait()
    assert [process.pid for process in source.take_ended()] == [first.pid]
    assert not source.finished()
    second = run(name)
    assert pids(source) == {second.pid}


def test_the_last_has_ended(run: Run, follow: Follow) -> None:
    """That is the end, if others aren't waited for; before the first one it isn't."""
    name = f"damon{os.getpid()}c"
    source = follow(Rule({"comm": name}), wait=False)
    assert pids(source) == set()
    assert not source.finished()
    child = run(name)
    assert pids(source) == {child.pid}
    child.kill()
    child.wait()
    source.take_ended()
    assert source.finished()


def test_what_is_excluded(run: Run, follow: Follow) -> None:
    """By its arguments, which are no labels."""
    name = f"damon{os.getpid()}d"
    kept, _ = run(name, "601"), run(name, "602")
    source = follow(Rule({"comm": name}, {"cmdline": "*602"}))
    assert pids(source) == {kept.pid}


def test_children_of_what_is_selected(follow: Follow, tmp_path: Path) -> None:
    """With descendants they are monitored, whatever they are called."""
    script = f"exec -a damon{os.getpid()}e sh -c 'sleep 600 & wait'"
    with subprocess.Popen(["bash", "-c", script], start_new_session=True) as shell:
        try:
            source = follow(Rule({"cmdline": f"damon{os.getpid()}e *"}), descendants=True)
            found: set[int] = set()
            while len(found) < 2:
                found = pids(source)
            assert shell.pid in found
        finally:
            os.killpg(shell.pid, 9)


def test_the_monitor_is_not_selected(follow: Follow) -> None:
    """Not even by a rule that everything matches."""
    assert os.getpid() not in pids(follow(Rule({"comm": "*"})))


def test_threads_of_the_kernel_are_not_selected(follow: Follow) -> None:
    """They have no memory to look at."""
    assert 2 not in pids(follow(Rule({"comm": "k*"})))  # kthreadd, outside of pid namespaces


def test_a_program_that_executes_another(follow: Follow, tmp_path: Path) -> None:
    """It is asked again when its name has changed."""
    name = f"damon{os.getpid()}f"
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "", program)
    script = f"read line; exec {program} 600"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE) as child:
        try:
            source = follow(Rule({"comm": name}))
            assert pids(source) == set()
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
            while not (found := pids(source)):
                pass
            assert found == {child.pid}
        finally:
            child.kill()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[..., tuple[int, dict[str, int]]]]:
    """Return a function that starts a shell with sleeping children of some names.

    It returns the shell's pid, and those of the children by their names.
    """
    parents: list[subprocess.Popen[bytes]] = []

    def start(*names: str) -> tuple[int, dict[str, int]]:
        for name in names:
            shutil.copy(shutil.which("sleep") or "", tmp_path / name)
        children = "".join(f"'{tmp_path / name}' 600 & " for name in names)
        # A new session, so that all of it can be ended.
        parents.append(subprocess.Popen(["sh", "-c", f"{children} wait"], start_new_session=True))
        pid = parents[-1].pid

        def found() -> dict[str, int]:
            return {os.fsdecode(read_stat(each).name): each for each in descendants_of({pid})}

        eventually(lambda: set(found()) == set(names))
        return pid, found()

    yield start
    for parent in parents:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


Family = Callable[..., tuple[int, dict[str, int]]]


def test_what_is_excluded_is_no_descendant(family: Family, follow: Follow) -> None:
    """The rule says what is left out of descendants, too."""
    wanted, other = (f"damon{os.getpid()}{letter}" for letter in "gh")
    parent, children = family(wanted, other)
    source = follow(Rule({"pid": str(parent)}, {"comm": other}), descendants=True)
    assert pids(source) == {parent, children[wanted]}
    assert pids(source) == {parent, children[wanted]}


def test_descendants_of_a_pid_are_left_out(family: Family) -> None:
    """Without a rule for the processes themselves, too."""
    wanted, other = (f"damon{os.getpid()}{letter}" for letter in "ij")
    parent, children = family(wanted, other)
    source = PidSource([parent], descendants=True, exclude={"comm": other})
    source.start()
    assert {each.pid for each in source.processes()} == {parent, children[wanted]}
    source.close()
