"""What the kernel says of processes, memory and cgroups, with names that may contain anything.

An input is the description of a text as JSON: what is in it, and what another version of the
kernel has more or less of. What is read is compared with what was described.
"""

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from damon_cgroup.hierarchy import Hierarchy, find_cgroup
from damon_cgroup.members import domain_of, read_members
from damon_paddr.machine import MachineMemory
from damon_pagetable.machine import Machine
from damon_vaddr import parse_maps
from damon_vaddr.mappings import parse_accessible, parse_areas, parse_shared
from damon_vaddr.procfs import kernel_threads, living_thread, proc_problem, read_stat
from damon_vaddr.smaps import SmapsParser

from tests.fuzz.judging import Fault, Kind, attempt
from tests.fuzz.mutating import Mutator

_TOP = (1 << 63) - 1
_PERMISSIONS = ("r-xp", "rw-p", "---p", "rw-s", "r--s", "--xp", "rwxp", "---s")
_KERNELS = ("[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]")
#: Lines of smaps that some versions have, in their places.
_SMAPS = "Size KernelPageSize MMUPageSize Rss Pss Pss_Dirty Shared_Clean Private_Clean Referenced"
_SMAPS_LINES = f"{_SMAPS} Anonymous KSM LazyFree AnonHugePages ShmemPmdMapped FilePmdMapped Swap"


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Fault(f"{what}: {found!r:.300} instead of {expected!r:.300}")


class ProcTexts(Kind):
    """Texts of /proc, /sys and cgroups."""

    name: ClassVar[str] = "proc"
    limit_s: ClassVar[float] = 2.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._root = folder / "proc"
        self._judges: dict[str, Callable[[dict[str, Any]], None]] = {
            "maps": _maps,
            "smaps": _smaps,
            "stat": self._stat,
            "memory": self._memory,
            "machine": self._machine,
            "cgroup": self._cgroup,
        }

    def make(self, chance: random.Random) -> bytes:
        """Return a description."""
        mutator = Mutator(chance)
        what = chance.choice(list(self._judges))
        made: dict[str, Any] = {"what": what}
        if what in ("maps", "smaps"):
            made["rows"] = _rows(chance, mutator)
            made["without"] = chance.sample(_SMAPS_LINES.split(), chance.choice((0, 0, 1, 3)))
            made["more"] = chance.choice((None, None, "New:", "ProtectionKey:", "A very new line:"))
            made["wide"] = chance.random() < 0.1
        elif what == "stat":
            made |= {"name": mutator.name()[:15], "more": chance.randrange(4)}
            made |= {"state": chance.choice("RSDZTtXxKWPI"), "start": chance.getrandbits(62)}
            made |= {
                "flags": chance.choice((0, 0x200000, 0x400100)),
                "threads": chance.randrange(9),
            }
            made["cut"] = chance.random() if chance.random() < 0.2 else 1
        else:
            made["numbers"] = [mutator.number() for _ in range(8)]
            made["names"] = [mutator.name() for _ in range(3)]
            made["texts"] = [_damaged(chance, mutator, text) for text in _TEXTS[what]]
        return json.dumps(made).encode()

    def judge(self, data: bytes) -> bool:
        """Read it, and compare with what was described."""
        try:
            made = json.loads(data)
            judge = self._judges[made["what"]]
        except (ValueError, KeyError, TypeError):
            return False
        judge(made)
        return True

    def _write(self, path: str, text: str | bytes) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else _raw(text))

    def _stat(self, made: dict[str, Any]) -> None:
        name = _raw(made["name"])
        fields = [made["state"], "1", "2", "3", "0", "-1", made["flags"], *range(10)]
        fields += [made["threads"], "0", made["start"], *range(made["more"] * 10 + 2)]
        whole = b"77 (%b) %b\n" % (name, b" ".join(str(each).encode() for each in fields))
        self._write("77/stat", whole[: int(len(whole) * made["cut"])])
        self._write("77/status", b"Name:\t" + name.replace(b"\n", b"\\n") + b"\nNSpid:\t77\n")
        self._write("self/status", b"Name:\t" + name.replace(b"\n", b"\\n") + b"\nNSpid:\t77\n")
        (self._root / "77/task").mkdir(exist_ok=True)
        if made["cut"] == 1:
            stat = read_stat(77, self._root)
            found = stat.name, stat.has_exited, stat.parent, stat.threads, stat.started
            exited = made["state"] in "ZXx"
            _same("stat", found, (name, exited, 1, made["threads"], made["start"]))
            _same("thread", living_thread(77, self._root), None if exited else 77)
            is_kernels = bool(made["flags"] & 0x200000)
            _same("kernel", 77 in kernel_threads(r"(?s).*", self._root), is_kernels)
            _same("problem", proc_problem(self._root), None)
            return
        # Cut within its fields it may be anything.
        with contextlib.suppress(ProcessLookupError, ValueError):
            read_stat(77, self._root)

    def _memory(self, made: dict[str, Any]) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        for name, text in zip(("iomem", "zoneinfo", "meminfo"), made["texts"], strict=True):
            self._write(name, text)
        self._write("devices/memory/block_size_bytes", "8000000\n")
        self._write("devices/memory/memory3/state", "offline\n")
        memory = MachineMemory(proc=self._root, devices=self._root / "devices")
        found = attempt(memory.nodes)
        for ranges in (found or {}).values():
            for start, end in ranges:
                if not 0 <= start < end or start % 4096 or end % 4096:
                    raise Fault(f"a range {start:x}-{end:x}")
        attempt(memory.check)

    def _machine(self, made: dict[str, Any]) -> None:
        for name, text in zip(("cpuinfo", "zoneinfo", "meminfo"), made["texts"], strict=True):
            self._write(name, text)
        found = attempt(lambda: Machine.here(self._root, "x86_64"))
        if found is not None and not (found.levels in (4, 5) and 0 < found.frame_mask < 1 << 53):
            raise Fault(f"{found}")

    def _cgroup(self, made: dict[str, Any]) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir()
        safe = [name.replace("/", "-").replace("\0", "")[:60] or "x" for name in made["names"]]
        folder = self._root.joinpath(*(f"a{name}" for name in safe))
        try:
            folder.mkdir(parents=True)
        except (OSError, UnicodeEncodeError):
            return
        (folder / "cgroup.procs").write_bytes(_raw(made["texts"][0]))
        (folder / "cgroup.type").write_bytes(_raw(made["texts"][1]))
        mounted = [Hierarchy(self._root, 2)]
        path = str(folder.relative_to(self._root))
        if not path.endswith("/"):
            _same("cgroup", attempt(lambda: find_cgroup(path, mounted)), folder.resolve())
        for name in made["names"]:
            attempt(lambda name=name: find_cgroup(name, mounted))  # type: ignore[misc]
        # What isn't a number isn't from a kernel.
        with contextlib.suppress(OSError, ValueError):
            read_members(folder)
        domain_of(folder)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _damaged(chance: random.Random, mutator: Mutator, text: str) -> str:
    if chance.random() < 0.3:
        return text
    lines = text.split("\n")
    for _ in range(chance.randrange(3)):
        what, place = chance.random(), chance.randrange(len(lines))
        if what < 0.3:
            del lines[place]
            lines = lines or [""]
        elif what < 0.6:
            words = lines[place].split(" ")
            words[chance.randrange(len(words))] = str(
                chance.getrandbits(chance.choice((3, 20, 62)))
            )
            lines[place] = " ".join(words)
        elif what < 0.8:
            lines.insert(place, mutator.name())
        else:
            lines.insert(place, chance.choice(lines))
    return "\n".join(lines)


def _rows(chance: random.Random, mutator: Mutator) -> list[list[Any]]:
    """Return mappings: start, end, permissions, offset, inode, name, and numbers of smaps."""
    rows = []
    at = 0
    for _ in range(chance.randrange(8)):
        at += chance.choice((0, 1, 16, 1 << 20, 1 << 35)) * 4096
        end = at + chance.choice((1, 2, 512, 1 << 20, 1 << 30)) * 4096
        if end >= 1 << 63:
            break
        name = mutator.name() if chance.random() < 0.6 else chance.choice(("", "[heap]", "/a"))
        inode = 0 if name.startswith("[") or not name else chance.choice((0, 7, 1 << 40))
        rss = chance.choice((0, 4, 2048, 99_999_999, 100_000_000, 1 << 32))
        numbers = [rss, rss // 2, rss // 3, chance.choice((0, 2048))]
        rows.append([at, end, chance.choice(_PERMISSIONS), 4096, inode, name, numbers])
        at = end
    for name in chance.sample(_KERNELS, chance.randrange(3)):
        rows.append([at, at + 4096, "r--p", 0, 0, name, [0, 0, 0, 0]])
        at += 4096
    if chance.random() < 0.3:
        rows.append([0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, "--xp", 0, 0, "[vsyscall]", [0] * 4])
    return rows


def _line(row: list[Any]) -> bytes:
    start, end, permissions, offset, inode, name, _ = row
    # The kernel writes line feeds as \\012, and pads up to the name.
    shown = _raw(name).replace(b"\n", b"\\012").replace(b"\0", b"")
    device = "08:02" if inode else "00:00"
    line = f"{start:08x}-{end:08x} {permissions} {offset:08x} {device} {inode} ".encode()
    return (line.ljust(73) + shown if shown else line) + b"\n"


def _maps(made: dict[str, Any]) -> None:
    rows = made["rows"]
    text = b"".join(map(_line, rows))
    users = [row for row in rows if not (row[5] in _KERNELS and not row[4])]
    pairs = [(min(row[0], _TOP), min(row[1], _TOP)) for row in users]
    accessible = [pair for pair, row in zip(pairs, users, strict=True) if row[2][:3] != "---"]
    _same("maps", [tuple(each) for each in parse_maps(text)], pairs)
    _same("accessible", [tuple(each) for each in parse_accessible(text)], accessible)
    areas = parse_areas(text)
    _same(
        "bytes of areas",
        sum(each.end - each.start for each in areas),
        sum(b - a for a, b in accessible),
    )
    for area in areas:
        (first,) = [row for row in users if row[0] == area.start]
        # Spaces at the ends of a name look like padding.
        shown = _raw(first[5]).replace(b"\n", b"\\012").replace(b"\0", b"")
        if shown.strip() == shown and b"\r" not in shown:
            _same("name", area.name, shown.decode(errors="backslashreplace") or "[anon]")
    shared = [(row[0], row[1]) for row in rows if row[4] and (row[2][3] == "s" or row[2][1] == "-")]
    found = [tuple(each.addresses) for each in parse_shared(text)]
    _same("shared", [each for each in found if each[1] <= _TOP], shared)


def _smaps(made: dict[str, Any]) -> None:
    def record(row: list[Any]) -> bytes:
        rss, pss, referenced, huge = row[6]
        values = {"Rss": rss, "Pss": pss, "Referenced": referenced, "AnonHugePages": huge}
        width = 9 if made["wide"] else 8
        lines = [
            f"{name + ':':<16}{values.get(name, 0):>{width}} kB\n"
            for name in _SMAPS_LINES.split()
            if name not in made["without"] or name in values
        ]
        if made["more"]:
            lines.append(f"{made['more']:<16}       0\n")
        return _line(row) + "".join(lines).encode() + b"VmFlags: rd wr mr mw me ac sd \n"

    rows = made["rows"]
    text = b"".join(map(record, rows))
    sample = record([4096, 8192, "r--p", 0, 0, "[heap]", [4, 4, 4, 0]])
    for parser in (SmapsParser(sample), SmapsParser(b"")):
        headers, *columns = parser.parse(text)
        _same("headers", len(headers), len(rows))
        for place, column in enumerate(columns):
            _same(f"column {place}", column.tolist(), [row[6][place] for row in rows])
        for header, row in zip(headers, rows, strict=True):
            last = header.rpartition(b"\n")[2] or header
            if not last.startswith(f"{row[0]:08x}-{row[1]:08x}".encode()):
                raise Fault(f"the header {header!r:.200}")


_ZONES = """Node 0, zone      DMA
  pages free     3840
        spanned  4095
        present  3998
  start_pfn:           1
Node 0, zone   Normal
        spanned  1310720
  start_pfn:           1048576
Node 1, zone  Movable
        spanned  0
"""
_MEMORY = "MemTotal:        2015412 kB\nUnaccepted:            0 kB\n"
_TEXTS = {
    "memory": (
        "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n"
        "00100000-3fffffff : System RAM\n  01000000-01ffffff : Kernel code\n"
        "100000000-13fffffff : System RAM (kmem)\n",
        _ZONES,
        _MEMORY,
    ),
    "machine": (
        "model name\t: X\nflags\t\t: fpu la57 nx\naddress sizes\t: 46 bits physical, 57 bits\n",
        _ZONES,
        _MEMORY,
    ),
    "cgroup": ("1\n22\n333\n", "domain\n"),
}
