"""What /proc says of processes and their threads."""

import os
import re
from pathlib import Path

from attrs import frozen

_PROC = "/proc"
_CAP_DAC_OVERRIDE, _CAP_SYS_PTRACE = 1, 19
#: The states of threads that have exited, and the kernel's flag of its own threads.
_EXITED = frozenset("ZXx")
#: The thread of the kernel that starts all others.
_KTHREADD = 2
_PF_KTHREAD = 0x0020_0000
#: The kernel keeps this many bytes of a name, and programs may have longer ones.
_COMM_BYTES = 15


@frozen
class Stat:
    """Part of a `/proc/PID/stat` or `/proc/PID/task/TID/stat`.

    Attributes:
        name: The name of the thread, at most 15 bytes.
        has_exited: Whether the thread has exited. Other threads of its process may go on.
        parent: The pid of the parent.
        threads: The number of threads of the process.
        started: The start time, in clock ticks since boot.
        is_of_kernel: Whether it is a thread of the kernel, without memory of a user.
    """

    name: bytes
    has_exited: bool
    parent: int
    threads: int
    started: int
    is_of_kernel: bool


def read_stat(process: int | str, proc: str | Path = _PROC) -> Stat:
    """Return what `/proc/PID/stat` says.

    Args:
        process: The pid, or such as ``PID/task/TID`` for a thread.
        proc: The mount of procfs.

    Raises:
        ProcessLookupError: There is no such process, or it is hidden.
        OSError: Another failure, such as too many open files.
    """
    try:
        # It is read often, and the file objects of Python take as long as the kernel.
        descriptor = os.open(f"{proc}/{process}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ProcessLookupError(process) from error
    try:
        text = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    # The name is in parentheses and may contain anything, even parentheses.
    before, _, after = text.rpartition(b")")
    fields = after.split()
    if len(fields) < 20:  # it has just ended
        raise ProcessLookupError(process)
    return Stat(
        name=before.partition(b"(")[2],
        has_exited=fields[0].decode("ascii") in _EXITED,
        parent=int(fields[1]),
        threads=int(fields[17]),
        started=int(fields[19]),
        is_of_kernel=bool(int(fields[6]) & _PF_KTHREAD),
    )


def living_thread(pid: int, proc: str | Path = _PROC) -> int | None:
    """Return the id of a thread that hasn't exited: the first one of the process, or the oldest.

    The first thread may exit while others go on. Then the files in `/proc/PID` are without
    memory, but those in `/proc/PID/task/TID` are the process's.

    Returns:
        The id; None if the process has ended, or is hidden.
    """
    try:
        if not read_stat(pid, proc).has_exited:
            return pid
        threads = sorted(map(int, os.listdir(f"{proc}/{pid}/task")))
    except (ProcessLookupError, FileNotFoundError):
        return None
    for thread in threads:
        try:
            if not read_stat(f"{pid}/task/{thread}", proc).has_exited:
                return thread
        except ProcessLookupError:
            continue
    return None


def thread_group(thread: int) -> int | None:
    """Return the pid of the process that a thread belongs to; None if /proc doesn't show it."""
    try:
        with open(f"{_PROC}/{thread}/status", "rb") as file:
            found = re.search(rb"(?m)^Tgid:\s+(\d+)", file.read())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return int(found[1]) if found else None


def name_of(pid: int) -> str:
    """Return the name of a process: printable, and whole where the kernel has cut it off.

    Raises:
        ProcessLookupError: There is no such process, or it is hidden.
        OSError: Another failure, such as too many open files.
    """
    name = read_stat(pid).name
    if len(name) == _COMM_BYTES:
        longer = os.path.basename(command_line(pid).partition(b"\0")[0])
        name = longer if longer.startswith(name) else name
    return printable(os.fsdecode(name))


def command_line(pid: int) -> bytes:
    """Return the arguments of a process, each with a zero byte behind it.

    Raises:
        ProcessLookupError: There is no such process, or it is hidden.
        OSError: Another failure, such as too many open files.
    """
    thread = living_thread(pid)
    if thread is None:
        raise ProcessLookupError(pid)
    try:
        with open(f"{_PROC}/{pid}/task/{thread}/cmdline", "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error


def printable(text: str) -> str:
    """Return a text of a program for users: it may be any bytes, which not every output accepts."""
    return "".join(char if char.isprintable() else "?" for char in text)


def pids(proc: str | Path = _PROC) -> list[int]:
    """Return the pids of all processes that /proc shows."""
    return [int(name) for name in os.listdir(proc) if name.isdecimal()]


def kernel_threads(name: str, proc: str | Path = _PROC) -> dict[int, str]:
    """Return the names of the kernel's threads whose name matches a pattern, by pid.

    Processes of users may have any name; they are left out.
    """
    found = {}
    for pid in _kernel_pids(proc):
        try:
            stat = read_stat(pid, proc)
        except OSError:  # it has ended meanwhile
            continue
        text = stat.name.decode("utf-8", "replace")
        if stat.is_of_kernel and re.fullmatch(name, text):
            found[pid] = text
    return found


def _kernel_pids(proc: str | Path) -> list[int]:
    """Return pids among which are all threads of the kernel: those alone, if that is known.

    They are the children of kthreadd. A host may have thousands of other processes.
    """
    try:
        with open(f"{proc}/{_KTHREADD}/task/{_KTHREADD}/children", "rb") as file:
            children = list(map(int, file.read().split()))
        # In a pid namespace another process has its pid.
        if read_stat(_KTHREADD, proc).is_of_kernel:
            return children
    except (OSError, ValueError):  # the kernel has no CONFIG_PROC_CHILDREN
        pass
    return pids(proc)


def may_read_others() -> bool:
    """Return whether this program has what reading and clearing processes of others takes."""
    with open(f"{_PROC}/thread-self/status", "rb") as file:
        effective = next((line for line in file if line.startswith(b"CapEff:")), b"CapEff: 0")
    held = int(effective.split()[1], 16)
    return all(held >> number & 1 for number in (_CAP_DAC_OVERRIDE, _CAP_SYS_PTRACE))


def proc_problem(proc: str | Path = _PROC) -> str | None:
    """Return why the pids in /proc aren't those that this program knows; None if they are.

    In a pid namespace with the /proc of another one, its pids are those of other processes.
    """
    remedy = "mount one for this pid namespace: mount -t proc proc /proc, or unshare --mount-proc"
    try:
        with open(f"{proc}/self/status", "rb") as file:
            found = re.search(rb"(?m)^NSpid:\s+(.*)$", file.read())
        # The pid in each namespace, from that of /proc to that of this program.
        same = len(found[1].split()) == 1 if found else _self(proc) == os.getpid()
    except OSError:
        return (
            f"it isn't mounted, or belongs to a pid namespace that this program isn't in: {remedy}"
        )
    if same:
        return None
    return f"it belongs to another pid namespace, where pids mean other processes: {remedy}"


def _self(proc: str | Path) -> int:
    return int(os.readlink(f"{proc}/self"))
