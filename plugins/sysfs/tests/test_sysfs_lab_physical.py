"""The kernel's DAMON and physical memory, on the lab's kernels only."""

from pathlib import Path

import pytest
from damon_paddr import MachineMemory, PaddrOptions, PhysicalMemory, make_paddr
from damon_sysfs import KernelMemory
from damon_sysfs.tree import Tree

from damon_core import Context, PluginError, Plugins, RegionLimits, TargetSnapshot, start
from tests.kernel_lab import INTERVALS, KDAMONDS, PATIENCE_S, Left, Start, after, found, monitor
from tests.lab.needs import why_unmet

pytestmark = pytest.mark.needs("root", "kernel-damon")


def test_physical_memory(program: Start, nothing_left: Left) -> None:
    """All nodes are monitored; free memory and the kernel's own isn't counted."""
    program()
    primitive = PhysicalMemory(MachineMemory(), KernelMemory())
    with Context(primitive, intervals=INTERVALS, cpu_budget=None) as context:
        start(context)
        assert found(context, lambda target: target.working_set_bytes() > 0)
        snapshot = context.snapshot
        assert snapshot is not None
    assert context.error is None
    covered = {
        f"node{node}": sum(part.end - part.start for part in ranges)
        for node, ranges in MachineMemory().nodes().items()
    }
    assert {one.name: int(one.size_bytes.sum()) for one in snapshot.targets} == covered
    assert 0 < snapshot.total_bytes < 0.9 * sum(covered.values())


@pytest.mark.needs("memory-cgroup", "damon-filter")
def test_the_memory_of_one_cgroup(program: Start, nothing_left: Left) -> None:
    """The bytes charged to the cgroup are monitored, and later those of a new one of that name."""
    cgroup = Path("/sys/fs/cgroup/lab-sysfs-filter")
    cgroup.mkdir()
    process = program(cgroup)
    program()
    options = PaddrOptions(cgroup=cgroup.name, backend="kernel")
    primitive = make_paddr(options, Plugins.discover().backends("paddr"))

    def total_mib(context: Context) -> float:
        after(context, 2)
        assert context.snapshot is not None
        return context.snapshot.total_bytes / 2**20

    def partly_accessed(_: TargetSnapshot) -> bool:
        assert context.snapshot is not None
        return 0 < context.snapshot.accessed_bytes() < context.snapshot.total_bytes

    limits = RegionLimits(10, 40)
    with Context(primitive, intervals=INTERVALS, limits=limits, cpu_budget=None) as context:
        start(context)
        assert total_mib(context) == pytest.approx(_charged_mib(cgroup), rel=0.1)
        assert found(context, partly_accessed)
        process.process.kill()
        process.process.wait()
        # Pages that it had read or shared may remain, but don't belong to the new cgroup.
        cgroup.rmdir()
        cgroup.mkdir()
        assert total_mib(context) < 2
        program(cgroup)
        assert total_mib(context) == pytest.approx(_charged_mib(cgroup), rel=0.1)
    assert context.error is None


@pytest.mark.skipif(why_unmet("damon-filter") is None, reason="this kernel has such filters")
def test_a_filter_needs_linux_6_14(nothing_left: Left) -> None:
    """An earlier kernel would also count memory of others: the error says what is needed."""
    options = PaddrOptions(cgroup="/", backend="kernel")
    primitive = make_paddr(options, Plugins.discover().backends("paddr"))
    with Context(primitive, intervals=INTERVALS) as context:
        start(context)
        context.wait(PATIENCE_S)
    assert isinstance(context.error, PluginError)
    assert "Linux 6.14 is needed" in str(context.error)


def _charged_mib(cgroup: Path) -> float:
    """Return the user memory charged to a cgroup."""
    lines = (cgroup / "memory.stat").read_text().splitlines()
    stat = {name: int(value) for name, value in map(str.split, lines)}
    return (stat["anon"] + stat["file"]) / 2**20


def test_processes_and_physical_memory_at_once(program: Start, nothing_left: Left) -> None:
    """Two contexts of one program share the kdamonds, with different operations."""
    machine = PhysicalMemory(MachineMemory(), KernelMemory())
    physical = Context(machine, intervals=INTERVALS, cpu_budget=None, name="machine")
    with monitor(program().pid) as context, physical:
        start(context, physical)
        after(context, 2)
        after(physical, 2)
        operations = {
            (KDAMONDS / f"{slot}/contexts/0/operations").read_text().strip()
            for slot in Tree().running()
        }
        assert operations == {"vaddr", "paddr"}
    assert (context.error, physical.error) == (None, None)
    assert nothing_left() == []
