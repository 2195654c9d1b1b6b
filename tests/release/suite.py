"""The tests of all packages on what is installed, in a copy of the checkout without their code."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.release.installing import Installation
from tests.release.packages import FOLDERS, ROOT, development_requirements, modules
from tests.release.programs import ReleaseError


def remove_code(source: Path) -> None:
    """Remove the code of all packages from a copy of the checkout: tests are to find none there."""
    for name in FOLDERS:
        for module in modules(name):
            shutil.rmtree(source / module.relative_to(ROOT))


def run_tests(
    installation: Installation, source: Path, *arguments: str, show: Callable[[str], object]
) -> str:
    """Run the tests of a copy without code; return the last line that pytest prints.

    Raises:
        ReleaseError: What tests need can't be installed, or a test fails.
    """
    installation.pip_install(*development_requirements())
    python = str(installation.scripts / "python")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    # `tests` is imported from there, by programs that tests start, too.
    environment = installation.environment | {"PYTHONPATH": str(source)}
    with subprocess.Popen(
        command,
        cwd=source,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            show(line)
            last = line.strip() or last
    if process.returncode:
        raise ReleaseError(f"the tests failed: {last}")
    return last
