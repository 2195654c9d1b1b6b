"""Where memory is: the machine's System RAM, and which NUMA node it belongs to."""

import re
from collections.abc import Sequence
from pathlib import Path

from damon_core import PAGE_SIZE_BYTES, Range, TargetError
from damon_paddr.ranges import TOP, difference, intersection, merged, whole_pages

_PROC = Path("/proc")
_DEVICES = Path("/sys/devices/system")

# Also "System RAM (kmem)" and "System RAM (virtio_mem)", which stand below their device.
_SYSTEM_RAM = re.compile(r"^ *([0-9a-f]+)-([0-9a-f]+) : System RAM\b", re.MULTILINE)
_BLOCK = re.compile(r"memory([0-9]+)")
_ZONE = re.compile(r"^Node (\d+), zone", re.MULTILINE)
_SPANNED = re.compile(r"^ *spanned +(\d+)$", re.MULTILINE)
_START_PFN = re.compile(r"^ *start_pfn: +(\d+)$", re.MULTILINE)


def parse_iomem(text: str) -> list[Range]:
    """Return the System RAM of a `/proc/iomem`, whole pages only.

    Raises:
        TargetError: Addresses are hidden from this user.
    """
    found = [
        (int(start, 16), int(end, 16) + 1)  # the last address is inside
        for start, end in _SYSTEM_RAM.findall(text)
    ]
    if found and not any(end > 1 for _, end in found):
        raise TargetError(
            "physical memory", "/proc/iomem hides the addresses of memory from you: run as root"
        )
    return merged(whole_pages(Range(*pair) for pair in found))


def parse_zones(text: str) -> dict[int, list[Range]]:
    """Return what the zones of each node span, of a `/proc/zoneinfo`."""
    nodes: dict[int, list[Range]] = {}
    parts = _ZONE.split(text)
    for node, zone in zip(parts[1::2], parts[2::2], strict=True):
        spanned, start = _SPANNED.search(zone), _START_PFN.search(zone)
        if spanned and start and int(spanned[1]):  # an empty zone has no start
            first = int(start[1]) * PAGE_SIZE_BYTES
            span = Range(first, first + int(spanned[1]) * PAGE_SIZE_BYTES)
            nodes.setdefault(int(node), []).append(span)
    return {node: merged(spans) for node, spans in nodes.items()}


class MachineMemory:
    """The machine's memory, or a part of it, as it comes and goes.

    What belongs to a node is told by the blocks of memory hot-plug, which are true to the
    byte but for blocks that several nodes share. Those, and all memory where the kernel has no
    hot-plug, go by the zones of the nodes; what is in none is the lowest node's. Blocks that are
    offline are no memory.

    Args:
        wanted: Only these ranges, ascending and disjoint; all memory by default.
        node: Only this NUMA node.
        proc: Where procfs is mounted.
        devices: The directory that has ``memory`` and ``node``.
    """

    def __init__(
        self,
        wanted: Sequence[Range] = (),
        node: int | None = None,
        proc: Path = _PROC,
        devices: Path = _DEVICES,
    ) -> None:
        self._wanted = list(wanted) or [Range(0, TOP)]
        self._node = node
        self._proc = proc
        self._devices = devices
        self._seen: tuple[str, str] | None = None

    def changed(self) -> bool:
        """Tell, cheaply, whether memory may have come or gone since `nodes` was called."""
        return self._fingerprint() != self._seen

    def nodes(self) -> dict[int, list[Range]]:
        """Return the ranges of each NUMA node that has any, by the node's number.

        Raises:
            TargetError: Addresses are hidden from this user, or can't be read.
        """
        # First: a change while the rest is read is found the next time.
        self._seen = self._fingerprint()
        blocks, offline = self._blocks()
        free = difference(self._system_ram(), offline)
        zones = parse_zones(_text(self._proc / "zoneinfo"))
        lowest = min([*blocks, *zones], default=0)
        found: dict[int, list[Range]] = {}
        for claims in (blocks, zones, {lowest: [Range(0, TOP)]}):
            for node, claimed in sorted(claims.items()):
                found[node] = merged(found.get(node, []) + intersection(free, claimed))
                free = difference(free, claimed)
        wanted = {node: intersection(ranges, self._wanted) for node, ranges in found.items()}
        return {
            node: ranges
            for node, ranges in sorted(wanted.items())
            if ranges and self._node in (None, node)
        }

    def check(self) -> None:
        """Find out whether what is wanted is there.

        Raises:
            TargetError: It isn't, or addresses are hidden from this user.
        """
        ram = self._system_ram()
        for part in self._wanted if self._wanted[-1].end < TOP else ():
            if difference([part], ram):
                raise TargetError(
                    f"range {part.start:x}-{part.end:x}",
                    "isn't all System RAM: /proc/iomem tells, as root, where that is",
                )
        if self.nodes():
            return
        if self._node is None:
            raise TargetError("physical memory", "/proc/iomem tells of no System RAM")
        there = MachineMemory(proc=self._proc, devices=self._devices).nodes()
        raise TargetError(
            f"NUMA node {self._node}",
            f"has no memory; nodes with memory: {', '.join(map(str, there))}",
        )

    def _fingerprint(self) -> tuple[str, str]:
        # /proc/iomem stays the same when a block is taken offline; MemTotal doesn't.
        total = _text(self._proc / "meminfo").partition("\n")[0]
        return _text(self._proc / "iomem"), total

    def _system_ram(self) -> list[Range]:
        return parse_iomem(_text(self._proc / "iomem"))

    def _blocks(self) -> tuple[dict[int, list[Range]], list[Range]]:
        """Return the blocks of one node only, by node, and the blocks that are offline."""
        size_text = _text(self._devices / "memory" / "block_size_bytes")
        if not size_text:
            return {}, []
        size = int(size_text, 16)

        def place(block: int) -> Range:
            return Range(block * size, (block + 1) * size)

        nodes_of: dict[int, list[int]] = {}
        for directory in self._devices.glob("node/node[0-9]*"):
            for entry in directory.iterdir():
                if match := _BLOCK.fullmatch(entry.name):
                    nodes_of.setdefault(int(match[1]), []).append(int(directory.name[4:]))
        owned: dict[int, list[Range]] = {}
        for block, nodes in nodes_of.items():
            if len(nodes) == 1:
                owned.setdefault(nodes[0], []).append(place(block))
        offline = [
            place(int(match[1]))
            for directory in self._devices.glob("memory/memory[0-9]*")
            if (match := _BLOCK.fullmatch(directory.name))
            and _text(directory / "state").strip() == "offline"
        ]
        return {node: merged(ranges) for node, ranges in owned.items()}, merged(offline)


def _text(path: Path) -> str:
    """Return what is in a file of the kernel; empty if it isn't there, or just went."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
