"""The address ranges of the machine's memory, by NUMA node."""

import re
from collections.abc import Sequence
from pathlib import Path

from damon_core import PAGE_SIZE_BYTES, Range, TargetError
from damon_paddr.ranges import TOP, difference, intersection, merged, whole_pages

_PROC = Path("/proc")
_DEVICES = Path("/sys/devices/system")

# Also "System RAM (kmem)" and "System RAM (virtio_mem)", which are indented below their device.
_SYSTEM_RAM = re.compile(r"^ *([0-9a-f]+)-([0-9a-f]+) : System RAM\b", re.MULTILINE)
_BLOCK = re.compile(r"memory([0-9]+)")
_ZONE = re.compile(r"^Node (\d+), zone", re.MULTILINE)
_SPANNED = re.compile(r"^ *spanned +(\d+)$", re.MULTILINE)
_START_PFN = re.compile(r"^ *start_pfn: +(\d+)$", re.MULTILINE)


def parse_iomem(text: str) -> list[Range]:
    """Return the whole pages of System RAM in a `/proc/iomem`.

    Raises:
        TargetError: The addresses are hidden from this user.
    """
    found = [
        (int(start, 16), int(end, 16) + 1)  # the last address is inside
        for start, end in _SYSTEM_RAM.findall(text)
    ]
    if found and not any(end > 1 for _, end in found):
        raise TargetError(
            "physical memory", "/proc/iomem hides addresses from this user: run as root"
        )
    return merged(whole_pages(Range(*pair) for pair in found))


def parse_zones(text: str) -> dict[int, list[Range]]:
    """Return the ranges that the zones of each node span, from a `/proc/zoneinfo`."""
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
    """The machine's memory, or a part of it, which may change by hot-plug.

    The node of memory is that of its hot-plug block. Blocks that several nodes share, and all
    memory if the kernel has no hot-plug, belong to the node whose zone spans them; memory in no
    zone belongs to the lowest node. Blocks that are offline are left out.

    Args:
        wanted: Only these ranges, ascending and disjoint; all memory by default.
        node: Only this NUMA node.
        proc: The mount of procfs.
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
        self._last: tuple[str, str] | None = None

    def changed(self) -> bool:
        """Return whether memory may have changed since `nodes` was called; a cheap check."""
        return self._fingerprint() != self._last

    def nodes(self) -> dict[int, list[Range]]:
        """Return the ranges of each NUMA node that has any, by the node's number.

        Raises:
            TargetError: The addresses are hidden from this user.
        """
        # Read first, so that a change while the rest is read is found the next time.
        self._last = self._fingerprint()
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
        """Check that the wanted memory exists.

        Raises:
            TargetError: It doesn't, or the addresses are hidden from this user.
        """
        ram = self._system_ram()
        for part in self._wanted if self._wanted[-1].end < TOP else ():
            if difference([part], ram):
                raise TargetError(
                    f"range {part.start:x}-{part.end:x}",
                    "isn't all System RAM: see /proc/iomem, as root, for its ranges",
                )
        if self.nodes():
            return
        if self._node is None:
            raise TargetError("physical memory", "/proc/iomem has no System RAM")
        others = MachineMemory(proc=self._proc, devices=self._devices).nodes()
        raise TargetError(
            f"NUMA node {self._node}",
            f"has no memory; nodes with memory: {', '.join(map(str, others))}",
        )

    def _fingerprint(self) -> tuple[str, str]:
        # When a block is taken offline /proc/iomem doesn't change, but MemTotal does.
        total = _text(self._proc / "meminfo").partition("\n")[0]
        return _text(self._proc / "iomem"), total

    def _system_ram(self) -> list[Range]:
        return parse_iomem(_text(self._proc / "iomem"))

    def _blocks(self) -> tuple[dict[int, list[Range]], list[Range]]:
        """Return the blocks that belong to a single node, by node, and the offline blocks."""
        size_text = _text(self._devices / "memory" / "block_size_bytes")
        if not size_text:
            return {}, []
        size = int(size_text, 16)

        def range_of(block: int) -> Range:
            return Range(block * size, (block + 1) * size)

        nodes_of: dict[int, list[int]] = {}
        for directory in self._devices.glob("node/node[0-9]*"):
            for entry in directory.iterdir():
                if match := _BLOCK.fullmatch(entry.name):
                    nodes_of.setdefault(int(match[1]), []).append(int(directory.name[4:]))
        owned: dict[int, list[Range]] = {}
        for block, nodes in nodes_of.items():
            if len(nodes) == 1:
                owned.setdefault(nodes[0], []).append(range_of(block))
        offline = [
            range_of(int(match[1]))
            for directory in self._devices.glob("memory/memory[0-9]*")
            if (match := _BLOCK.fullmatch(directory.name))
            and _text(directory / "state").strip() == "offline"
        ]
        return {node: merged(ranges) for node, ranges in owned.items()}, merged(offline)


def _text(path: Path) -> str:
    """Return the text of a kernel file; empty if it doesn't exist, or no longer."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
