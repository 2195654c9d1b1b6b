"""More processes than `damon run` may open files for."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from damon_core.testing import eventually, free_port

DAMON = Path(sys.executable).parent / "damon"
#: The processes, the shell that starts them among them; and how many files may be open. The soft
#: limit may be raised, but not to what all of them need.
PROCESSES, SOFT, HARD = 81, 40, 128
CONFIG = """
[[context]]
name = "many"
[context.primitive]
use = "vaddr"
pid = {pid}
descendants = true
backend = "referenced"
[[context.callback]]
use = "prometheus"
port = {port}
"""


@contextmanager
def _processes() -> Iterator[int]:
    """Run a shell with sleeping children during the block; return its pid."""
    children = "sleep 600 & " * (PROCESSES - 1)
    parent = subprocess.Popen(["sh", "-c", f"{children} wait"], start_new_session=True)
    try:
        yield parent.pid
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


@contextmanager
def _damon(file: Path) -> Iterator[None]:
    limited = f'ulimit -S -n {SOFT} && ulimit -H -n {HARD} && exec "$0" run "$1"'
    process = subprocess.Popen(["sh", "-c", limited, DAMON, file], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_what_open_files_do_not_suffice_for_is_left_out(tmp_path: Path) -> None:
    """It is counted with the reason; several clients at once are served metrics of all others."""
    port = free_port()

    def metrics() -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        found = re.findall(r'(?m)^(damon_targets\w*)\{context="many"(.*)\} (\d+)', text)
        return {name + labels: int(value) for name, labels, value in found}

    def all_are_known() -> bool:
        try:
            return sum(metrics().values()) == PROCESSES
        except OSError:
            return False

    with _processes() as pid:
        file = tmp_path / "damon.toml"
        file.write_text(CONFIG.format(pid=pid, port=port))
        with _damon(file):
            eventually(all_are_known, 60)
            with ThreadPoolExecutor(8) as clients:
                answers = list(clients.map(lambda _: metrics(), range(8)))
    for found in answers:
        assert 30 < found["damon_targets"] < HARD // 2
        assert sum(found.values()) == PROCESSES
        assert 'damon_targets_left_out,reason="open_files"' in found
