"""Rivals: others that clear the accessed bits of the same memory at the same time."""

import contextlib
import os
import re
from pathlib import Path

from damon_core import Finding
from damon_vaddr.procfs import kernel_threads

#: The marks of idle page tracking. Monitors that use them lock the file, as a sign to others.
_IDLE_MARKS = Path("/sys/kernel/mm/page_idle/bitmap")


def find_rivals(root: Path = Path("/"), marks: Path = _IDLE_MARKS) -> list[str]:
    """Return a description of each rival that can be seen, for messages.

    These are the kernel's own DAMON and programs that have locked the marks of idle page tracking.
    Others that use clear_refs leave no trace.

    Args:
        root: The directory with `proc` and `sys`.
        marks: The file with the marks.
    """
    rivals = [f"another monitor (pid {pid}) uses idle marks" for pid in _lockers(marks, root)]
    if kdamonds := _kdamonds(root):
        rivals.append(f"the kernel's own DAMON is running ({', '.join(kdamonds)}){_to_end(root)}")
    return rivals


def rivals_finding(root: Path = Path("/")) -> Finding:
    """Report for ``damon doctor`` whether there are rivals; results are limited by them."""
    rivals = find_rivals(root)
    detail = f"{'; '.join(rivals)}; each may miss accesses" if rivals else ""
    name = "accessed bits for this program alone"
    return Finding(name, not rivals, detail, required=False)


def _lockers(path: Path, root: Path) -> list[str]:
    """Return the pids of the other processes that have locked a file."""
    try:
        status = os.stat(path)
        locks = (root / "proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    device = status.st_dev
    # A line: "1: FLOCK  ADVISORY  WRITE PID MAJOR:MINOR:INODE 0 EOF", the device in hexadecimal.
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}"
    own = _own_pid(root)
    pids = re.findall(rf"(?m)^\d+: FLOCK .* (\d+) {re.escape(place)} ", locks)
    return [pid for pid in dict.fromkeys(pids) if pid != own]


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
    # In a container threads of the kernel are hidden.
    states = root.glob("sys/kernel/mm/damon/admin/kdamonds/*/state")
    return [f"kdamonds/{path.parent.name}" for path in sorted(states) if _text(path) == "on"]


def _to_end(root: Path) -> str:
    """Return how to switch off what of the kernel has started DAMON; nothing if nothing has."""
    found = sorted(root.glob("sys/module/damon_*/parameters/enabled"))
    return "".join(
        f", {path.parts[-3].upper()} is on: write N to /{path.relative_to(root)} to switch it off"
        for path in found
        if _text(path) == "Y"
    )


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""
