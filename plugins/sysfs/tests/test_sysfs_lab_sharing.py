"""Who else uses the kernel's DAMON, and what is left of it, on the lab's kernels only."""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from damon_sysfs import Sampler
from damon_sysfs.features import probe
from damon_sysfs.ownership import Registry
from damon_sysfs.tree import Tree
from damon_sysfs.tried import STAT_SCHEME
from damon_vaddr import VaddrOptions, make_vaddr

from damon_core import Context, PluginError, Plugins, start, stop
from damon_core.testing import eventually
from tests.kernel_lab import (
    INTERVALS,
    PATIENCE_S,
    Left,
    Start,
    after,
    foreign_kdamond,
    monitor,
    plan,
)

pytestmark = pytest.mark.needs("root", "kernel-damon")

#: How many monitors are killed. For more than in CI: python -m tests.lab -- env
#: DAMON_TEST_KILLS=100 .venv/bin/pytest plugins/sysfs -k killed
KILLS = int(os.environ.get("DAMON_TEST_KILLS", "3"))


def test_several_contexts_share(program: Start, nothing_left: Left) -> None:
    """Each has its kdamond, is started and stopped independently, and monitors its process."""
    processes = [program() for _ in range(3)]
    contexts = [monitor(process.pid) for process in processes]
    start(*contexts, exclusive=False)
    for process, context in zip(processes, contexts, strict=True):
        target = after(context, 3)
        assert target.name.endswith(f"[{process.pid}]")
        assert target.start.min() <= process.hot < target.end.max()
    first, *others = contexts
    stop(first)
    for context in others:
        after(context, 2)
    start(first, exclusive=False)
    after(first, 2)
    for context in contexts:
        stop(context)
        context.close()
        assert context.error is None


def test_programs_share(program: Start, nothing_left: Left) -> None:
    """Another program that uses this package gets a kdamond as well."""
    process = program()
    with monitor(process.pid) as context, _monitoring_program(process.pid) as other:
        start(context)
        after(context, 2)
        assert other.stdout is not None
        assert other.stdout.readline() == "an aggregation\n"
        (finding,) = [one for one in probe() if one.name == "DAMON for this program"]
        assert finding.works
        assert f"pid {other.pid}" in finding.detail
        other.communicate("stop\n")
        after(context, 2)
    assert context.error is None


def test_a_kdamond_of_another_program_is_not_touched(program: Start, nothing_left: Left) -> None:
    """The error names it, and the probe reports it."""
    process = program()
    with foreign_kdamond(process.pid) as kdamond:
        with monitor(process.pid) as context:
            start(context)
            context.wait(PATIENCE_S)
        (finding,) = [one for one in probe() if one.name == "DAMON for this program"]
    assert isinstance(context.error, PluginError)
    assert f"kdamonds/1 is on (pid {kdamond})" in str(context.error)
    assert not finding.works


def test_earlier_settings_are_restored(program: Start, nothing_left: Left) -> None:
    """The directories of kdamonds that are off, with all their files."""
    tree = Tree()
    process = program()
    tree.write("kdamonds/nr_kdamonds", 2)
    tree.write_all(plan(process.pid).files(), "kdamonds/1/")
    tree.write_all(STAT_SCHEME, "kdamonds/1/")
    saved = tree.save()
    with monitor(process.pid) as context:
        start(context)
        after(context, 1)
        assert tree.number() > 2
    assert context.error is None
    assert tree.save() == saved
    tree.write("kdamonds/nr_kdamonds", 0)


def test_a_kdamond_that_another_program_switches_off(program: Start, nothing_left: Left) -> None:
    """The context ends with an error that says so."""
    with monitor(program().pid) as context:
        start(context)
        after(context, 1)
        Tree().write("kdamonds/0/state", "off")
        assert context.wait(PATIENCE_S)
    assert isinstance(context.error, PluginError)
    assert "another program has switched the kdamond off" in str(context.error)


_MONITOR = """
import sys
from damon_core import Context, Intervals, hookimpl, start
from damon_sysfs import KernelProcesses
from damon_vaddr import PidSource, ProcessMemory

class Report:
    @hookimpl
    def after_aggregation(self):
        print("an aggregation", flush=True)

print("begins", flush=True)
primitive = ProcessMemory(PidSource([int(sys.argv[1])]), KernelProcesses())
with Context(primitive, [Report()], intervals=Intervals(5_000, 50_000)) as context:
    start(context)
    sys.stdin.readline()
"""


def _monitoring_program(pid: int) -> "subprocess.Popen[str]":
    """Start a program that monitors a process; return it once it has begun."""
    program = subprocess.Popen(
        [sys.executable, "-c", _MONITOR, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "begins\n"
    return program


def _monitor_until_killed(pid: int) -> None:
    with monitor(pid) as context:
        start(context)
        context.wait()


def test_monitors_that_are_killed_leave_nothing_behind(program: Start, nothing_left: Left) -> None:
    """Whether they are killed while they start or later, the next one cleans up and works."""
    process = program()
    rng = random.Random(1)
    survivors = 0
    for number in range(KILLS):
        # Forked, so that it is killed in the monitor's work and not in its imports.
        victim = multiprocessing.get_context("fork").Process(
            target=_monitor_until_killed, args=(process.pid,)
        )
        victim.start()
        if number % 2:
            eventually(Tree().running)
            time.sleep(rng.uniform(0, 0.5))
        else:
            time.sleep(rng.uniform(0, 2))
        victim.kill()
        victim.join()
        survivors += bool(Tree().running())
        with contextlib.closing(Sampler()) as sampler:
            sampler.apply(plan(process.pid), {})
            assert list(Tree().running().values()) == [sampler.kdamond]
        assert nothing_left() == []
        assert Registry().read().claims == []
    assert survivors >= KILLS // 2


def test_a_signal_to_damon_run_leaves_nothing(
    program: Start, nothing_left: Left, tmp_path: Path
) -> None:
    """Ctrl-C removes the kdamond, the trace instance and the claim."""
    config = tmp_path / "kernel.toml"
    config.write_text(
        "[[context]]\nname = 'one'\nsampling_interval = '20ms'\naggregation_interval = '400ms'\n"
        f"[context.primitive]\nuse = 'vaddr'\nbackend = 'kernel'\npid = {program().pid}\n"
    )
    damon = Path(sys.executable).with_name("damon")
    process = subprocess.Popen([damon, "run", config])
    try:
        eventually(Tree().running)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
    assert nothing_left() == []
    assert Registry().read().claims == []


def test_it_is_chosen_automatically(program: Start, nothing_left: Left) -> None:
    """If DAMON is free."""
    primitive = make_vaddr(VaddrOptions(program().pid), Plugins.discover().backends("vaddr"))
    assert primitive.backend_name == "kernel"
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        after(context, 1)
    assert context.error is None


def test_another_backend_is_chosen_if_it_is_not_free(program: Start, nothing_left: Left) -> None:
    """`idle` if the kernel has idle page tracking, otherwise one that needs neither."""
    with foreign_kdamond(program().pid):
        primitive = make_vaddr(VaddrOptions(program().pid), Plugins.discover().backends("vaddr"))
    tracking = Path("/sys/kernel/mm/page_idle/bitmap").exists()
    others = {"idle"} if tracking else {"pagetable", "referenced"}
    assert primitive.backend_name in others


@pytest.mark.needs("idle-page-tracking")
def test_idle_page_tracking_beside_it(
    program: Start, nothing_left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says that each may miss accesses, and both continue."""
    options = VaddrOptions(program().pid, backend="idle")
    with foreign_kdamond(program().pid):
        primitive = make_vaddr(options, Plugins.discover().backends("vaddr"))
        with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
            start(context)
            after(context, 2)
    assert context.error is None
    assert caplog.text.count("the kernel's own DAMON is running") == 1
