"""What of the processor and the memory decides how page tables look: x86-64."""

import platform
import re
from pathlib import Path

from attrs import frozen

from damon_pagetable.errors import ObstacleError

PAGE_SHIFT = 12
#: Entries of a table, and how many bits of an address choose one.
ENTRIES = 512
INDEX_BITS = 9

_ADDRESS_SIZES = re.compile(r"(?m)^address sizes\s*: (\d{1,3}) bits physical")
_ADDRESS_BITS = range(32, 53)  # as many as an entry has room for
_FLAGS = re.compile(r"(?m)^flags\s*:(.*)$")
_ZONE = re.compile(r"(?m)^ +spanned +(\d+)$|^ +start_pfn: +(\d+)$")
_UNACCEPTED = re.compile(r"(?m)^Unaccepted: +([1-9]\d*) kB$")


@frozen
class Machine:
    """How the page tables of this machine look.

    Attributes:
        levels: How many levels they have: 4 or 5. Level 1 has the entries of pages of 4 KiB.
        frame_mask: The bits of an entry that are the address of a page of memory.
        top: The first physical address above all memory.
    """

    levels: int
    frame_mask: int
    top: int

    @classmethod
    def here(cls, proc: Path = Path("/proc"), architecture: str = "") -> "Machine":
        """Return the machine that this program runs on.

        Args:
            proc: Where the kernel's information is.
            architecture: What to assume instead of this machine's.

        Raises:
            ObstacleError: It is of another architecture, or doesn't say what is needed.
        """
        architecture = architecture or platform.machine()
        if architecture != "x86_64":
            raise ObstacleError(f"page tables are read on x86-64 only, this is {architecture}")
        try:
            processor = (proc / "cpuinfo").read_text(errors="replace")
            zones = (proc / "zoneinfo").read_text(errors="replace")
            memory = (proc / "meminfo").read_text(errors="replace")
        except OSError as error:
            raise ObstacleError(f"{error.filename}: {error.strerror}") from error
        if _UNACCEPTED.search(memory):
            # To touch such memory ends a confidential virtual machine.
            raise ObstacleError("the machine has memory that it hasn't accepted from its host yet")
        sizes, flags = _ADDRESS_SIZES.search(processor), _FLAGS.search(processor)
        if sizes is None or flags is None or int(sizes[1]) not in _ADDRESS_BITS:
            raise ObstacleError("/proc/cpuinfo doesn't say how many bits addresses have")
        # The processor may have five levels that the kernel doesn't use: then it hides the flag.
        levels = 5 if "la57" in flags[1].split() else 4
        mask = (1 << int(sizes[1])) - (1 << PAGE_SHIFT)
        return cls(levels, mask, _top_of(zones))


def _top_of(zones: str) -> int:
    """Return the first physical address above all zones of memory."""
    spanned = top = 0
    for pages, first in _ZONE.findall(zones):
        if pages:
            spanned = int(pages)
        elif spanned:
            top = max(top, int(first) + spanned)
    if not top:
        raise ObstacleError("/proc/zoneinfo doesn't say where memory ends")
    return top << PAGE_SHIFT
