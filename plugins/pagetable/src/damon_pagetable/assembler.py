"""An assembler of the few eBPF instructions that are needed here.

Instructions are written much as the kernel's verifier prints them: ``alu(R1, "+=", R2)`` is
``r1 += r2``. All arithmetic and all comparisons have 64 bits, and are unsigned.
"""

import struct
from enum import IntEnum

from attrs import define, field

_INSTRUCTION = struct.Struct("=BBhi")
INSTRUCTION_BYTES = _INSTRUCTION.size

_FROM_REGISTER = 0x08
_ALU64 = 0x07
_ALU = {
    "+=": 0x00,
    "-=": 0x10,
    "|=": 0x40,
    "&=": 0x50,
    "<<=": 0x60,
    ">>=": 0x70,
    "^=": 0xA0,
    "=": 0xB0,
}
_JUMP = 0x05
_JUMP_IF = {
    "==": 0x10,
    ">": 0x20,
    ">=": 0x30,
    "&": 0x40,
    "!=": 0x50,
    "<": 0xA0,
    "<=": 0xB0,
}
_CALL = 0x85
_EXIT = 0x95
_LOAD_64 = 0x79
_STORE_64 = 0x7B
_STORE_8 = 0x73
_LOAD_CONSTANT = 0x18
#: Put where the source register would be: the constant is the address of a map's first value.
_MAP_VALUE = 2


class Register(IntEnum):
    """The registers. Calls take arguments in 1 to 5 and return in 0; they leave 6 to 10 alone.

    A program begins with its context in 1, and the end of its stack in 10.
    """

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


@define
class Assembler:
    """Collects the instructions of a program. Labels may be used before they are placed."""

    _code: list[tuple[int, int, int, int]] = field(factory=list, init=False)
    _labels: dict[str, int] = field(factory=dict, init=False)
    _jumps: dict[int, str] = field(factory=dict, init=False)

    def alu(self, target: Register, operator: str, source: Register | int) -> None:
        """Compute: ``=``, ``+=``, ``-=``, ``|=``, ``&=``, ``^=``, ``<<=``, ``>>=``.

        A number has 32 bits and is extended with its sign.
        """
        self._either(_ALU64 | _ALU[operator], target, source, 0)

    def constant(self, target: Register, value: int) -> None:
        """Load a constant of 64 bits."""
        self._wide(target, 0, value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)

    def map_value(self, target: Register, descriptor: int, offset: int = 0) -> None:
        """Load the address of a byte in the first value of a map."""
        self._wide(target, _MAP_VALUE, descriptor, offset)

    def load(self, target: Register, address: Register, offset: int = 0) -> None:
        """Load 8 bytes from memory."""
        self._add(_LOAD_64, target, address, offset)

    def store(self, address: Register, offset: int, source: Register) -> None:
        """Store 8 bytes."""
        self._add(_STORE_64, address, source, offset)

    def store_byte(self, address: Register, offset: int, source: Register) -> None:
        """Store the lowest byte."""
        self._add(_STORE_8, address, source, offset)

    def label(self, name: str) -> None:
        """Give the next instruction a name.

        Raises:
            ValueError: The name is taken.
        """
        if name in self._labels:
            raise ValueError(f"the label {name!r} is placed twice")
        self._labels[name] = len(self._code)

    def is_needed(self, label: str) -> bool:
        """Return whether there is a jump to a label so far."""
        return label in self._jumps.values()

    def jump(self, label: str) -> None:
        """Continue at a label."""
        self._jumps[len(self._code)] = label
        self._add(_JUMP)

    def jump_if(self, left: Register, operator: str, right: Register | int, label: str) -> None:
        """Continue at a label if ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, or common bits."""
        self._jumps[len(self._code)] = label
        self._either(_JUMP | _JUMP_IF[operator], left, right, 0)

    def call(self, helper: int) -> None:
        """Call one of the kernel's helper functions, by its number in <linux/bpf.h>."""
        self._add(_CALL, number=helper)

    def exit(self) -> None:
        """End the program; what it returns is in R0."""
        self._add(_EXIT)

    def code(self) -> bytes:
        """Return the program.

        Raises:
            ValueError: A label isn't placed, or too far away.
        """
        parts = []
        for place, (code, registers, offset, number) in enumerate(self._code):
            distance = offset
            if (label := self._jumps.get(place)) is not None:
                if label not in self._labels:
                    raise ValueError(f"the label {label!r} isn't placed")
                distance = self._labels[label] - place - 1
                if not -(1 << 15) <= distance < 1 << 15:
                    raise ValueError(f"the label {label!r} is too far away")
            parts.append(_INSTRUCTION.pack(code, registers, distance, number))
        return b"".join(parts)

    def _either(self, code: int, left: Register, right: Register | int, offset: int) -> None:
        if isinstance(right, Register):
            self._add(code | _FROM_REGISTER, left, right, offset)
        else:
            self._add(code, left, 0, offset, right)

    def _wide(self, target: Register, kind: int, low: int, high: int) -> None:
        self._add(_LOAD_CONSTANT, target, kind, 0, _signed(low))
        self._add(0, number=_signed(high))

    def _add(
        self, code: int, target: int = 0, source: int = 0, offset: int = 0, number: int = 0
    ) -> None:
        self._code.append((code, source << 4 | target, offset, number))


def _signed(bits: int) -> int:
    return bits - (1 << 32) if bits >> 31 else bits
