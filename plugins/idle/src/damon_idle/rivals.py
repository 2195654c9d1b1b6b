"""Rivals: others that clear accessed bits or use idle marks at the same time."""

import contextlib
import fcntl
import os
import re
from pathlib import Path

from damon_vaddr import kernel_threads

from damon_idle.bitmap import BITMAP


def lock(descriptor: int) -> bool:
    """Lock the marks, as a sign to other monitors; return whether no other has locked them.

    The lock is held until the descriptor is closed.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def find_rivals(locked: bool | None, bitmap: Path = BITMAP, root: Path = Path("/")) -> list[str]:
    """Return a description of each rival, for messages.

    Args:
        locked: Whether this process has the lock; None if it hasn't tried to get it.
        bitmap: The file with the marks.
        root: The directory with `proc` and `sys`.
    """
    rivals = [] if locked else _lockers(bitmap, root)
    kdamonds = _kdamonds(root)
    if kdamonds:
        rivals.append(f"the kernel's own DAMON is running ({', '.join(kdamonds)})")
    return rivals


def _lockers(bitmap: Path, root: Path) -> list[str]:
    """Return the other processes that have locked the marks."""
    try:
        status = os.stat(bitmap)
        locks = (root / "proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    device = status.st_dev
    # A line: "1: FLOCK  ADVISORY  WRITE PID MAJOR:MINOR:INODE 0 EOF", the device in hexadecimal.
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}"
    own = _own_pid(root)
    pids = re.findall(rf"(?m)^\d+: FLOCK .* (\d+) {re.escape(place)} ", locks)
    return [
        f"another monitor (pid {pid}) uses the marks" for pid in dict.fromkeys(pids) if pid != own
    ]


def _own_pid(root: Path) -> str:
    """Return the pid of this program in the pid namespace that /proc belongs to."""
    try:
        return os.readlink(root / "proc/self")
    except OSError:
        return str(os.getpid())


def _kdamonds(root: Path) -> list[str]:
    """Return the running kdamond threads of the kernel, or the directories that are on."""
    threads = kernel_threads(r"kdamond\..*", root / "proc")
    if threads:
        return [f"{name}, pid {pid}" for pid, name in threads.items()]
    found = []
    for state in sorted(root.glob("sys/kernel/mm/damon/admin/kdamonds/*/state")):
        with contextlib.suppress(OSError):
            if state.read_text(encoding="ascii", errors="replace").strip() == "on":
                found.append(f"kdamonds/{state.parent.name}")
    return found
