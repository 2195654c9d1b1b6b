"""The kernel's DAMON: as the backend `kernel`, controlled; as the primitive `kdamond`, watched."""

from damon_sysfs.choosing import ChosenByContext
from damon_sysfs.observing import RunningKdamonds
from damon_sysfs.options import KdamondOptions, KernelOptions
from damon_sysfs.pages import KernelPages
from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses
from damon_sysfs.sampler import Sampler

__all__ = [
    "ChosenByContext",
    "KdamondOptions",
    "KernelMemory",
    "KernelOptions",
    "KernelPages",
    "KernelProcesses",
    "RunningKdamonds",
    "Sampler",
]
