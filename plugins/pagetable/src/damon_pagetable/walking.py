"""The program that reads page tables, run in the kernel.

It is given virtual addresses of a process and returns, for each, one byte for each entry of the
table of a level: its bits `PRESENT`, `SPECIAL`, `ACCESSED` and `LEAF`, and nothing else of the
kernel's memory.

How the process is found: this program (the monitor) has `/proc/PID/pagemap` open, and the kernel
keeps the process's `mm_struct` there, with its top table, as long as the file is open. So the
process can't be mistaken for another.

How a table is found: from the top table down, one entry a level, as the processor does. Memory of
the kernel is read with `bpf_probe_read_kernel`, which fails where there is none, through the direct
map, in which the kernel has all memory at a fixed distance from its physical address. No lock is
taken, so the process may change its tables meanwhile:

- Entries change while a table is read: each is read at once, and says what was true of that page.
- A table is freed. The program runs under the RCU read lock, with preemption off. A kernel that
  frees tables by RCU, as all with CONFIG_PARAVIRT do, so keeps tables that the program can have
  found until it ends; and only where khugepaged replaces small pages by a huge one, up to Linux
  6.5, does it free a table otherwise: by an interrupt to all processors, which is no obstacle here.
- Therefore, after a table was read, all entries that led to it are read again. If one has changed
  the block is `CHANGED`, and its bytes aren't computed: what was read stays in memory that only the
  program sees.

What is left is a table that was freed and reused between two reads a microsecond apart, and then
became the same table of the same addresses again. Then bits of a page's words would be taken for
those of pages: wrong numbers, but no more of that page.

Frames beyond the end of memory are never followed, whatever an entry says: all reads are in the
direct map.
"""

import functools
from enum import IntEnum, IntFlag

from attrs import frozen

from damon_pagetable.assembler import Assembler, Register
from damon_pagetable.btf import Btf
from damon_pagetable.machine import ENTRIES, INDEX_BITS, PAGE_SHIFT, Machine

R0, R1, R2, R3, R4, R5 = (Register(number) for number in range(6))
R6, R7, R8, R9, R10 = (Register(number) for number in range(6, 11))

#: How many tables are read in a run, during which this processor does nothing else: some 15 us. The
#: verifier goes through each step of the loop: twice as many take twice as long to load, 80 ms, and
#: make a look 15 % faster.
BATCH = 16
#: The same of tables of higher levels, of which there are few.
BATCH_ABOVE = 4
TABLE_BYTES = ENTRIES * 8

#: How many tables there is room for in the memory that the program shares with this one.
WINDOW = 256
#: What is where in this memory: for each table an address, its `State`, and a byte for each of its
#: entries.
ADDRESSES = 0
STATES = ADDRESSES + WINDOW * 8
ENTRY_BITS = STATES + WINDOW * 8
SHARED_BYTES = ENTRY_BITS + WINDOW * ENTRIES

# Arguments of the program, by their place.
DESCRIPTOR, FIRST, COUNT, BASE, TOP = ARGUMENTS = range(5)

_GET_CURRENT_TASK = 35
_PROBE_READ_KERNEL = 113
#: The number of entries whose bits are computed at once: a word of results.
_GROUP = 8
_GIBIBYTE_SHIFT = 30

# Places on the stack.
_READ = -8
_TOP_TABLE = -16


class Bit(IntFlag):
    """What is known of an entry.

    `PRESENT`: It has a page or a table; also where the kernel has taken the permission away for a
    moment, to see on which node a page is used. `SPECIAL`: The page isn't the process's own memory,
    such as the one page of zeros, or a device's. `ACCESSED`: The page was accessed since the bit
    was cleared. `LEAF`: On levels 2 and 3: it is a huge page, no table.
    """

    PRESENT = 1 << 0
    SPECIAL = 1 << 1
    ACCESSED = 1 << 5
    LEAF = 1 << 7


class State(IntEnum):
    """What became of a table. Only of one that was `READ` the entries are known."""

    ABSENT = 0  #: The process has no memory there.
    READ = 1
    HUGE = 2  #: A huge page is in its place.
    CHANGED = 3  #: The process has changed its tables meanwhile.
    FAILED = 4  #: The kernel can't read its memory there.


@frozen
class Offsets:
    """Where the kernel keeps the page tables of the process whose file is open.

    All in bytes: of members in their structures, in the order in which they are followed.
    """

    files: int
    table: int
    descriptors: int
    private: int
    top_table: int

    @classmethod
    def of(cls, btf: Btf) -> "Offsets":
        """Find the offsets in the kernel's type information.

        Raises:
            LayoutError: A structure isn't as expected.
        """
        return cls(
            files=btf.offset("task_struct", "files"),
            table=btf.offset("files_struct", "fdt"),
            descriptors=btf.offset("fdtable", "fd"),
            private=btf.offset("file", "private_data"),
            top_table=btf.offset("mm_struct", "pgd"),
        )

    @classmethod
    @functools.cache
    def of_kernel(cls) -> "Offsets":
        """Find the offsets in the running kernel, once: they stay while it runs.

        Raises:
            LayoutError: The kernel has no type information, or a structure isn't as expected.
        """
        return cls.of(Btf.of_kernel())


def batch_of(level: int) -> int:
    """Return how many tables of a level are read in a run, at most."""
    return BATCH if level == 1 else BATCH_ABOVE


def walk(
    level: int, machine: Machine, offsets: Offsets, *, shared: int, scratch: int, batch: int
) -> bytes:
    """Return the program that reads tables of a level.

    Its arguments are the number of the open file, which addresses are to be read, by the number of
    the first and how many there are, where the direct map begins, and where memory ends. It returns
    in which GiB the top table is, modulo 2**32; 0 if it isn't found.

    Args:
        level: The level of the tables; 1 for those with the entries of pages of 4 KiB.
        machine: How page tables look here.
        offsets: Where the kernel keeps them.
        shared: The descriptor of a map of `SHARED_BYTES`, for addresses and results.
        scratch: The descriptor of a map of `TABLE_BYTES` that nobody else sees.
        batch: How many tables are read in a run, at most.
    """
    code = Assembler()
    code.alu(R6, "=", R1)
    _find_top_table(code, offsets)
    code.alu(R7, "=", 0)
    code.label("next table")
    code.jump_if(R7, ">=", batch, "done")
    _argument(code, R1, COUNT)
    code.jump_if(R7, ">=", R1, "done")
    _place(code, R1, shared, ADDRESSES, 8)
    code.load(R9, R1)
    code.load(R8, R10, _TOP_TABLE)
    above = range(machine.levels, level, -1)
    for each in above:
        _descend(code, each, machine)
    code.map_value(R1, scratch)
    _read(code, R1, TABLE_BYTES, R8, "failed")
    for each in above:
        _read_again(code, each, machine)
    code.map_value(R1, scratch)
    _place(code, R2, shared, ENTRY_BITS, ENTRIES)
    # The upper half of the top table is the kernel's.
    _compute_bits(code, ENTRIES // 2 if level == machine.levels else ENTRIES)
    code.alu(R2, "=", State.READ.value)
    code.jump("table done")
    for state in (State.ABSENT, State.HUGE, State.CHANGED, State.FAILED):
        if code.is_needed(state.name.lower()):  # The verifier rejects what can't be reached.
            code.label(state.name.lower())
            code.alu(R2, "=", state.value)
            code.jump("table done")
    code.label("table done")
    _place(code, R1, shared, STATES, 8)
    code.store(R1, 0, R2)
    code.alu(R7, "+=", 1)
    code.jump("next table")
    code.label("done")
    code.load(R0, R10, _TOP_TABLE)
    code.alu(R0, ">>=", _GIBIBYTE_SHIFT)
    code.exit()
    code.label("no process")
    code.alu(R0, "=", 0)
    code.exit()
    return code.code()


def _argument(code: Assembler, target: Register, number: int) -> None:
    """Load one of the program's arguments."""
    code.load(target, R6, number * 8)


def _find_top_table(code: Assembler, offsets: Offsets) -> None:
    """Follow the kernel's pointers from this task and its open file to the top table."""
    code.call(_GET_CURRENT_TASK)
    code.alu(R3, "=", R0)
    for offset in (offsets.files, offsets.table, offsets.descriptors):
        code.alu(R3, "+=", offset)
        _follow(code)
    _argument(code, R1, DESCRIPTOR)
    code.alu(R1, "<<=", 3)
    code.alu(R3, "+=", R1)
    _follow(code)
    for offset in (offsets.private, offsets.top_table):
        code.alu(R3, "+=", offset)
        _follow(code)
    code.store(R10, _TOP_TABLE, R3)


def _follow(code: Assembler) -> None:
    """Replace the address of a pointer in R3 by the pointer."""
    code.alu(R1, "=", R10)
    code.alu(R1, "+=", _READ)
    _read(code, R1, 8, R3, "no process")
    code.load(R3, R10, _READ)
    code.jump_if(R3, "==", 0, "no process")


def _read(code: Assembler, to: Register, size: int, source: Register, otherwise: str) -> None:
    """Read memory of the kernel."""
    assert to is R1
    code.alu(R2, "=", size)
    if source is not R3:
        code.alu(R3, "=", source)
    code.call(_PROBE_READ_KERNEL)
    code.jump_if(R0, "!=", 0, otherwise)


def _place(code: Assembler, target: Register, shared: int, offset: int, size: int) -> None:
    """Compute the place of the current table in a part of the shared memory."""
    code.map_value(target, shared, offset)
    _argument(code, R3, FIRST)
    code.alu(R3, "+=", R7)
    code.jump_if(R3, ">=", WINDOW, "done")
    code.alu(R3, "<<=", size.bit_length() - 1)
    code.alu(target, "+=", R3)


def _kept(level: int) -> tuple[int, int]:
    """Return where on the stack the address of a level's entry and the entry are."""
    return _TOP_TABLE - 16 * level, _TOP_TABLE - 16 * level + 8


def _descend(code: Assembler, level: int, machine: Machine) -> None:
    """Replace the address of a table in R8 by that of the one below, for the address in R9."""
    address, entry = _kept(level)
    code.alu(R3, "=", R9)
    code.alu(R3, ">>=", PAGE_SHIFT + INDEX_BITS * (level - 1))
    code.alu(R3, "&=", ENTRIES - 1)
    code.alu(R3, "<<=", 3)
    code.alu(R3, "+=", R8)
    code.store(R10, address, R3)
    code.alu(R1, "=", R10)
    code.alu(R1, "+=", entry)
    _read(code, R1, 8, R3, "failed")
    code.load(R8, R10, entry)
    code.alu(R1, "=", R8)
    code.alu(R1, "&=", Bit.PRESENT.value)
    code.jump_if(R1, "==", 0, "absent")
    if level <= 3:
        code.alu(R1, "=", R8)
        code.alu(R1, "&=", Bit.LEAF.value)
        code.jump_if(R1, "!=", 0, "huge")
    code.constant(R1, machine.frame_mask)
    code.alu(R8, "&=", R1)
    _argument(code, R1, TOP)
    code.jump_if(R8, ">=", R1, "failed")
    _argument(code, R1, BASE)
    code.alu(R8, "+=", R1)


def _read_again(code: Assembler, level: int, machine: Machine) -> None:
    """Read an entry that led to the table again; it must still be the same.

    Except for its accessed bit: the processor may set it at any time.
    """
    address, entry = _kept(level)
    code.alu(R1, "=", R10)
    code.alu(R1, "+=", _READ)
    code.load(R3, R10, address)
    _read(code, R1, 8, R3, "changed")
    code.load(R1, R10, _READ)
    code.load(R2, R10, entry)
    code.alu(R1, "^=", R2)
    code.constant(R2, machine.frame_mask | (Bit.PRESENT | Bit.LEAF).value)
    code.alu(R1, "&=", R2)
    code.jump_if(R1, "!=", 0, "changed")


def _compute_bits(code: Assembler, entries: int) -> None:
    """Write a byte for each word of a table, or 0: from the memory at R1 to that at R2.

    Four entries at a time are put into lanes of 16 bits. There bit 8, which is set where the
    permission was taken away for a moment, is added to bit 0, and bit 9, special, becomes bit 1.
    Then two such words are interleaved.
    """
    known = (Bit.ACCESSED | Bit.LEAF).value
    code.constant(R5, 0x0001_0001_0001_0001 * (known | Bit.PRESENT | Bit.SPECIAL))
    for group in range(entries // _GROUP):
        for odd, sums in ((0, R3), (1, R4)):
            for lane in range(4):
                to = R0 if lane else sums
                code.load(to, R1, 8 * (group * _GROUP + 2 * lane + odd))
                code.alu(to, "&=", known | 0x301)
                if lane:
                    code.alu(R0, "<<=", 16 * lane)
                    code.alu(sums, "|=", R0)
            code.alu(R0, "=", sums)
            code.alu(R0, ">>=", 8)
            code.alu(sums, "|=", R0)
            code.alu(sums, "&=", R5)
        code.alu(R4, "<<=", 8)
        code.alu(R3, "|=", R4)
        code.store(R2, group * _GROUP, R3)
    if entries < ENTRIES:
        code.alu(R3, "=", 0)
    for group in range(entries // _GROUP, ENTRIES // _GROUP):
        code.store(R2, group * _GROUP, R3)
