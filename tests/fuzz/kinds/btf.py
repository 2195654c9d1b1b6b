"""The kernel's type information: other layouts, and damaged ones."""

import random
import struct
from pathlib import Path
from typing import ClassVar

from damon_pagetable.btf import Btf

from tests.fuzz.judging import Fault, Kind, attempt
from tests.fuzz.mutating import Mutator

_WANTED = (
    ("task_struct", "files"),
    ("files_struct", "fdt"),
    ("fdtable", "fd"),
    ("file", "private_data"),
    ("mm_struct", "pgd"),
)
_HEADER = struct.Struct("=HBBIIIII")


class KernelTypes(Kind):
    """A file like /sys/kernel/btf/vmlinux."""

    name: ClassVar[str] = "btf"
    limit_s: ClassVar[float] = 2.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def make(self, chance: random.Random) -> bytes:
        """Return types of a kernel that may refer to one another in any way."""
        names = bytearray(b"\0")
        words: list[int] = []

        def name(text: str) -> int:
            if not text:
                return 0
            place = bytes(names).find(f"\0{text}\0".encode()) + 1
            if not place:
                place = len(names)
                names.extend(text.encode() + b"\0")
            return place

        count = chance.randrange(3, 14)
        for _ in range(count):
            kind = chance.choice((1, 2, 3, 4, 4, 4, 5, 5, 6, 7, 8, 8, 9, 10, 13, 14, 15, 17, 19))
            structure, member = chance.choice(_WANTED)
            elements = chance.randrange(4)
            if kind in (4, 5):
                flag = chance.random() < 0.2
                own = structure if chance.random() < 0.6 else ""
                words += [name(own), kind << 24 | elements | flag << 31, 64]
                for _ in range(elements):
                    inner = chance.choice((member, "", "", "other"))
                    bits = chance.choice((0, 8, 64, 65, 1 << 30)) | (
                        flag and chance.randrange(3) << 24
                    )
                    words += [name(inner), chance.randrange(count + 2), bits]
            else:
                fixed = {1: 1, 3: 3, 14: 1, 17: 1}.get(kind, 0)
                each = {6: 2, 13: 2, 15: 3, 19: 3}.get(kind, 0)
                elements = elements if each else 0
                words += [name(chance.choice(("", structure, "x"))), kind << 24 | elements]
                words += [chance.randrange(count + 2), *[1] * (fixed + each * elements)]
        types = struct.pack(f"={len(words)}I", *words)
        header = (0xEB9F, 1, 0, _HEADER.size, 0, len(types), len(types), len(names))
        data = _HEADER.pack(*header) + types + bytes(names)
        return data if chance.random() < 0.6 else Mutator(chance).raw(data)

    def judge(self, data: bytes) -> bool:
        """Ask for the offsets that are needed."""
        types = attempt(lambda: Btf(data))
        if types is None:
            return False
        found = [attempt(lambda each=each: types.offset(*each)) for each in _WANTED]  # type: ignore[misc]
        for offset in found:
            if offset is not None and not 0 <= offset < 1 << 32:
                raise Fault(f"an offset of {offset}")
        return any(offset is not None for offset in found)
