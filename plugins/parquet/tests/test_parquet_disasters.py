"""What is left when writing ends badly: kill -9, a power cut, a full disk; and what was there."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from damon_parquet.reader import ParquetReader
from damon_parquet.writer import ParquetWriter

from damon_core import Area, ContextInfo, DamonError, InputError, RecordInfo, Snapshot
from damon_core.testing import RegionRow, make_snapshot

MINUTE_US = 60_000_000
RNG = np.random.default_rng(1)


def a_minute(number: int, count: int = 50) -> Snapshot:
    """Return a snapshot that fills a row group, hard to compress."""
    columns = (RNG.integers(0, most, count).tolist() for most in (20, 1 << 60, 1 << 60))
    regions = [
        RegionRow(4096 * index, 4096 * (index + 1), accesses, number, idle_us, resident_bytes)
        for index, (accesses, idle_us, resident_bytes) in enumerate(zip(*columns, strict=True))
    ]
    return make_snapshot(
        {"t": regions},
        context="db",
        number=number,
        time_us=number * MINUTE_US,
        elapsed_us=MINUTE_US,
        areas={"t": [Area(0, 4096, f"area {number // 3}")]},
    )


def write(path: Path, snapshots: Sequence[Snapshot]) -> None:
    """Write a record."""
    with ParquetWriter(path, RecordInfo("here")) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)


def numbers(path: Path) -> list[int]:
    """Return the numbers of the aggregations in a record, after a look at the rest."""
    found = []
    with ParquetReader(path) as reader:
        assert reader.info.host == "here"
        for snapshot in reader.snapshots():
            assert snapshot.targets[0].areas == (Area(0, 4096, f"area {snapshot.number // 3}"),)
            found.append(snapshot.number)
    return found


def first_difference(before: bytes, after: bytes) -> int:
    """Return where two states of a file begin to differ."""
    return next(
        i for i, (one, other) in enumerate(zip(before, after, strict=False)) if one != other
    )


def as_it_goes(path: Path, snapshots: Sequence[Snapshot]) -> Iterator[bytes]:
    """Write a record and yield what the file is after each row group, and at its end."""
    with ParquetWriter(path, RecordInfo("here")) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)
            writer.explain(RecordInfo("here"))  # waits for the thread
            yield path.read_bytes()
    yield path.read_bytes()


@pytest.mark.slow
def test_every_row_group_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """For our reader at once, for others with the next footer at the latest."""
    path, copy = tmp_path / "out.parquet", tmp_path / "copy.parquet"
    lags = []
    for count, content in enumerate(as_it_goes(path, [a_minute(n) for n in range(1, 16)]), 1):
        copy.write_bytes(content)
        assert numbers(copy) == list(range(1, min(count, 15) + 1))
        groups = pq.read_metadata(copy).num_row_groups
        lags.append(min(count, 15) - groups)
        assert pq.read_table(copy, columns=["start"]).num_rows == groups * 50
    assert max(lags) > 0  # otherwise nothing was tested of that
    assert lags[-1] == 0


@pytest.mark.slow
def test_a_file_cut_anywhere_has_all_row_groups_before_the_cut(tmp_path: Path) -> None:
    """A power cut leaves a beginning of what was written last."""
    path, copy = tmp_path / "out.parquet", tmp_path / "copy.parquet"
    states = list(as_it_goes(path, [a_minute(n) for n in range(1, 5)]))
    assert len(states) == 5
    for count, (before, after) in enumerate(pairwise(states[:-1]), 1):
        same = first_difference(before, after)
        for cut in {same, *range(same + 20, len(after), 1997), len(after) - 1}:
            copy.write_bytes(after[:cut])
            assert numbers(copy) in (list(range(1, count + 1)), list(range(1, count + 2)))


def test_a_block_that_never_arrived_is_left_out(tmp_path: Path) -> None:
    """After a power cut the footer may be on the disk, and not what it describes."""
    path, copy = tmp_path / "out.parquet", tmp_path / "copy.parquet"
    states = list(as_it_goes(path, [a_minute(n) for n in range(1, 3)]))
    same = first_difference(*states[:2])
    for lost in (slice(same, same + 2000), slice(same + 1000, same + 1500)):
        content = bytearray(states[1])
        content[lost] = bytes(lost.stop - lost.start)
        copy.write_bytes(content)
        assert numbers(copy) == [1]


@pytest.mark.slow
def test_kill_9_leaves_all_whole_row_groups(tmp_path: Path) -> None:
    """Every row group that was acknowledged before the kill is there."""
    path = tmp_path / "out.parquet"
    program = f"""
        import os
        from pathlib import Path
        from damon_core import RecordInfo
        from damon_parquet.writer import ParquetWriter
        from test_parquet_disasters import a_minute
        info = RecordInfo("here")
        writer = ParquetWriter(Path({str(path)!r}), info)
        for number in range(1, 100_000):
            writer.write(a_minute(number, 5000))
            writer.explain(info)
            os.write(1, b"%d\\n" % number)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    ) as writer:
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        acknowledged = int([b"20", *writer.stdout.read().split()][-1])
    found = numbers(path)
    assert found == list(range(1, len(found) + 1))
    assert len(found) in (acknowledged, acknowledged + 1)


@pytest.mark.slow
@pytest.mark.needs("root")
def test_a_full_disk_costs_whole_row_groups_only(small_disk: Callable[[int], Path]) -> None:
    """What was written stays, for others too; what comes when there is room again follows."""
    disk = small_disk(256)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    path = disk / "out.parquet"
    info = RecordInfo("here")
    written: list[int] = []
    reasons: set[str] = set()
    writer = ParquetWriter(path, info)
    for number in range(1, 70):
        if number == 60:
            ballast.unlink()
        writer.write(a_minute(number, 200))
        try:
            writer.explain(info)
        except DamonError as error:
            reasons.add(error.message.rpartition(": ")[2])
            assert pq.read_table(path, columns=["start"]).num_rows == 200 * len(written)
        else:
            written.append(number)
    writer.close()
    assert reasons == {"No space left on device"}
    assert min(set(range(1, 60)) - set(written)) > 5
    assert 60 in written
    assert numbers(path) == written
    assert pq.read_table(path).num_rows == 200 * len(written)


def test_an_error_of_the_thread_is_raised(tmp_path: Path) -> None:
    """The next call raises what went wrong beside it; nothing more is lost."""
    path = tmp_path / "out.parquet"
    program = f"""
        import resource
        from pathlib import Path
        from damon_core import DamonError, RecordInfo
        from damon_parquet.writer import ParquetWriter
        from test_parquet_disasters import a_minute
        writer = ParquetWriter(Path({str(path)!r}), RecordInfo("here"))
        writer.write(a_minute(1))
        writer.explain(RecordInfo("here"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        writer.write(a_minute(2, 20_000))
        try:
            writer.write(a_minute(3))
        except DamonError as error:
            print(error)
        writer.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.stdout == f"'{path}' can't be written: File too large\n"
    assert numbers(path) == [1, 3]


@pytest.mark.slow
def test_footers_cost_no_more_than_data(tmp_path: Path) -> None:
    """However many row groups there are: all that is written is in proportion to the data."""
    path = tmp_path / "out.parquet"
    written_before = 0
    shares = []
    with ParquetWriter(path, RecordInfo("here")) as writer:
        for number in range(1, 401):
            writer.write(a_minute(number, 100))
            if number % 100 == 0:
                writer.explain(RecordInfo("here"))
                io = Path("/proc/self/io").read_text().split()
                written = int(io[io.index("wchar:") + 1])
                shares.append(written - written_before)
                written_before = written
    assert shares[-1] < 1.5 * shares[1]


class TestWhatWasThere:
    def test_it_is_moved_aside(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A record is never lost, whole or not; its new name is logged."""
        path = tmp_path / "out.parquet"
        write(path, [a_minute(1)])
        os.utime(path, ns=(0, 1_700_000_000_123_456_000))
        write(path, [a_minute(2)])
        aside = tmp_path / "out.20231114T221320.123456Z.parquet"
        assert numbers(aside) == [1]
        assert numbers(path) == [2]
        assert caplog.messages == [f"'{path}' was there already: it is '{aside.name}' now"]

    def test_names_that_are_taken_are_passed_over(self, tmp_path: Path) -> None:
        """Records of one moment get names of their own."""
        path = tmp_path / "out.parquet"
        for number in range(1, 4):
            write(path, [a_minute(number)])
            os.utime(path, ns=(0, 1_700_000_000_000_000_000))
        assert sorted(number for each in tmp_path.iterdir() for number in numbers(each)) == [
            1,
            2,
            3,
        ]

    def test_what_is_being_written_is_left_alone(self, tmp_path: Path) -> None:
        """A second writer is refused before anything runs."""
        path = tmp_path / "out.parquet"
        with ParquetWriter(path, RecordInfo("here")) as writer:
            with pytest.raises(InputError, match=r"out\.parquet' is being written by another"):
                ParquetWriter(path, RecordInfo("here"))
            writer.write(a_minute(1))
        assert numbers(path) == [1]

    @pytest.mark.parametrize("where", ["none/out.parquet", "."])
    def test_what_cannot_be_written_is_refused(self, tmp_path: Path, where: str) -> None:
        """A missing directory, a directory: one line each."""
        with pytest.raises(InputError, match=r"can't be written: No such|is not a regular file"):
            ParquetWriter(tmp_path / where, RecordInfo())


def test_contexts_that_come_later_are_kept_after_a_kill(tmp_path: Path) -> None:
    """What the file says of how it was made is in the blocks, too."""
    path, copy = tmp_path / "out.parquet", tmp_path / "copy.parquet"
    with ParquetWriter(path, RecordInfo("here")) as writer:
        writer.write(a_minute(1))
        writer.explain(RecordInfo("here", contexts=(ContextInfo("late"),)))
        writer.write(a_minute(2))
        writer.explain(RecordInfo("here"))
        copy.write_bytes(path.read_bytes()[:-1])
    with ParquetReader(copy) as reader:
        assert [each.name for each in reader.info.contexts] == ["late"]
        assert len(list(reader.snapshots())) == 2
