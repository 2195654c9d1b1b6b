"""What records of real processes say of working sets whose size is known."""

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

DAMON = Path(sys.executable).with_name("damon")

#: Mappings of 100 MiB together, all in memory, of which the first tenth is written to all the time.
#: They are shared ones, which the kernel never joins with others.
HALF_HOT = """
import mmap, sys, time
count = int(sys.argv[1])
size = (100 << 20) // count // 40960 * 40960  # ten pages, or a multiple
mappings = [mmap.mmap(-1, size) for _ in range(count)]
for memory in mappings:
    memory[::4096] = bytes(size >> 12)
print(count * size // 10, flush=True)
hot = bytes(size // 10 >> 12)
while True:
    for memory in mappings:
        memory[: size // 10 : 4096] = hot
    time.sleep(0.005)
"""


@pytest.fixture(scope="module", params=[1, 1000], ids=["one mapping", "1000 mappings"])
def half_hot(request: pytest.FixtureRequest) -> Generator[tuple[int, int], None, None]:
    """The process, with one mapping or with 1,000: its pid, and the bytes that it writes to."""
    program = [sys.executable, "-c", HALF_HOT, str(request.param)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def damon(*arguments: str) -> str:
    """Return what a command prints."""
    return subprocess.run(
        [DAMON, *arguments], capture_output=True, text=True, timeout=120, check=True
    ).stdout


@pytest.mark.slow
@pytest.mark.parametrize(("checks", "budget"), [(1, "50%"), (10, "10%"), (50, "1%"), (50, "50%")])
def test_the_working_set_depends_on_neither_checks_nor_budget(
    half_hot: tuple[int, int], tmp_path: Path, checks: int, budget: str
) -> None:
    """A tenth of the memory is in use, however often anybody looks."""
    pid, hot_bytes = half_hot
    output = tmp_path / "out.parquet"
    damon(
        *("record", "--backend", "referenced", "--pid", str(pid), "-o", str(output)),
        *("--sampling", f"{200 // checks}ms", "--aggregation", "200ms", "--for", "3s"),
        *("--cpu-budget", budget),
    )
    report = json.loads(damon("report", "wss", str(output), "--mapping", "/dev/zero*", "--json"))
    (working_set,) = report["working_sets"]
    assert hot_bytes <= working_set["percentiles_bytes"]["50"] <= 1.2 * hot_bytes
