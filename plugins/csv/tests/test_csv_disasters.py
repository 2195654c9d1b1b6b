"""A full disk and kill -9, for real."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from damon_csv import CsvFile

from damon_core import DamonError, Rotation, moved_aside

HEADER = b"time_us,value\n"


def rows_of(number: int) -> bytes:
    """Return an aggregation of 100 rows that differs from others."""
    return b"".join(b"%d,%d\n" % (number, line) for line in range(100))


@pytest.mark.needs("root")
def test_a_full_disk_costs_whole_aggregations_only(small_disk: Callable[[int], Path]) -> None:
    """What was written stays, what doesn't fit is left out whole, and later rows follow."""
    disk = small_disk(64)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(40_960))
    path = disk / "out.csv"
    file = CsvFile(path, HEADER)
    written = []
    reasons = set()
    for number in range(1000, 1100):
        try:
            file.append(rows_of(number), number)
        except DamonError as error:
            reasons.add(str(error).rpartition(": ")[2])
        else:
            written.append(number)
    assert 0 < len(written) < 100
    assert reasons == {os.strerror(errno.ENOSPC)}
    assert path.read_bytes() == HEADER + b"".join(map(rows_of, written))

    ballast.unlink()
    file.append(rows_of(2000), 2000)
    file.close()
    assert path.read_bytes() == HEADER + b"".join(map(rows_of, [*written, 2000]))


@pytest.mark.needs("root")
def test_a_full_disk_while_rotating_loses_no_file(small_disk: Callable[[int], Path]) -> None:
    """Rotated files and the present one are whole, and writing goes on when there is room."""
    path = small_disk(64) / "out.csv"
    file = CsvFile(path, HEADER, Rotation(size_bytes=4_000))
    written = []
    for number in range(1000, 1200):
        try:
            file.append(rows_of(number), number)
        except DamonError:
            break
        written.append(number)
    assert len(moved_aside(path)) > 3
    oldest = moved_aside(path)[0]
    removed = oldest.read_bytes()
    oldest.unlink()
    file.append(rows_of(2000), 2000)
    file.close()
    parts = [part.read_bytes() for part in [*moved_aside(path), path]]
    assert all(part.startswith(HEADER) for part in parts)
    rows = b"".join(part.removeprefix(HEADER) for part in [removed, *parts])
    assert rows == b"".join(map(rows_of, [*written, 2000]))


def test_a_file_size_limit_costs_whole_aggregations_only(tmp_path: Path) -> None:
    """A short write, which a limit on the process gives as a full disk does."""
    path = tmp_path / "out.csv"
    program = f"""
        import resource
        from pathlib import Path
        from damon_core import DamonError
        from damon_csv import CsvFile
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        file = CsvFile(Path({str(path)!r}), {HEADER!r})
        for number in range(3):
            try:
                file.append(b"%d,rows\\n" % number * 300, number)
            except DamonError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert b"File too large" in done.stdout
    assert path.read_bytes() == HEADER + b"0,rows\n" * 300 + b"1,rows\n" * 300


@pytest.mark.slow
def test_kill_9_leaves_whole_rows_to_go_on_from(tmp_path: Path) -> None:
    """Every aggregation that was acknowledged before the kill is there, in whole rows."""
    path = tmp_path / "out.csv"
    program = f"""
        import itertools, os
        from pathlib import Path
        from damon_core import Rotation
        from damon_csv import CsvFile
        file = CsvFile(Path({str(path)!r}), {HEADER!r}, Rotation(size_bytes=10_000_000))
        number = int(input())
        while True:
            file.append(b"%d,%s\\n" % (number, b"v" * 90) * 5_000, number)
            os.write(1, b"%d\\n" % number)
            number += 1
    """
    acknowledged = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(b"%d\n" % (acknowledged + 1))
            writer.stdin.flush()
            for _ in range(20):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            acknowledged = int([b"%d" % acknowledged, *writer.stdout.read().split()][-1])

        file = CsvFile(path, HEADER)
        file.open()
        file.close()
        count: dict[int, int] = {}
        for part in [*moved_aside(path), path]:
            header, *rows = part.read_bytes().splitlines(keepends=True)
            assert header == HEADER
            for row in rows:
                time_us, _, value = row.partition(b",")
                assert value == b"v" * 90 + b"\n"
                count[int(time_us)] = count.get(int(time_us), 0) + 1
        assert all(count[number] >= 5_000 for number in range(1, acknowledged + 1))
