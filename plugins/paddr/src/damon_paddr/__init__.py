"""The primitive `paddr` of damon-core: the physical memory of a machine."""

from damon_paddr.backend import CgroupBackend, PhysicalBackend
from damon_paddr.machine import MachineMemory, parse_iomem, parse_zones
from damon_paddr.options import PaddrOptions, RangeOption
from damon_paddr.plugin import make_paddr
from damon_paddr.primitive import PhysicalMemory

__all__ = [
    "CgroupBackend",
    "MachineMemory",
    "PaddrOptions",
    "PhysicalBackend",
    "PhysicalMemory",
    "RangeOption",
    "make_paddr",
    "parse_iomem",
    "parse_zones",
]
