"""The ranges of memory by NUMA node, read from the kernel's files."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from damon_paddr import MachineMemory, parse_iomem, parse_zones
from damon_paddr.plugin import probe
from damon_paddr.ranges import TOP, size_bytes

from damon_core import Range, TargetError

#: The fixture `make_machine` of conftest.py.
MakeMachine = Callable[..., Any]
BLOCK = 128 << 20

#: A PC that also has memory of a virtio-mem device and of a CXL device.
IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
000a0000-000fffff : PCI Bus 0000:00
00100000-1fffffff : System RAM
  01000000-01c00ea6 : Kernel code
20000000-200fffff : ACPI Tables
20100000-3fffffff : System RAM
100000000-11fffffff : System RAM
140000000-14fffffff : virtio0
  140000000-147ffffff : System RAM (virtio_mem)
180000000-18fffffff : CXL Window 0
  180000000-187ffffff : dax0.0
    180000000-187ffffff : System RAM (kmem)
"""
SYSTEM_RAM = [
    Range(0x1000, 0x9F000),
    Range(0x100000, 0x20000000),
    Range(0x20100000, 0x40000000),
    Range(0x100000000, 0x120000000),
    Range(0x140000000, 0x148000000),
    Range(0x180000000, 0x188000000),
]

#: Two nodes as with `numa=fake=2`, shortened. Empty zones have no start.
ZONEINFO = """\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 2
  pages free     3840
        spanned  4095
        present  3998
        managed  3840
        protection: (0, 959, 959, 959)
  pagesets
    cpu: 0
              count:    0
  node_unreclaimable:  0
  start_pfn:           1
Node 0, zone    DMA32
  pages free     237018
        spanned  126976
        present  126976
  start_pfn:           4096
Node 0, zone   Normal
  pages free     0
        spanned  0
        present  0
        protection: (0, 0, 0, 0)
Node 1, zone    DMA32
  pages free     100
        spanned  131072
        present  131072
  start_pfn:           131072
Node 1, zone   Normal
  pages free     100
        spanned  131072
        present  131072
  start_pfn:           1048576
"""


def test_system_ram() -> None:
    """Only System RAM is found, at any indentation, in whole pages."""
    assert parse_iomem(IOMEM) == SYSTEM_RAM


def test_hidden_addresses() -> None:
    """If all addresses are zero the error says what to do."""
    hidden = "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n" * 2
    with pytest.raises(TargetError, match="run as root"):
        parse_iomem(hidden)


def test_zones() -> None:
    """Each node has the ranges that its zones span; empty zones don't take the next one's start."""
    assert parse_zones(ZONEINFO) == {
        0: [Range(0x1000, 131072 * 4096)],
        1: [Range(131072 * 4096, 262144 * 4096), Range(1048576 * 4096, (1048576 + 131072) * 4096)],
    }


def test_nodes_by_blocks(make_machine: MakeMachine) -> None:
    """Blocks determine the node, even if nodes alternate."""
    machine = make_machine("00000000-3fffffff : System RAM\n")
    machine.blocks({0: [0, 1, 4, 5], 1: [2, 3, 6, 7]})
    assert machine.memory().nodes() == {
        0: [Range(0, 2 * BLOCK), Range(4 * BLOCK, 6 * BLOCK)],
        1: [Range(2 * BLOCK, 4 * BLOCK), Range(6 * BLOCK, 8 * BLOCK)],
    }


def test_block_of_two_nodes(make_machine: MakeMachine) -> None:
    """A block that nodes share is divided at the border of their zones."""
    zoneinfo = ZONEINFO.replace("126976", "118784").replace("131072\n", "122880\n", 3)
    machine = make_machine("00001000-3fffffff : System RAM\n", zoneinfo)
    machine.blocks({0: [0, 1, 2, 3], 1: [3, 4, 5, 6, 7]})
    border = 122880 * 4096
    assert 3 * BLOCK < border < 4 * BLOCK
    assert machine.memory().nodes() == {0: [Range(0x1000, border)], 1: [Range(border, 8 * BLOCK)]}


def test_nodes_by_zones(make_machine: MakeMachine) -> None:
    """Without memory hot-plug the zones determine the node."""
    nodes = make_machine(IOMEM, ZONEINFO).memory().nodes()
    assert nodes[1][:2] == [Range(0x20100000, 0x40000000), Range(0x100000000, 0x120000000)]
    assert nodes[0][:2] == SYSTEM_RAM[:2]


def test_without_blocks_and_zones(make_machine: MakeMachine) -> None:
    """All memory belongs to node 0."""
    assert make_machine(IOMEM).memory().nodes() == {0: SYSTEM_RAM}


@pytest.mark.parametrize("zoneinfo", ["", ZONEINFO])
def test_every_byte_has_one_node(make_machine: MakeMachine, zoneinfo: str) -> None:
    """Nodes share all System RAM, with and without zones."""
    machine = make_machine(IOMEM, zoneinfo)
    machine.blocks({0: [0, 1], 1: [1, 2], 3: [32]})
    ranges = [part for found in machine.memory().nodes().values() for part in found]
    assert size_bytes(ranges) == size_bytes(SYSTEM_RAM)


def test_offline_blocks_are_left_out(make_machine: MakeMachine) -> None:
    """Even though /proc/iomem still contains them."""
    machine = make_machine("00000000-1fffffff : System RAM\n")
    machine.blocks({0: [0, 1, 2, 3]})
    memory = machine.memory()
    memory.nodes()
    machine.set_state(1, "offline")
    machine.total((1 << 20) - (128 << 10))
    assert memory.changed()
    assert memory.nodes() == {0: [Range(0, BLOCK), Range(2 * BLOCK, 4 * BLOCK)]}


def test_changed(make_machine: MakeMachine) -> None:
    """It is true once /proc/iomem has changed."""
    machine = make_machine("00000000-1fffffff : System RAM\n")
    memory = machine.memory()
    memory.nodes()
    assert not memory.changed()
    machine.iomem("00000000-2fffffff : System RAM\n")
    assert memory.changed()
    memory.nodes()
    assert not memory.changed()


def test_only_some_ranges(make_machine: MakeMachine) -> None:
    """Each node has its part of the wanted ranges."""
    wanted = [Range(0x1F000000, 0x20000000), Range(0x20100000, 0x21000000)]
    memory = make_machine(IOMEM, ZONEINFO).memory(wanted)
    memory.check()
    assert memory.nodes() == {0: wanted[:1], 1: wanted[1:]}


def test_only_one_node(make_machine: MakeMachine) -> None:
    """Other nodes are left out."""
    memory = make_machine(IOMEM, ZONEINFO).memory(node=1)
    memory.check()
    assert list(memory.nodes()) == [1]


def test_range_outside_of_memory(make_machine: MakeMachine) -> None:
    """A range that isn't all System RAM is an error that names it."""
    memory = make_machine(IOMEM).memory([Range(0x1F000000, 0x21000000)])
    with pytest.raises(TargetError, match="range 1f000000-21000000: isn't all System RAM"):
        memory.check()


def test_node_without_memory(make_machine: MakeMachine) -> None:
    """It is an error that lists the nodes with memory."""
    memory = make_machine(IOMEM, ZONEINFO).memory(node=7)
    with pytest.raises(TargetError, match=r"NUMA node 7: has no memory; .*: 0, 1"):
        memory.check()


@pytest.mark.needs("root")
def test_this_machine() -> None:
    """The memory found is a little more than MemTotal, which excludes some of the kernel's."""
    memory = MachineMemory()
    memory.check()
    nodes = memory.nodes()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = sum(map(size_bytes, nodes.values()))
    assert total <= found <= 1.25 * total
    assert max(ranges[-1].end for ranges in nodes.values()) < TOP
    assert all(finding.works for finding in probe() if finding.required)


@pytest.mark.needs("root")
def test_without_root() -> None:
    """Both the check and the probe say to run as root."""
    code = """if True:
        import os
        from damon_core import TargetError
        from damon_paddr import MachineMemory
        from damon_paddr.plugin import probe
        probe()  # imports modules, which the other user may not read
        os.setuid(65534)
        try:
            MachineMemory().check()
        except TargetError as error:
            print(error)
        print(*(f"{one.name}: {one.detail}" for one in probe() if not one.works), sep="\\n")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    first, *findings = done.stdout.splitlines()
    assert first.endswith("hides addresses from this user: run as root")
    assert [line.partition(":")[0] for line in findings] == [
        "addresses in /proc/iomem",
        "/proc/kpagecgroup",
    ]
    assert all(line.endswith("run as root") for line in findings)
