"""Clearing the bits of a process that say what it accessed or wrote, by `/proc/PID/clear_refs`."""

import os
import time

from damon_vaddr.processes import Process


def clear_accessed_bits(process: Process) -> int:
    """Clear the accessed bits of a process; return the CPU time of that, in microseconds.

    Raises:
        ProcessLookupError: The process has ended.
        PermissionError: The process may not be written to by this user.
        OSError: Another failure, such as too many open files.
    """
    return _clear(process, b"1")


def clear_soft_dirty_bits(process: Process) -> int:
    """Clear the bits that say which pages were written, as `clear_accessed_bits` does others."""
    return _clear(process, b"4")


def _clear(process: Process, which: bytes) -> int:
    # Opened each time: a descriptor for each process would be dear, and the thread that it belongs
    # to may exit.
    clear_refs = process.open_file("clear_refs", os.O_WRONLY)
    try:
        begun_ns = time.thread_time_ns()
        os.write(clear_refs, which)
        return (time.thread_time_ns() - begun_ns) // 1_000
    finally:
        os.close(clear_refs)
