"""A program to monitor, in a cgroup of its own where one can be made."""

import os
import subprocess
import sys
from pathlib import Path

from attrs import frozen
from damon_cgroup import hierarchies

#: It ends with what has started it.
_PROGRAM = """
import os, time
memory, parent = bytearray(4 << 20), os.getppid()
while os.getppid() == parent:
    for start in range(0, len(memory), 4096):
        memory[start] = 1
    time.sleep(0.01)
"""


@frozen
class Target:
    """A program to monitor.

    Attributes:
        pid: Its pid.
        cgroup: The path of its cgroup; empty if none could be made.
        process: The program.
    """

    pid: int
    cgroup: str
    process: "subprocess.Popen[bytes]"

    def end(self) -> None:
        """End the program and remove its cgroup."""
        self.process.kill()
        self.process.wait()
        if self.cgroup:
            Path(self.cgroup).rmdir()


def start() -> Target:
    """Start a program to monitor."""
    process = subprocess.Popen([sys.executable, "-S", "-c", _PROGRAM])
    for hierarchy in hierarchies():
        path = hierarchy.mount / f"damon-faults-{os.getpid()}"
        try:
            path.mkdir()
        except OSError:
            continue
        try:
            (path / "cgroup.procs").write_text(str(process.pid))
        except OSError:
            path.rmdir()
            continue
        return Target(process.pid, str(path), process)
    return Target(process.pid, "", process)
