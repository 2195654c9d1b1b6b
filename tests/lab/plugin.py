"""A pytest plugin that runs tests with kernel needs in the lab and reports their results here.

With DAMON_LAB_KERNELS (paths of kernel images, separated by colons) each such test runs on all
kernels that meet its needs. Without it they run here, or `conftest.py` skips them.
"""

import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.lab.errors import LabError
from tests.lab.kernel import Kernel
from tests.lab.needs import kernel_needs
from tests.lab.replay import run_in_lab

KERNELS = "DAMON_LAB_KERNELS"

_kernels = pytest.StashKey[list[Kernel]]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and open the kernels."""
    config.addinivalue_line("markers", "lab: set on tests with kernel needs, to select them")
    paths = list(filter(None, os.environ.get(KERNELS, "").split(os.pathsep)))
    if paths and config.getoption("numprocesses", None):
        raise pytest.UsageError(f"{KERNELS} is set, and machines run tests themselves: use -n 0")
    try:
        config.stash[_kernels] = [Kernel.open(Path(path)) for path in paths]
    except LabError as error:
        raise pytest.UsageError(f"{KERNELS}: {error}") from None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests with kernel needs, and those of the lab itself, so that `-m lab` selects them.

    `-k` knows kernel needs by their names, with underscores.
    """
    item.extra_keyword_matches.update(need.replace("-", "_") for need in kernel_needs(item))
    if kernel_needs(item) or any("lab" in marker.args for marker in item.iter_markers("needs")):
        item.add_marker("lab")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run tests without kernel needs here, then the others in the lab."""
    kernels = session.config.stash[_kernels]
    if not kernels or session.config.option.collectonly:
        return (yield)
    tests = [item for item in session.items if kernel_needs(item)]
    session.items[:] = [item for item in session.items if not kernel_needs(item)]
    result = yield
    run_in_lab(session, tests, kernels)
    return result


@pytest.fixture
def zram_swap() -> Iterator[Path]:
    """Swap to 256 MiB of compressed memory during a test; the test needs "zram-swap"."""
    device = Path("/dev/zram0")
    settings = Path("/sys/block/zram0")
    (settings / "disksize").write_text("256M")
    subprocess.run(["busybox", "mkswap", device], check=True, capture_output=True)
    subprocess.run(["busybox", "swapon", device], check=True)
    yield device
    subprocess.run(["busybox", "swapoff", device], check=True)
    (settings / "reset").write_text("1")
