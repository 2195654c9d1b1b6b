"""What of the machine decides how page tables look."""

from pathlib import Path

import pytest
from damon_pagetable.errors import ObstacleError
from damon_pagetable.machine import Machine

from damon_core.testing import KernelFiles

CPUINFO = """processor\t: 0
flags\t\t: fpu vme {flags}
address sizes\t: {bits} bits physical, 48 bits virtual
"""
ZONEINFO = """Node 0, zone      DMA
        spanned  4095
  start_pfn:           1
Node 0, zone   Normal
        spanned  1048576
  start_pfn:           2097152
Node 1, zone  Movable
        spanned  0
  start_pfn:           9000000
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine with memory up to 12 GiB."""
    contents = {
        "cpuinfo": CPUINFO.format(flags="lm", bits=48),
        "zoneinfo": ZONEINFO,
        "meminfo": "MemTotal: 1 kB\n",
    }
    return KernelFiles(tmp_path).write_all("proc", contents)


def test_end_of_memory_is_that_of_the_last_zone_with_pages(proc: Path) -> None:
    """Empty zones have places, too."""
    assert Machine.here(proc, "x86_64").top == 12 << 30


@pytest.mark.parametrize(("flags", "levels"), [("lm nx", 4), ("lm la57", 5), ("la57x", 4)])
def test_levels(proc: Path, flags: str, levels: int) -> None:
    """A kernel that uses four levels hides the flag of five."""
    (proc / "cpuinfo").write_text(CPUINFO.format(flags=flags, bits=48))
    assert Machine.here(proc, "x86_64").levels == levels


def test_frames_have_as_many_bits_as_physical_addresses(proc: Path) -> None:
    """Bits above, such as that of encryption, are no address."""
    (proc / "cpuinfo").write_text(CPUINFO.format(flags="", bits=46))
    assert Machine.here(proc, "x86_64").frame_mask == 0x3FFF_FFFF_F000


def test_another_architecture(proc: Path) -> None:
    """The reason names it."""
    with pytest.raises(ObstacleError, match="aarch64"):
        Machine.here(proc, "aarch64")


def test_memory_that_the_machine_hasn_t_accepted(proc: Path) -> None:
    """Memory of confidential machines that must not be touched."""
    (proc / "meminfo").write_text("MemFree: 1 kB\nUnaccepted:  2048 kB\n")
    with pytest.raises(ObstacleError, match="accepted"):
        Machine.here(proc, "x86_64")


def test_all_memory_accepted(proc: Path) -> None:
    """A confidential machine that is ready is a machine like others."""
    (proc / "meminfo").write_text("MemFree: 1 kB\nUnaccepted:  0 kB\n")
    assert Machine.here(proc, "x86_64").levels == 4


@pytest.mark.parametrize("name", ["cpuinfo", "zoneinfo"])
def test_file_that_says_nothing(proc: Path, name: str) -> None:
    """What isn't known isn't guessed."""
    (proc / name).write_text("")
    with pytest.raises(ObstacleError, match=name):
        Machine.here(proc, "x86_64")


def test_file_that_is_missing(proc: Path) -> None:
    """A reason, not a traceback."""
    (proc / "zoneinfo").unlink()
    with pytest.raises(ObstacleError, match="zoneinfo"):
        Machine.here(proc, "x86_64")
