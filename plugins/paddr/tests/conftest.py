"""Machines as their files in /proc and /sys tell of them, for the tests of this package."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attrs import define
from damon_paddr import MachineMemory

from damon_core import Range

#: Of the machines made here, as Linux chooses for small ones.
BLOCK_BYTES = 128 << 20


@define
class Machine:
    """A machine's files, and how they change as memory comes and goes."""

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
        """Make hot-plug's directories for the blocks of each node."""
        for node, blocks in nodes.items():
            directory = self.devices / "node" / f"node{node}"
            directory.mkdir(parents=True)
            (directory / "memory_failure").mkdir()
            (directory / "meminfo").touch()
            for block in blocks:
                place = self.devices / "memory" / f"memory{block}"
                place.mkdir(parents=True, exist_ok=True)
                (place / "state").write_text("online\n")
                (directory / f"memory{block}").symlink_to(place)
        (self.devices / "memory" / "block_size_bytes").write_text(f"{BLOCK_BYTES:x}\n")

    def set_state(self, block: int, state: str) -> None:
        (self.devices / "memory" / f"memory{block}" / "state").write_text(f"{state}\n")


@pytest.fixture
def make_machine(tmp_path: Path) -> Callable[..., Machine]:
    """Return a function that makes a machine of an iomem, and perhaps a zoneinfo."""

    def make(iomem: str, zoneinfo: str = "") -> Machine:
        machine = Machine(tmp_path / "machine")
        machine.proc.mkdir(parents=True)
        machine.devices.mkdir()
        machine.iomem(iomem)
        machine.total(1 << 20)
        (machine.proc / "zoneinfo").write_text(zoneinfo)
        return machine

    return make
