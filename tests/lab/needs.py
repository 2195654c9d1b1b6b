"""Kernel needs of tests, and whether this machine meets them."""

import ctypes
import mmap
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

#: This variable is set in the lab's machines only.
GUEST = "DAMON_LAB_GUEST"


_KDAMONDS = "/sys/kernel/mm/damon/admin/kdamonds"


@frozen
class KernelNeed:
    """A feature of the kernel that a test needs.

    Attributes:
        met: Returns whether this machine has it.
        lab_only: Whether only the lab's machines may be used, because tests change the state of
            the whole kernel with it.
    """

    met: Callable[[], bool]
    lab_only: bool = False


def _writable(path: str) -> Callable[[], bool]:
    return lambda: os.access(path, os.W_OK)


def _has_memory_controller() -> bool:
    control = Path("/sys/fs/cgroup/cgroup.subtree_control")
    return os.access(control, os.W_OK) and "memory" in control.read_text().split()


def _has_two_nodes() -> bool:
    return len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) >= 2


def _has_readable_page_tables() -> bool:
    types = "/sys/kernel/btf/vmlinux"
    return os.uname().machine == "x86_64" and os.access(types, os.R_OK)


def _has_obsolete_targets() -> bool:
    symbols = Path("/proc/kallsyms")  # Not each kernel has it.
    if not (symbols.exists() and os.access(_KDAMONDS, os.W_OK)):
        return False
    return b" obsolete_target_store" in symbols.read_bytes()


def _has_soft_dirty() -> bool:
    # What is written for the first time has the bit.
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        first = ctypes.c_char.from_buffer(page)
        address = ctypes.addressof(first)
        del first
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            pagemap.seek(address // mmap.PAGESIZE * 8)
            return bool(int.from_bytes(pagemap.read(8), sys.byteorder) >> 55 & 1)


def _has_damon_filters() -> bool:
    version = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    return version >= (6, 14) and os.access(_KDAMONDS, os.W_OK)


KERNEL_NEEDS = {
    "idle-page-tracking": KernelNeed(_writable("/sys/kernel/mm/page_idle/bitmap")),
    "kernel-damon": KernelNeed(_writable(_KDAMONDS), lab_only=True),
    "damon-filter": KernelNeed(_has_damon_filters, lab_only=True),
    "damon-stat": KernelNeed(_writable("/sys/module/damon_stat/parameters/enabled"), lab_only=True),
    "obsolete-target": KernelNeed(_has_obsolete_targets, lab_only=True),
    "memory-cgroup": KernelNeed(_has_memory_controller),
    "soft-dirty": KernelNeed(_has_soft_dirty),
    "page-tables": KernelNeed(_has_readable_page_tables),
    "numa-nodes": KernelNeed(_has_two_nodes),
    "zram-swap": KernelNeed(_writable("/dev/zram0"), lab_only=True),
    "hugetlb": KernelNeed(_writable("/proc/sys/vm/nr_hugepages"), lab_only=True),
    "two-processors": KernelNeed(lambda: len(os.sched_getaffinity(0)) >= 2),
}


def kernel_needs(item: pytest.Item) -> list[str]:
    """Return the kernel needs of a test."""
    needs = [need for marker in item.iter_markers("needs") for need in marker.args]
    return [need for need in needs if need in KERNEL_NEEDS]


def why_unmet(name: str) -> str | None:
    """Return why this machine doesn't meet a kernel need; None if it does."""
    need = KERNEL_NEEDS[name]
    if need.lab_only and GUEST not in os.environ:
        return f"needs {name}, which tests may only use in the lab: run make lab"
    if not need.met():
        return f"needs {name}, which this kernel doesn't have: run make lab"
    return None
