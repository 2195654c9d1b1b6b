"""The backend `kernel`: the kernel's DAMON samples, and this package controls it."""

from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses
from damon_sysfs.sampler import Sampler

__all__ = ["KernelMemory", "KernelProcesses", "Sampler"]
