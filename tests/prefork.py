"""A server of several processes that have most of their memory in common since a fork."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PREFORK = """
import mmap, os, sys, time
workers, common_bytes = map(int, sys.argv[1:])
common = mmap.mmap(-1, common_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
common.madvise(mmap.MADV_NOHUGEPAGE)
common[::4096] = b"x" * (len(common) // 4096)
pids = [os.getpid()]
for _ in range(workers):
    if not (pid := os.fork()):
        time.sleep(600)
    pids.append(pid)
print(*pids, flush=True)
time.sleep(600)
"""


@contextmanager
def prefork_server(common_bytes: int, workers: int = 4) -> Iterator[list[int]]:
    """Run such a server; give the pids of its processes.

    Args:
        common_bytes: What they have in common, besides the interpreter.
        workers: How many processes there are besides the first.
    """
    arguments = [sys.executable, "-c", _PREFORK, str(workers), str(common_bytes)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(each) for each in parent.stdout.readline().split()]
        try:
            yield pids
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGKILL)
