"""Clearing the accessed bits of a process, by `/proc/PID/clear_refs`."""

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
    # Opened each time: a descriptor for each process would be dear, and the thread that it belongs
    # to may exit.
    clear_refs = process.open_file("clear_refs", os.O_WRONLY)
    try:
        begun_ns = time.thread_time_ns()
        os.write(clear_refs, b"1")
        return (time.thread_time_ns() - begun_ns) // 1_000
    finally:
        os.close(clear_refs)
