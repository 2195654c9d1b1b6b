"""The kernel's own DAMON as a backend of damon-core's primitives: it samples, we steer it."""

from damon_sysfs.physical import KernelMemory
from damon_sysfs.processes import KernelProcesses
from damon_sysfs.sampler import Sampler

__all__ = ["Kernel", "KernelMemory", "KernelProcesses", "Sampler"]
