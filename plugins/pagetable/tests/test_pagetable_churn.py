"""Looks at a process that changes its page tables as fast as it can (churn.c).

Each of its areas has pages that are never there, and memory is about that looks like entries of
accessed pages: so a bit of anything but the process's own pages shows.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from attrs import frozen
from damon_pagetable.look import Look, accessed, look, resident
from damon_pagetable.tables import PageTables

from tests.lab.needs import GUEST

pytestmark = pytest.mark.needs("root", "page-tables", "gcc")

PAGE = 4096
BLOCK = 512 * PAGE
BLOCKS = 8
#: Looks are slow in the lab, where the process does as much meanwhile.
LOOKS = 40 if GUEST in os.environ else 400

_EACH_PAGE = np.arange(BLOCKS * 512)


@frozen
class Churn:
    """The process, and the addresses of its areas."""

    descriptor: int
    stable: int
    mapped: int
    collapsed: int
    split: int


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    target = tmp_path_factory.mktemp("churn") / "churn"
    source = Path(__file__).with_name("churn.c")
    subprocess.run(["gcc", "-O2", "-pthread", "-o", target, source], check=True)
    return target


@pytest.fixture
def churn(program: Path) -> Iterator[Churn]:
    """A process, after its accessed bits were cleared and it has begun."""
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        areas = map(int, process.stdout.readline().split())
        descriptor = os.open(f"/proc/{process.pid}/pagemap", os.O_RDONLY)
        Path(f"/proc/{process.pid}/clear_refs").write_text("1")
        process.stdin.write(b"begin\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"begun\n"
        yield Churn(descriptor, *areas)
        os.close(descriptor)


def pages(found: Look, which: npt.NDArray[np.bool_], area: int) -> npt.NDArray[np.int64]:
    """Return the numbers of those pages of an area that are small."""
    block = (found.blocks - area) // BLOCK
    inside = (found.blocks >= area) & (block < BLOCKS)
    row, page = np.nonzero(which[inside])
    numbers: npt.NDArray[np.int64] = np.sort(block[inside][row] * 512 + page)
    return numbers


def test_memory_that_stays_is_seen_exactly(tables: PageTables, churn: Churn) -> None:
    """In every look: what is there, and what was accessed since the bits were cleared."""
    for _ in range(LOOKS):
        found = look(tables, churn.descriptor)
        there = pages(found, resident(found.bits), churn.stable)
        assert there.tolist() == _EACH_PAGE[::5].tolist()
        used = pages(found, accessed(found.bits), churn.stable)
        assert not np.count_nonzero(used % 10)
        # A kernel that watches the machine's memory for itself clears a few.
        assert len(used) > 0.5 * len(_EACH_PAGE[::10])


def test_no_page_is_seen_that_never_was(tables: PageTables, churn: Churn) -> None:
    """Tables that were freed and filled with words like entries are found and dropped."""
    seen = missed = 0
    for _ in range(LOOKS):
        found = look(tables, churn.descriptor)
        for area in (churn.mapped, churn.collapsed):
            there = pages(found, resident(found.bits), area)
            assert not np.count_nonzero(there % 7 != 3)
            seen += len(there)
        missed += len(found.missed)
    assert missed < seen


def test_huge_pages_are_seen_where_they_can_be(tables: PageTables, churn: Churn) -> None:
    """Whole ones in the areas that have them, and none elsewhere."""
    for _ in range(LOOKS):
        huge = look(tables, churn.descriptor).huge.addresses
        for area in (churn.stable, churn.mapped):
            assert not np.count_nonzero((huge >= area) & (huge < area + BLOCKS * BLOCK))
