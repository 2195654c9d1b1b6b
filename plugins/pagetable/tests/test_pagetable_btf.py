"""Offsets from the kernel's type information: of types made here, and of this kernel's."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from damon_pagetable.btf import Btf
from damon_pagetable.errors import LayoutError

INT, ARRAY, STRUCT, UNION, ENUM, CONST, TYPEDEF = 1, 3, 4, 5, 6, 10, 8
Member = tuple[str, int, int]


class Types:
    """Builds BTF."""

    def __init__(self) -> None:
        self.names = b"\0"
        self.types = b""

    def name(self, text: str) -> int:
        if not text:
            return 0
        place = self.names.find(b"\0" + text.encode() + b"\0") + 1
        if not place:
            place = len(self.names)
            self.names += text.encode() + b"\0"
        return place

    def add(
        self, kind: int, name: str, last: int, count: int = 0, *, more: bytes = b"", flag: int = 0
    ) -> None:
        info = kind << 24 | count | flag << 31
        self.types += struct.pack("=III", self.name(name), info, last) + more

    def compound(self, kind: int, name: str, members: Sequence[Member], flag: int = 0) -> None:
        parts = [struct.pack("=III", self.name(each), *rest) for each, *rest in members]
        self.add(kind, name, 64, len(members), more=b"".join(parts), flag=flag)

    def data(self) -> bytes:
        sizes = (24, 0, len(self.types), len(self.types), len(self.names))
        return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, *sizes) + self.types + self.names


@pytest.fixture
def types() -> Types:
    """Types of which number 1 is an integer."""
    types = Types()
    types.add(INT, "int", 4, more=struct.pack("=I", 32))
    return types


def test_offset_of_a_member_in_bytes(types: Types) -> None:
    """BTF has offsets in bits."""
    types.compound(STRUCT, "file", [("count", 1, 0), ("data", 1, 192)])
    assert Btf(types.data()).offset("file", "data") == 24


def test_member_of_an_anonymous_union_in_an_anonymous_struct(types: Types) -> None:
    """Offsets add up."""
    types.compound(UNION, "", [("a", 1, 0), ("pgd", 1, 0)])
    types.compound(STRUCT, "", [("count", 1, 0), ("", 2, 64)])
    types.compound(STRUCT, "mm_struct", [("", 3, 128)])
    assert Btf(types.data()).offset("mm_struct", "pgd") == 24


def test_anonymous_type_that_comes_later_and_has_a_qualifier(types: Types) -> None:
    """Types refer to others in any order."""
    types.compound(STRUCT, "mm_struct", [("", 3, 64)])
    types.add(CONST, "", 4)
    types.compound(STRUCT, "", [("pgd", 1, 32)])
    assert Btf(types.data()).offset("mm_struct", "pgd") == 12


def test_types_of_all_lengths_are_passed(types: Types) -> None:
    """Types before the structure have other lengths than it."""
    types.add(ARRAY, "", 0, more=struct.pack("=III", 1, 1, 7))
    values = struct.pack("=IiIi", types.name("red"), 0, 0, 1)
    types.add(ENUM, "colour", 4, 2, more=values)
    types.add(TYPEDEF, "number", 1)
    types.compound(STRUCT, "fdtable", [("max", 1, 0), ("fd", 1, 64)])
    assert Btf(types.data()).offset("fdtable", "fd") == 8


def test_union_with_the_name_is_not_the_struct(types: Types) -> None:
    """Structures and unions have separate names in C's tags, and may share one in BTF."""
    types.compound(UNION, "file", [("data", 1, 0)])
    types.compound(STRUCT, "file", [("data", 1, 64)])
    assert Btf(types.data()).offset("file", "data") == 8


def test_several_questions_in_any_order(types: Types) -> None:
    """What was passed in search of one is still found."""
    types.compound(STRUCT, "first", [("a", 1, 64)])
    types.compound(STRUCT, "second", [("b", 1, 128)])
    btf = Btf(types.data())
    assert [btf.offset("second", "b"), btf.offset("first", "a")] == [16, 8]


def test_struct_with_bit_fields(types: Types) -> None:
    """Offsets of a structure with bit fields have 24 bits."""
    bit_field = 3 << 24 | 64
    types.compound(STRUCT, "task", [("flag", 1, bit_field), ("files", 1, 128)], flag=1)
    assert Btf(types.data()).offset("task", "files") == 16


@pytest.mark.parametrize(
    ("structure", "member"), [("task", "flag"), ("task", "missing"), ("none", "files")]
)
def test_what_has_no_offset(types: Types, structure: str, member: str) -> None:
    """A bit field, a missing member and a missing structure are errors."""
    types.compound(STRUCT, "task", [("flag", 1, 3 << 24 | 64), ("files", 1, 128)], flag=1)
    with pytest.raises(LayoutError, match=structure):
        Btf(types.data()).offset(structure, member)


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:10],
        lambda data: b"\x12\x34" + data[2:],
        lambda data: data[:-40],
        lambda data: data[:28] + struct.pack("=I", 31 << 24) + data[32:],
        lambda data: data[:28] + struct.pack("=I", STRUCT << 24 | 60_000) + data[32:],
    ],
    ids=["short", "magic", "cut off", "unknown kind", "too many members"],
)
def test_damaged_data(types: Types, harm: Callable[[bytes], bytes]) -> None:
    """Damage is an error of ours, in any place."""
    types.compound(STRUCT, "task", [("files", 1, 128)])
    with pytest.raises(LayoutError):
        Btf(harm(types.data())).offset("other", "files")


def test_kernel_without_types(tmp_path: Path) -> None:
    """The reason says which option the kernel needs."""
    with pytest.raises(LayoutError, match="CONFIG_DEBUG_INFO_BTF"):
        Btf.of_kernel(tmp_path / "vmlinux")


@pytest.mark.needs("page-tables")
def test_this_kernel_s_structures() -> None:
    """With truths of all kernels: the first member is at 0, and of a union all are at one place."""
    btf = Btf.of_kernel()
    assert btf.offset("list_head", "next") == 0
    assert btf.offset("list_head", "prev") == struct.calcsize("P")
    assert btf.offset("sk_buff", "next") == 0
    assert btf.offset("mm_struct", "pgd") % struct.calcsize("P") == 0
