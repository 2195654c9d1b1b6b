"""Other programs, whose failure is the failure of a release."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


class ReleaseError(Exception):
    """What can't be released, and why."""


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it prints.

    Raises:
        ReleaseError: It failed; the message has what it printed.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if done.returncode:
        line = " ".join(map(str, command))
        raise ReleaseError(f"{line}\nexit code {done.returncode}\n{done.stdout}")
    return done.stdout
