"""Programs under test that start in no time: forks of this one, which has imported everything.

A fork goes through all of its interpreter's end, as a real program does. So it mustn't leave any
``with`` or ``finally`` of its parent on the way out: `fork` raises `Become` in it, which only the
main module catches.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

_LOOK_S = 0.005


class Become(BaseException):
    """Raised in a fork: what it is to do now, instead of what its parent does.

    Attributes:
        work: What to do; it ends by `SystemExit`, or by returning.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.work = work


def main(command: click.Command, run: Callable[..., None]) -> None:
    """Run a main module; a fork of it does its work, as the last thing of its stack.

    Args:
        command: Returns the options.
        run: Called with them.
    """
    try:
        options = command(standalone_mode=False)
        if isinstance(options, dict):  # not after --help
            run(**options)
        return
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except Become as child:
        work = child.work
    work()


def fork(work: Callable[[], None]) -> int:
    """Start a fork that does some work as a program of its own; return its pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)  # Ctrl-C is the parent's
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise Become(work)


def side(work: Callable[[], None]) -> int:
    """Start a fork that does some work and ends at once, without an interpreter's end."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except Become:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stderr.flush()
    os._exit(code)


def redirect(folder: Path) -> None:
    """Send the output of this program to the files ``out`` and ``err`` of a folder."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)


def wait(pid: int, timeout_s: float) -> int | None:
    """Wait for the end of a fork; return its exit code, negative for a signal, None if it runs."""
    until_s = time.monotonic() + timeout_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until_s:
            return None
        time.sleep(_LOOK_S)


def ended(pid: int) -> bool:
    """Return whether a fork has ended; `wait` still returns its exit code."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(pid: int, timeout_s: float) -> int | None:
    """Ask a fork to stop; return its exit code, None if it runs on."""
    os.kill(pid, signal.SIGTERM)
    return wait(pid, timeout_s)


def kill(pid: int) -> None:
    """Kill a fork and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def in_turn(works: "list[Callable[[], None]]", jobs: int, progress: Callable[[int], None]) -> None:
    """Do works in forks, some at a time.

    Args:
        works: The works.
        jobs: How many at a time.
        progress: Called with the number of those that are done.
    """
    left, running, done = list(works), 0, 0
    while left or running:
        if left and running < jobs:
            side(left.pop(0))
            running += 1
            continue
        os.wait()
        running -= 1
        done += 1
        progress(done)
