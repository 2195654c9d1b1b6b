"""The lab itself: its machines meet the needs of tests, and results are reported to the host."""

import ctypes
import mmap
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.plugin import KERNELS

PROJECT = {
    "conftest.py": """
        import pytest
        from tests.lab.needs import KERNEL_NEEDS, KernelNeed

        pytest_plugins = ["tests.lab.plugin"]
        KERNEL_NEEDS["a-miracle"] = KernelNeed(lambda: False)

        def pytest_configure(config):
            config.addinivalue_line("markers", "needs(*names): as in the project's conftest.py")
        """,
    "test_inside.py": """
        import os
        from pathlib import Path
        import pytest

        @pytest.mark.needs("kernel-damon")
        @pytest.mark.parametrize("name", ["damon-lab", "elsewhere"])
        def test_host(name):
            print("printed inside")
            assert os.uname().nodename == name

        @pytest.mark.needs("a-miracle")
        def test_impossible():
            pass

        @pytest.mark.needs("kernel-damon")
        def test_skipped_inside():
            pytest.skip("for a reason")

        @pytest.mark.needs("kernel-damon")
        def test_power_fails():
            Path("/proc/sysrq-trigger").write_text("b")

        @pytest.mark.needs("kernel-damon")
        def test_after_it():
            pass
        """,
}


@pytest.mark.needs("idle-page-tracking", "root")
def test_an_idle_page_is_idle_until_it_is_accessed() -> None:
    """The mark stays in the bitmap until the page is accessed."""
    # With enough pages, the first one is no longer in a batch of pages to be added to LRU lists.
    area = mmap.mmap(-1, 256 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area[:: mmap.PAGESIZE] = b"x" * 256
    page = ctypes.addressof(ctypes.c_char.from_buffer(area)) // mmap.PAGESIZE
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        (entry,) = struct.unpack("Q", os.pread(pagemap.fileno(), 8, page * 8))
    frame = entry & ((1 << 55) - 1)
    offset, bit = frame // 64 * 8, 1 << frame % 64
    with open("/sys/kernel/mm/page_idle/bitmap", "r+b", buffering=0) as bitmap:

        def idle() -> bool:
            (word,) = struct.unpack("Q", os.pread(bitmap.fileno(), 8, offset))
            return bool(word & bit)

        os.pwrite(bitmap.fileno(), struct.pack("Q", bit), offset)
        assert idle()
        deadline = time.monotonic() + 300
        while idle():
            assert time.monotonic() < deadline, "accesses weren't detected within 300 s"
            # Another process has to run in between, to empty the emulated TLB.
            subprocess.run(["true"], check=True)
            assert area[0] == ord("x")


@pytest.mark.needs("kernel-damon")
def test_kernel_damon_can_monitor_processes() -> None:
    """Its sysfs files make kdamonds with the operations `vaddr`."""
    kdamonds = Path("/sys/kernel/mm/damon/admin/kdamonds")
    (kdamonds / "nr_kdamonds").write_text("1")
    try:
        (kdamonds / "0/contexts/nr_contexts").write_text("1")
        offered = (kdamonds / "0/contexts/0/avail_operations").read_text().split()
    finally:
        (kdamonds / "nr_kdamonds").write_text("0")
    assert "vaddr" in offered


@pytest.mark.needs("kernel-damon")
def test_there_is_one_processor_unless_a_test_needs_two() -> None:
    """With more, accesses are missed because of the emulated TLB."""
    assert os.cpu_count() == 1


@pytest.mark.needs("two-processors", "memory-cgroup", "numa-nodes")
def test_a_program_can_run_on_either_of_two_processors() -> None:
    """Both processors run it."""
    allowed = os.sched_getaffinity(0)
    ran_on = set()
    try:
        for processor in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {processor})
            ran_on.add(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[36])
    finally:
        os.sched_setaffinity(0, allowed)
    assert len(ran_on) == 2


@pytest.mark.needs("zram-swap")
def test_there_is_swap_during_a_test_that_needs_it(zram_swap: Path) -> None:
    """The fixture's device is in use."""
    assert str(zram_swap) in Path("/proc/swaps").read_text()


@pytest.mark.needs("lab")
def test_results_of_the_lab_are_reported_here(tmp_path: Path) -> None:
    """A pass, a failure with traceback and output, a skip, an unmet need, the machine's end."""
    for name, text in PROJECT.items():
        (tmp_path / name).write_text("\n".join(line[8:] for line in text.splitlines()))
    environment = os.environ | {KERNELS: os.environ[KERNELS].split(os.pathsep)[0]}
    environment.pop("DAMON_TEST_SKIPS", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", f"--rootdir={tmp_path}", "--color=no", tmp_path],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "3 failed, 1 passed, 2 skipped" in done.stdout, done.stdout + done.stderr
    assert "for a reason" in done.stdout
    assert "AssertionError: assert 'damon-lab' == 'elsewhere'" in done.stdout
    assert "printed inside" in done.stdout
    assert "FAILED test_inside.py::test_power_fails - " in done.stdout
    assert "the machine ended before this test did" in done.stdout
    assert "no kernel of the lab meets this" in done.stdout
