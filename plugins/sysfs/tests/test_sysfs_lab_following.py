"""Kdamonds that run already, followed on the lab's kernels only."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from damon_sysfs import RunningKdamonds
from damon_sysfs.features import probe_running
from damon_sysfs.tree import Tree

from damon_core import Context, TargetError, TargetSnapshot, start, stop
from damon_core.testing import eventually
from tests.kernel_lab import (
    INSTANCES,
    INTERVALS,
    PATIENCE_S,
    Left,
    Start,
    after,
    foreign_kdamond,
    found,
    overlap,
    switch_on,
)

pytestmark = pytest.mark.needs("root", "kernel-damon")


def followed(which: str) -> Context:
    """Return a context for kdamonds that run already, not started."""
    return Context(RunningKdamonds(which), cpu_budget=None)


def test_a_running_kdamond_is_followed(program: Start, nothing_left: Left) -> None:
    """What it finds are the results of the context; nothing of it changes, and nothing is left."""
    process = program()

    def is_reported(target: TargetSnapshot) -> bool:
        hot = overlap(target, process.hot, process.hot + process.size)
        return hot > 2 and overlap(target, process.cold, process.cold + process.size) < 0.2 * hot

    with foreign_kdamond(process.pid), followed("1") as context:
        assert context.intervals == INTERVALS
        start(context)
        assert found(context, is_reported)
        target = after(context, 1)
        assert target.name.endswith(f"[{process.pid}]")
        assert target.max_nr_accesses == INTERVALS.checks
        assert [name for name in nothing_left() if "damon-" in name]
        stop(context)
        assert [name for name in nothing_left() if "damon-" in name] == []
    assert context.error is None


def test_the_end_of_a_running_kdamond_ends_the_monitoring(
    program: Start, nothing_left: Left
) -> None:
    """There is no error. The same command says then that nothing runs."""
    process = program()
    tree = Tree()
    tree.write("kdamonds/nr_kdamonds", 1)
    switch_on(0, process.pid)
    with followed("all") as context:
        start(context)
        after(context, 1)
        tree.write("kdamonds/0/state", "off")
        assert context.wait(PATIENCE_S)
    assert context.error is None
    with pytest.raises(TargetError, match="no kdamond is running"):
        RunningKdamonds("all")
    tree.write("kdamonds/nr_kdamonds", 0)


@pytest.mark.needs("damon-stat")
def test_damon_stat_runs_already(nothing_left: Left) -> None:
    """Its regions are followed at the intervals that it tunes; its numbers are passed on."""
    switch = Path("/sys/module/damon_stat/parameters/enabled")
    switch.write_text("Y")
    try:
        assert next(iter(probe_running())).name == "kdamond damon_stat"
        with followed("damon_stat") as context:
            start(context)
            assert after(context, 1).name == "damon_stat"
            # In a machine that does nothing, its few checks at first may find nothing.
            assert found(
                context, lambda target: 0 < target.working_set_bytes() < target.total_bytes
            )
            eventually(lambda: len(context.measures()) > 5, timeout_s=PATIENCE_S)
            names = {measure.name for measure in context.measures()}
            assert found(context, lambda target: target.reported.bytes_per_second is not None)
        assert context.error is None
    finally:
        switch.write_text("N")
    assert {"stat_memory_idle_seconds", "stat_memory_bandwidth_bytes"} <= names


def everything() -> dict[str, str]:
    """Return all values of the kernel's DAMON, and what others that trace would notice."""
    damon, tracing = Path("/sys/kernel/mm/damon"), INSTANCES.parent
    paths = [path for path in damon.rglob("*") if path.is_file()]
    paths += [tracing / name for name in ("tracing_on", "current_tracer", "trace_clock")]
    paths += [tracing / name for name in ("buffer_size_kb", "set_event", "trace_options")]
    paths += [*tracing.glob("events/**/enable"), *tracing.glob("events/damon/*/filter")]
    values = {str(path): _text(path) for path in paths}
    trace = (tracing / "trace").read_text().splitlines()
    values["events"] = str([line for line in trace if not line.startswith("#")])
    return values


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:  # Some can only be written.
        return str(error)


def assert_nothing_changes(*which: str) -> None:
    """Record kdamonds as people do: all is the same meanwhile, and afterwards nothing is left."""
    before, instances = everything(), os.listdir(INSTANCES)
    arguments = ["record", *which, "--cpu-budget", "100%", "--for", "1h", "-o", "/tmp/r.parquet"]
    with subprocess.Popen([Path(sys.executable).with_name("damon"), *arguments]) as process:
        try:
            eventually(lambda: os.listdir(INSTANCES) != instances, timeout_s=PATIENCE_S)
            time.sleep(3)
            assert everything() == before
        finally:
            process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
    assert everything() == before
    assert os.listdir(INSTANCES) == instances


def test_nothing_changes_for_a_running_kdamond(program: Start, nothing_left: Left) -> None:
    """Neither a file of the kernel's DAMON nor tracing as others see it."""
    with foreign_kdamond(program().pid):
        assert_nothing_changes("--kdamond", "1")


@pytest.mark.needs("damon-stat")
def test_nothing_changes_where_damon_stat_runs_already(program: Start, nothing_left: Left) -> None:
    """The same for the kernel's own use of DAMON."""
    program()
    switch = Path("/sys/module/damon_stat/parameters/enabled")
    switch.write_text("Y")
    try:
        assert_nothing_changes("--kdamond", "damon_stat")
    finally:
        switch.write_text("N")
