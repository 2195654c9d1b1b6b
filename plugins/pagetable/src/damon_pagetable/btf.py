"""Offsets of members in the kernel's structures, from its type information (BTF).

`/sys/kernel/btf/vmlinux` describes all types of the running kernel. Types are numbered in the order
in which they stand there and have different lengths, so a type is found by going through those
before it. That is done once, as far as needed: about 20 ms for the structures that matter here, so
nothing is kept in files.
"""

import struct
from pathlib import Path

from damon_pagetable.errors import LayoutError

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_HEADER = struct.Struct("=HBBIIIII")
_MAGIC = 0xEB9F
_TYPE_WORDS = 3
_MEMBER_WORDS = 3

_STRUCT, _UNION = 4, 5
_MOST_MODIFIERS = 32  # of one type; damaged data may have a circle
_MODIFIERS = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type tag
#: How many words follow the first three of a type, by its kind: a number, and one per element.
_MORE_WORDS = {
    1: (1, 0),  # integer
    2: (0, 0),  # pointer
    3: (3, 0),  # array
    _STRUCT: (0, _MEMBER_WORDS),
    _UNION: (0, _MEMBER_WORDS),
    6: (0, 2),  # enumeration
    7: (0, 0),  # declared only
    8: (0, 0),
    9: (0, 0),
    10: (0, 0),
    11: (0, 0),
    12: (0, 0),  # function
    13: (0, 2),  # function prototype
    14: (1, 0),  # variable
    15: (0, 3),  # data section
    16: (0, 0),  # floating-point number
    17: (1, 0),  # declaration tag
    18: (0, 0),
    19: (0, 3),  # enumeration of 64 bits
}


class Btf:
    """The types of a kernel.

    Args:
        data: A file like `/sys/kernel/btf/vmlinux`.

    Raises:
        LayoutError: The data isn't BTF of this machine's byte order.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size:
            raise LayoutError("the kernel's BTF is too short")
        magic, _, _, size, types, types_size, names, names_size = _HEADER.unpack_from(data)
        if magic != _MAGIC or types % 4 or types_size % 4 or size % 4:
            raise LayoutError("the kernel's BTF has an unknown format")
        if size + max(types + types_size, names + names_size) > len(data):
            raise LayoutError("the kernel's BTF is cut off")
        begin = size + types
        self._words = memoryview(data)[begin : begin + types_size].cast("I")
        self._names = data[size + names : size + names + names_size]
        self._places = [0]  # of each type known so far, by its number; 0 is void
        self._structures: dict[int, int] = {}  # the places of those known so far, by name
        self._next = 0  # the place of the first type that isn't known yet

    @classmethod
    def of_kernel(cls, path: Path = VMLINUX) -> "Btf":
        """Return the types of the running kernel.

        Raises:
            LayoutError: The kernel has none.
        """
        try:
            return cls(path.read_bytes())
        except FileNotFoundError as error:
            raise LayoutError(
                f"{path} doesn't exist: the kernel needs CONFIG_DEBUG_INFO_BTF"
            ) from error
        except OSError as error:
            raise LayoutError(f"{path}: {error.strerror}") from error

    def offset(self, structure: str, member: str) -> int:
        """Return the offset of a member, in bytes from the start of its structure.

        Members of anonymous structures and unions count as the structure's own, as in C.

        Raises:
            LayoutError: There is no such structure or member, or the member is a bit field.
        """
        bits = self._member_bits(self._find(structure), self._name(member), set())
        if bits is None or bits % 8:
            raise LayoutError(f"the kernel's struct {structure} has no member {member}")
        return bits // 8

    def _name(self, text: str) -> int:
        """Return the place of a name; -1 if nothing has it."""
        return self._names.find(b"\0%b\0" % text.encode()) + 1 or -1

    def _find(self, structure: str) -> int:
        """Return the place of a structure with a name."""
        name = self._name(structure)
        while name not in self._structures:
            if not self._go_on():
                raise LayoutError(f"the kernel's BTF has no struct {structure}")
        return self._structures[name]

    def _go_on(self) -> bool:
        """Find the next type that wasn't known; return whether there is one."""
        place, words = self._next, self._words
        if place + _TYPE_WORDS > len(words):
            return False
        info = words[place + 1]
        kind = info >> 24 & 0x1F
        try:
            fixed, each = _MORE_WORDS[kind]
        except KeyError:
            raise LayoutError("the kernel's BTF has a type of an unknown kind") from None
        self._next = place + _TYPE_WORDS + fixed + each * (info & 0xFFFF)
        if self._next > len(words):
            raise LayoutError("the kernel's BTF is cut off")
        self._places.append(place)
        if kind == _STRUCT:
            self._structures.setdefault(words[place], place)
        return True

    def _kind(self, place: int) -> int:
        return self._words[place + 1] >> 24 & 0x1F

    def _type(self, number: int) -> int:
        """Return the place of a type, without qualifiers and other names for it."""
        for _ in range(_MOST_MODIFIERS):
            if not number:
                break
            while number >= len(self._places):
                if not self._go_on():
                    raise LayoutError("the kernel's BTF refers to a type that it doesn't have")
            place = self._places[number]
            if self._kind(place) not in _MODIFIERS:
                return place
            number = self._words[place + 2]
        raise LayoutError("the kernel's BTF has a member without a type")

    def _member_bits(self, place: int, name: int, seen: set[int]) -> int | None:
        """Return the offset in bits of a member of a structure or union; None without it.

        Args:
            place: Where the structure or union is.
            name: The place of the member's name.
            seen: Where structures and unions are that don't have it. They may contain one another
                in no sensible kernel, but in damaged data.
        """
        if place in seen:
            return None
        seen.add(place)
        words = self._words
        info = words[place + 1]
        bit_fields = info >> 31
        for number in range(info & 0xFFFF):
            at = place + _TYPE_WORDS + number * _MEMBER_WORDS
            bits = words[at + 2]
            if bit_fields:
                bits = bits & 0xFFFFFF if not bits >> 24 else 1  # 1: no offset in bytes
            if words[at] == name:
                return bits
            if not words[at]:
                inner = self._type(words[at + 1])
                if self._kind(inner) in (_STRUCT, _UNION):
                    within = self._member_bits(inner, name, seen)
                    if within is not None:
                        return bits + within
        return None
