"""Opening the files of idle page tracking: errors, warnings, and the probe."""

import contextlib
import fcntl
import logging
import os
from pathlib import Path

from damon_vaddr import find_rivals, rivals_finding

from damon_core import Finding, PluginError
from damon_idle.bitmap import BITMAP
from damon_idle.marking import Marking

logger = logging.getLogger(__name__)

_NEEDS_ROOT = "run as root, with CAP_SYS_ADMIN"
_NEEDS_PAGE_MONITOR = "the kernel needs CONFIG_PROC_PAGE_MONITOR"
_NEEDS_OPTION = (
    "the kernel needs CONFIG_IDLE_PAGE_TRACKING (Ubuntu, Fedora, RHEL and Amazon Linux have it,"
    " Debian doesn't)"
)


def open_marking() -> Marking:
    """Open the files; log a warning if others clear the same accessed bits.

    Raises:
        PluginError: A file doesn't exist or may not be opened by this user.
    """
    try:
        marking = Marking()
    except FileNotFoundError as error:
        reason = _NEEDS_OPTION if error.filename == str(BITMAP) else _NEEDS_PAGE_MONITOR
        raise PluginError("idle", f"{error.filename} doesn't exist: {reason}") from error
    except OSError as error:
        raise PluginError("idle", f"{error.filename}: {error.strerror}; {_NEEDS_ROOT}") from error
    lock(marking.bitmap.descriptor)
    if rivals := find_rivals():
        logger.warning(
            "idle page tracking: %s; both clear accessed bits, so each may miss accesses",
            "; ".join(rivals),
        )
    return marking


def lock(descriptor: int) -> None:
    """Lock the marks, as a sign to other monitors, unless one has locked them.

    The lock is held until the descriptor is closed.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def frames_hidden() -> PluginError:
    """Return the error to raise if the kernel doesn't show page frames."""
    return PluginError(
        "idle", f"/proc/PID/pagemap shows no page frames: CAP_SYS_ADMIN is missing; {_NEEDS_ROOT}"
    )


def probe_marks() -> tuple[Finding, ...]:
    """Report whether this user can open the files, and whether others use the marks."""
    return (
        _opens(BITMAP, os.O_RDWR, _NEEDS_OPTION),
        _opens(Path("/proc/kpageflags"), os.O_RDONLY, _NEEDS_PAGE_MONITOR),
        rivals_finding(),
    )


def probe_frames() -> Finding:
    """Report whether pagemap shows page frames."""
    name = "page frames in /proc/PID/pagemap"
    # A page of this program that is certainly in memory: that of a variable.
    here = id(name)
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            entry = int.from_bytes(os.pread(file.fileno(), 8, here // 4096 * 8), "little")
    except OSError as error:
        return Finding(name, False, f"{error.strerror}: {_NEEDS_PAGE_MONITOR}")
    shown = bool(entry & (1 << 55) - 1)
    return Finding(name, shown, "" if shown else f"CAP_SYS_ADMIN is missing: {_NEEDS_ROOT}")


def _opens(path: Path, flags: int, needs: str) -> Finding:
    try:
        os.close(os.open(path, flags | os.O_CLOEXEC))
    except FileNotFoundError:
        return Finding(str(path), False, f"it doesn't exist: {needs}")
    except OSError as error:
        return Finding(str(path), False, f"{error.strerror}: {_NEEDS_ROOT}")
    return Finding(str(path), True)
