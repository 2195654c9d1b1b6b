"""Reading the page tables of processes, all entries of a table at once."""

import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from damon_pagetable import walking
from damon_pagetable.errors import LayoutError, ObstacleError
from damon_pagetable.machine import ENTRIES, INDEX_BITS, PAGE_SHIFT, Machine
from damon_pagetable.system import Calls, Map, Program
from damon_pagetable.walking import Bit, Offsets, State

IntColumn = npt.NDArray[np.int64]
#: For each table a row of `Bit` values, one for each entry.
Bits = npt.NDArray[np.uint8]
States = npt.NDArray[np.uint64]

_GIBIBYTE_SHIFT = 30
#: The upper half of an address in the kernel's half: programs return 32 bits of 34.
_KERNEL_GIBIBYTES = 3 << 32


def entry_bytes(level: int) -> int:
    """Return how many bytes of addresses an entry of a table of a level stands for."""
    return 1 << PAGE_SHIFT + INDEX_BITS * (level - 1)


def table_bytes(level: int) -> int:
    """Return how many bytes of addresses a table of a level stands for."""
    return ENTRIES * entry_bytes(level)


class Tables(NamedTuple):
    """Tables of one level.

    Attributes:
        states: What became of each: a `State`.
        bits: The bits of the entries of each; without meaning where it wasn't read.
    """

    states: States
    bits: Bits


class PageTables:
    """Reads page tables. One thread at a time may use it.

    It takes some 0.1 s to make: the kernel's types are read, the programs are verified by the
    kernel, and where all memory is in its address space is found by reading the tables of this
    process, in which a pattern is looked for: so nothing is read of others before it is certain
    that what is read are page tables.

    Args:
        most: How many tables to read in a run of a program, at most: with fewer the programs are
            verified sooner.

    Raises:
        ObstacleError: Page tables can't be read here; the message says why.
        OSError: Too many files are open.
    """

    def __init__(self, most: int = walking.BATCH) -> None:
        self.machine = Machine.here()
        self._offsets = Offsets.of_kernel()
        self._batches = {
            level: min(walking.batch_of(level), most) for level in range(1, self.machine.levels + 1)
        }
        with ExitStack() as opened:
            self._shared = opened.enter_context(
                Map(walking.SHARED_BYTES, "damon_tables", mapped=True)
            )
            self._scratch = opened.enter_context(Map(walking.TABLE_BYTES, "damon_scratch"))
            self._programs = {
                level: opened.enter_context(self._load(level)) for level in self._batches
            }
            memory = self._shared.view()
            window, offsets = walking.WINDOW, (walking.ADDRESSES, walking.STATES)
            self._addresses: IntColumn = np.frombuffer(memory, np.int64, window, offsets[0])
            self._states: States = np.frombuffer(memory, np.uint64, window, offsets[1])
            bits = np.frombuffer(memory, np.uint8, window * ENTRIES, walking.ENTRY_BITS)
            self._bits: Bits = bits.reshape(-1, ENTRIES)
            self._calls = {level: self._prepared(level) for level in self._programs}
            self._find_base()
            self._opened = opened.pop_all()

    def _load(self, level: int) -> Program:
        code = walking.walk(
            level,
            self.machine,
            self._offsets,
            shared=self._shared.descriptor,
            scratch=self._scratch.descriptor,
            batch=self._batches[level],
        )
        return Program(code, f"damon_level_{level}")

    def _prepared(self, level: int) -> Calls:
        batch = self._batches[level]
        programs = [self._programs[level]] * (walking.WINDOW // batch)
        calls = Calls(programs, len(walking.ARGUMENTS))
        calls.arguments[:, walking.FIRST] = np.arange(0, walking.WINDOW, batch)
        calls.arguments[:, walking.TOP] = self.machine.top
        return calls

    def handles(self) -> tuple[dict[int, int], int, int]:
        """Return what another program needs to do the same, such as a benchmark in C.

        Returns:
            The descriptors of the programs by level, that of the map that they share, and the
            address at which the kernel has the first byte of memory.
        """
        programs = {level: program.descriptor for level, program in self._programs.items()}
        return programs, self._shared.descriptor, self._base

    def read(self, descriptor: int, level: int, addresses: IntColumn) -> Tables:
        """Read tables of a process.

        Args:
            descriptor: Its `/proc/PID/pagemap`, opened by this program. A process that has ended or
                executes another program since then has no tables any more.
            level: The level of the tables; 1 for those with the entries of pages of 4 KiB.
            addresses: An address of each table's memory, below 2**63.

        Raises:
            BpfError: The kernel refuses.
        """
        total = len(addresses)
        states: States = np.empty(total, dtype=np.uint64)
        bits = np.empty((total, ENTRIES), dtype=np.uint8)
        calls, batch = self._calls[level], self._batches[level]
        calls.arguments[:, walking.DESCRIPTOR] = descriptor
        for first in range(0, total, walking.WINDOW):
            count = min(total - first, walking.WINDOW)
            self._addresses[:count] = addresses[first : first + count]
            last = (count - 1) // batch
            calls.arguments[:last, walking.COUNT] = batch
            calls.arguments[last, walking.COUNT] = count - last * batch
            calls.run(last + 1)
            states[first : first + count] = self._states[:count]
            bits[first : first + count] = self._bits[:count]
        return Tables(states, bits)

    def read_again(
        self, descriptor: int, parts: Sequence[tuple[int, IntColumn]]
    ) -> Callable[[], Tables]:
        """Make ready to read some tables of several levels again and again.

        Args:
            descriptor: As above.
            parts: Levels, and the addresses of each.

        Returns:
            A function that reads them and returns all in this order; what it returns is valid until
            other tables are read.
        """
        total = sum(len(addresses) for _, addresses in parts)
        if total > walking.WINDOW:
            return lambda: self._read_parts(descriptor, parts)
        programs, arguments, first = [], [], 0
        for level, addresses in parts:
            batch = self._batches[level]
            for begin in range(0, len(addresses), batch):
                count = min(len(addresses) - begin, batch)
                programs.append(self._programs[level])
                arguments.append((descriptor, first + begin, count, self._base, self.machine.top))
            first += len(addresses)
        calls = Calls(programs, len(walking.ARGUMENTS))
        calls.arguments[:] = arguments
        wanted = np.concatenate([addresses for _, addresses in parts])
        places, states, bits = self._addresses[:total], self._states[:total], self._bits[:total]

        def read() -> Tables:
            places[:] = wanted
            calls.run(len(programs))
            return Tables(states, bits)

        return read

    def _read_parts(self, descriptor: int, parts: Sequence[tuple[int, IntColumn]]) -> Tables:
        found = [self.read(descriptor, level, addresses) for level, addresses in parts]
        states = np.concatenate([each.states for each in found])
        return Tables(states, np.concatenate([each.bits for each in found]))

    def _use_base(self, base: int) -> None:
        self._base = base
        for calls in self._calls.values():
            calls.arguments[:, walking.BASE] = base

    def _find_base(self) -> None:
        """Find the address at which the kernel has the first byte of memory.

        It is a multiple of 1 GiB, below the top table of this process by at most the size of
        memory. It is the one with which the tables of this process show a pattern.
        """
        with _pattern() as (address, pattern), open("/proc/self/pagemap", "rb") as own:
            descriptor = own.fileno()
            gibibyte = self._programs[1].run(descriptor, 0, 0, 0, 0)
            if not gibibyte:
                raise LayoutError("the kernel's structures don't lead to page tables")
            gibibyte |= _KERNEL_GIBIBYTES
            for below in range((self.machine.top >> _GIBIBYTE_SHIFT) + 1):
                base = gibibyte - below << _GIBIBYTE_SHIFT
                self._use_base(base)
                states, bits = self.read(descriptor, 1, np.array([address]))
                if states[0] == State.READ and np.array_equal(bits[0] & Bit.PRESENT, pattern):
                    return
        raise ObstacleError("the page tables of this program aren't found where they should be")

    def close(self) -> None:
        """Remove the programs from the kernel; more than once is not an error."""
        self._opened.close()


@contextmanager
def _pattern() -> Iterator[tuple[int, Bits]]:
    """Make memory of which random pages are there.

    Returns:
        The address of a table's memory, and whether each of its pages is there.
    """
    size = table_bytes(1)
    pattern = np.unpackbits(np.frombuffer(os.urandom(ENTRIES // 8), np.uint8))
    area = mmap.mmap(-1, 2 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with area:
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            area.madvise(mmap.MADV_NOHUGEPAGE)
        memory = np.frombuffer(area, dtype=np.uint8)
        address = int(memory.ctypes.data)
        start = -address % size
        memory[start : start + size : size // ENTRIES][pattern == 1] = 1
        try:
            yield address + start, pattern
        finally:
            del memory
