"""The capabilities that are needed to load a program, and not to run it."""

import os
import re
from collections.abc import Collection
from pathlib import Path

_CAP_SYS_PTRACE = 19
_CAP_PERFMON = 38
_CAP_BPF = 39

#: Since then a program may be run by all who have its descriptor.
_RUN_BY_ALL = (6, 0)
_EFFECTIVE = re.compile(r"(?m)^CapEff:\t([0-9a-f]+)$")


def needed_to_load_only(
    release: str = "", status: Path = Path("/proc/thread-self/status")
) -> Collection[int]:
    """Return what this thread may give up when it has loaded programs: numbers of capabilities.

    CAP_PERFMON isn't among them without CAP_SYS_PTRACE: since Linux 6.15 it is enough to open the
    files of others' processes.

    Args:
        release: The kernel's version; by default that of this machine.
        status: The file with the capabilities of this thread.
    """
    version = re.findall(r"\d+", release or os.uname().release)[:2]
    if tuple(map(int, version)) < _RUN_BY_ALL:
        return ()
    found = _EFFECTIVE.search(status.read_text(encoding="ascii", errors="replace"))
    traces = found is not None and int(found[1], 16) >> _CAP_SYS_PTRACE & 1
    return (_CAP_BPF, _CAP_PERFMON) if traces else (_CAP_BPF,)
