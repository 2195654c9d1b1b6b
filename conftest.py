"""What tests need of the machine: `@pytest.mark.needs("redis-server", "root")`.

A test whose needs aren't met is skipped with the reason. With DAMON_TEST_SKIPS=fail, as in
`.ci/run`, it fails instead: nothing is skipped silently there. Needs of the kernel, such as
"idle-page-tracking", are met in the lab: see tests/lab/README.md.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.lab.needs import KERNEL_NEEDS, why_unmet

pytest_plugins = ["tests.lab.plugin", "tests.workers"]

# A busy machine is slow, not wrong.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_NEEDS_COMPILER = (
    "needs damon-idle-native: apt-get install gcc libc6-dev python3-dev; rm .venv/installed-dev; "
    "make .venv/installed-dev"
)
_HINTS = {
    "alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}


def _missing(need: str) -> str | None:
    """Return why a need isn't met, or None if it is."""
    if need == "root":
        return None if os.geteuid() == 0 else "needs root: run the tests as root"
    if need in KERNEL_NEEDS:
        return why_unmet(need)
    if need == "idle-helper":
        return None if importlib.util.find_spec("damon_idle_native") else _NEEDS_COMPILER
    if need == "lab":
        return None if os.environ.get("DAMON_LAB_KERNELS") else "needs the lab: run make lab"
    program = {"alertmanager": "prometheus-alertmanager"}.get(need, need)
    if shutil.which(program) is None:
        return f"needs the program {program}: apt-get install {_HINTS.get(need, need)}"
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "needs(*names): programs on the PATH, 'root', 'lab', or features of the kernel, without "
        "which a test can't run",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test, or fail it in CI, that can't run here."""
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            reason = _missing(need)
            if reason is not None:
                if os.environ.get("DAMON_TEST_SKIPS") == "fail":
                    pytest.fail(reason)
                pytest.skip(reason)


@pytest.fixture
def in_terminal() -> Callable[..., str]:
    """Return what runs a command in a terminal, which has to succeed, and returns what it shows."""

    def run(command: Sequence[object], columns: int = 80, **others: Any) -> str:
        controller, terminal = os.openpty()
        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal} | others
        environment = {**os.environ, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm"}
        with subprocess.Popen(list(map(str, command)), env=environment, **streams) as program:
            os.close(terminal)
            parts = []
            with contextlib.suppress(OSError):  # EIO: the other side is closed
                while part := os.read(controller, 65_536):
                    parts.append(part)
            os.close(controller)
            shown = b"".join(parts).decode()
            assert program.wait(120) == 0, shown
        return shown

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return what mounts an empty file system of some KiB and returns where; it needs root."""
    directory = tmp_path / "disk"
    directory.mkdir()

    def mount(size_kib: int) -> Path:
        options = f"size={size_kib}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", directory], check=True)
        return directory

    try:
        yield mount
    finally:
        if directory.is_mount():
            subprocess.run(["umount", directory], check=True)
