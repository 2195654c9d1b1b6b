"""Machines made of files as in /proc and /sys, for the tests of this package."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attrs import define
from damon_paddr import MachineMemory

from damon_core import Range

#: The block size of these machines: that of small ones under Linux.
BLOCK_BYTES = 128 << 20


@define
class Machine:
    """The files of a machine, with methods that change its memory."""

    directory: Path

    @property
    def proc(self) -> Path:
        return self.directory / "proc"

    @property
    def devices(self) -> Path:
        return self.directory / "devices"

    def memory(self, wanted: Sequence[Range] = (), node: int | None = None) -> MachineMemory:
        return MachineMemory(wanted, node, self.proc, self.devices)

    def iomem(self, text: str) -> None:
        (self.proc / "iomem").write_text(text)

    def total(self, kib: int) -> None:
        (self.proc / "meminfo").write_text(f"MemTotal:       {kib} kB\nMemFree:  1 kB\n")

    def blocks(self, nodes: dict[int, Sequence[int]]) -> None:
        """Make the hot-plug directories for the blocks of each node."""
        for node, blocks in nodes.items():
            directory = self.devices / "node" / f"node{node}"
            directory.mkdir(parents=True)
            (directory / "memory_failure").mkdir()
            (directory / "meminfo").touch()
            for block in blocks:
                memory = self.devices / "memory" / f"memory{block}"
                memory.mkdir(parents=True, exist_ok=True)
                (memory / "state").write_text("online\n")
                (directory / f"memory{block}").symlink_to(memory)
        (self.devices / "memory" / "block_size_bytes").write_text(f"{BLOCK_BYTES:x}\n")

    def set_state(self, block: int, state: str) -> None:
        (self.devices / "memory" / f"memory{block}" / "state").write_text(f"{state}\n")


@pytest.fixture
def make_machine(tmp_path: Path) -> Callable[..., Machine]:
    """Return a function that makes a machine with an iomem and a zoneinfo."""

    def make(iomem: str, zoneinfo: str = "") -> Machine:
        machine = Machine(tmp_path / "machine")
        machine.proc.mkdir(parents=True)
        machine.devices.mkdir()
        machine.iomem(iomem)
        machine.total(1 << 20)
        (machine.proc / "zoneinfo").write_text(zoneinfo)
        return machine

    return make
