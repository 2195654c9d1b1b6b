"""Machines made of files as in /proc and /sys, for the tests of this package."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from damon_paddr import MachineMemory

from damon_core import Range
from damon_core.testing import KernelFiles

#: The block size of these machines: that of small ones under Linux.
BLOCK_BYTES = 128 << 20


class Machine(KernelFiles):
    """The files of a machine, with methods that change its memory."""

    @property
    def devices(self) -> Path:
        return self.sys / "devices/system"

    def memory(self, wanted: Sequence[Range] = (), node: int | None = None) -> MachineMemory:
        return MachineMemory(wanted, node, self.proc, self.devices)

    def iomem(self, text: str) -> None:
        self.write("proc/iomem", text)

    def total(self, kib: int) -> None:
        self.write("proc/meminfo", f"MemTotal:       {kib} kB\nMemFree:  1 kB\n")

    def blocks(self, nodes: dict[int, Sequence[int]]) -> None:
        """Make the hot-plug directories for the blocks of each node."""
        self.memory_blocks(nodes, BLOCK_BYTES)
        for node in nodes:
            # What isn't a block, though its name begins like one.
            folder = f"sys/devices/system/node/node{node}"
            self.write(f"{folder}/memory_failure/total", "0\n")
            self.write(f"{folder}/meminfo", "")

    def set_state(self, block: int, state: str) -> None:
        self.write(f"sys/devices/system/memory/memory{block}/state", f"{state}\n")


@pytest.fixture
def make_machine(tmp_path: Path) -> Callable[..., Machine]:
    """Return a function that makes a machine with an iomem and a zoneinfo."""

    def make(iomem: str, zoneinfo: str = "") -> Machine:
        machine = Machine(tmp_path / "machine")
        machine.iomem(iomem)
        machine.total(1 << 20)
        machine.write("proc/zoneinfo", zoneinfo)
        return machine

    return make
