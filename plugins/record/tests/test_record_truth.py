"""What records of real processes say of working sets whose size is known."""

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

DAMON = Path(sys.executable).with_name("damon")
MIB = 1 << 20

#: A mapping of 100 MiB, all in memory, of which the first 10 MiB are written to all the time. It is
#: a shared one, which the kernel never joins with others.
HALF_HOT = """
import mmap, time
memory = mmap.mmap(-1, 100 << 20)
memory[::4096] = bytes((100 << 20) >> 12)
print("ready", flush=True)
while True:
    memory[: 10 << 20 : 4096] = bytes((10 << 20) >> 12)
    time.sleep(0.005)
"""


@pytest.fixture(scope="module")
def half_hot() -> Generator[int, None, None]:
    """The process; its pid."""
    with subprocess.Popen([sys.executable, "-c", HALF_HOT], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def damon(*arguments: str) -> str:
    """Return what a command prints."""
    return subprocess.run(
        [DAMON, *arguments], capture_output=True, text=True, timeout=120, check=True
    ).stdout


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["1%", "10%", "50%"])
@pytest.mark.parametrize("checks", [1, 2, 5, 10, 50])
def test_the_working_set_depends_on_neither_checks_nor_budget(
    half_hot: int, tmp_path: Path, checks: int, budget: str
) -> None:
    """10 MiB of one mapping are in use, however often anybody looks."""
    output = tmp_path / "out.parquet"
    damon(
        *("record", "--backend", "referenced", "--pid", str(half_hot), "-o", str(output)),
        *("--sampling", f"{200 // checks}ms", "--aggregation", "200ms", "--for", "3s"),
        *("--cpu-budget", budget),
    )
    report = json.loads(damon("report", "wss", str(output), "--mapping", "/dev/zero*", "--json"))
    (working_set,) = report["working_sets"]
    assert 10 * MIB <= working_set["percentiles_bytes"]["50"] <= 12 * MIB
