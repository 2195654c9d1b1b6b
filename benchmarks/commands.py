"""Whole commands, and their CPU time and memory."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define

#: Runs a command, passes SIGINT on, and writes down its cost. A program's peak memory starts from
#: that of the program that starts it, so this one has to be small.
_LAUNCHER = """
import os, signal, sys
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
signal.signal(signal.SIGINT, lambda *_: os.kill(pid, signal.SIGINT))
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, file=file)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


@define
class Command:
    """A running command.

    Attributes:
        command: The program and its arguments.
        process: The launcher that started it.
        cpu_s: Once it has ended: its CPU time, including all programs that it started.
        peak_mib: Once it has ended: the largest peak memory of one of them.
        output: Once it has ended: the output that wasn't read before.
    """

    command: list[str]
    process: "subprocess.Popen[str]"
    _usage: Path
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    output: str = ""

    def wait(self, *, ok: tuple[int, ...] = (0,)) -> None:
        """Wait for its end; exit with an error if its status isn't in `ok`."""
        assert self.process.stdout is not None
        self.output = self.process.stdout.read()
        if (status := self.process.wait()) not in ok:
            sys.exit(f"{shlex.join(self.command)} ended with {status}:\n{self.output}")
        self.cpu_s, self.peak_mib = map(float, self._usage.read_text().split())


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[Command]:
    """Run a command in a folder during the block; end it afterwards."""
    usage = folder / "usage"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(usage), *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Command(command, process, usage)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def run(command: list[str], folder: Path) -> Command:
    """Run a command to its end."""
    with running(command, folder) as started:
        started.wait()
    return started
