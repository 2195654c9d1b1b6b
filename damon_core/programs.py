"""Programs that users name: whether they can be started."""

import os
import shutil
import stat
from pathlib import Path


def why_not_a_program(name: str) -> str | None:
    """Return why a program can't be started, and what to do; None if it can.

    Args:
        name: Its path, or its name on the PATH.
    """
    if shutil.which(name) is not None:
        return None
    if not name:
        return "its name is empty"
    if os.path.dirname(name):
        return _why_not(Path(name)) or "there is no such file"
    for folder in os.get_exec_path():
        path = Path(folder, name)
        if path.is_file() and (reason := _why_not(path)):
            return f"{path}: {reason}"
    reason = "there is no program with this name on the PATH"
    if os.path.exists(name):
        return f"{reason}: for the one in this directory write ./{name}"
    return reason


def _why_not(path: Path) -> str | None:
    """Return why a file can't be executed; None if it isn't there, or not to be seen."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return "it is a directory, not a program"
    if not mode & 0o111:
        return "it isn't executable: chmod +x it, or start it with its interpreter"
    return "it may not be executed by this user, or from this file system"
