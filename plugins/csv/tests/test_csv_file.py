"""The file: header, torn rows, rotation, several writers."""

import errno
import fcntl
import grp
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from damon_csv import CsvFile

from damon_core import DamonError, InputError, Rotation, WriterLock, moved_aside

HEADER = b"time_us,value\n"
SECOND = 1_000_000
HOUR = 3600 * SECOND
NOBODY = 65534


def row(time_us: int, value: object = "x") -> bytes:
    """Return one row."""
    return f"{time_us},{value}\n".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path where nothing is yet."""
    return tmp_path / "out.csv"


def everything(path: Path) -> list[bytes]:
    """Return all rows of the rotated files and the present one, checking each header."""
    rows: list[bytes] = []
    for part in [*moved_aside(path), path]:
        header, *body = part.read_bytes().splitlines(keepends=True)
        assert header == HEADER
        rows += body
    return rows


# -- opening ---------------------------------------------------------------------------


def test_opening_creates_the_file_with_its_header(path: Path) -> None:
    """A run without any aggregation leaves a valid file."""
    file = CsvFile(path, HEADER)
    file.open()
    file.close()
    assert path.read_bytes() == HEADER


def test_check_changes_nothing(path: Path) -> None:
    """A check of a configuration leaves no files behind and mends none."""
    CsvFile(path, HEADER).check()
    assert not path.exists()
    path.write_bytes(HEADER + b"1,to")
    CsvFile(path, HEADER).check()
    assert path.read_bytes() == HEADER + b"1,to"


def test_an_existing_file_is_appended_to(path: Path) -> None:
    """No second header."""
    for time_us in (1, 2):
        file = CsvFile(path, HEADER)
        file.append(row(time_us), time_us)
        file.close()
    assert path.read_bytes() == HEADER + row(1) + row(2)


def test_an_empty_file_gets_a_header(path: Path) -> None:
    """As mktemp, or a kill between creation and header, leaves it."""
    path.touch()
    file = CsvFile(path, HEADER)
    file.append(row(1), 1)
    file.close()
    assert path.read_bytes() == HEADER + row(1)


@pytest.mark.parametrize("found", [b"a,b\n1,2\n", HEADER.rstrip(), b"time_us,value\r\n", b"\xff\n"])
def test_a_file_with_another_header_is_left_alone(path: Path, found: bytes) -> None:
    """The error names the file and what was found."""
    path.write_bytes(found)
    file = CsvFile(path, HEADER)
    for use in (file.check, file.open):
        with pytest.raises(InputError, match=r"out\.csv.*other columns.*begins with"):
            use()
    assert path.read_bytes() == found


@pytest.mark.parametrize("torn", [b"3", b"3,valu", b"3," + b"v" * 200_000])
def test_a_torn_row_at_the_end_is_cut_off(path: Path, torn: bytes) -> None:
    """The rows before it stay."""
    path.write_bytes(HEADER + row(1) + row(2) + torn)
    file = CsvFile(path, HEADER)
    file.append(row(3), 3)
    file.close()
    assert path.read_bytes() == HEADER + row(1) + row(2) + row(3)


def test_a_row_torn_by_another_writer_while_open_is_cut_off(path: Path) -> None:
    """A second monitor may be killed at any time."""
    file = CsvFile(path, HEADER)
    file.append(row(1), 1)
    with path.open("ab") as other:
        other.write(b"2,to")
    file.append(row(3), 3)
    file.close()
    assert path.read_bytes() == HEADER + row(1) + row(3)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """And what to do about it."""
    with pytest.raises(InputError, match=r"there is no directory .*nowhere': create it"):
        CsvFile(tmp_path / "nowhere" / "out.csv", HEADER).check()


def test_only_regular_files_are_written(tmp_path: Path) -> None:
    """A directory, a pipe, a device can't keep the promises."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, Path("/dev/full")):
        file = CsvFile(path, HEADER)
        for use in (file.check, file.open):
            with pytest.raises(InputError, match="not a regular file"):
                use()


@pytest.fixture
def own_directory() -> Iterator[Path]:
    """A directory of an ordinary user, as whom the test runs, even if root started it."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_a_directory_without_permission_is_refused(own_directory: Path) -> None:
    """Before anything runs."""
    own_directory.chmod(0o500)
    with pytest.raises(InputError, match="can't be written: Permission denied: choose another"):
        CsvFile(own_directory / "out.csv", HEADER).check()
    own_directory.chmod(0o700)


def test_rotation_needs_a_writable_directory(own_directory: Path) -> None:
    """Even where the file itself can be written."""
    path = own_directory / "out.csv"
    path.write_bytes(HEADER)
    own_directory.chmod(0o500)
    CsvFile(path, HEADER).check()
    with pytest.raises(InputError, match="Permission denied"):
        CsvFile(path, HEADER, Rotation(size_bytes=1_000)).check()
    own_directory.chmod(0o700)


def test_a_file_without_permission_is_refused(own_directory: Path) -> None:
    """The error says why."""
    path = own_directory / "out.csv"
    path.write_bytes(HEADER)
    path.chmod(0o400)
    with pytest.raises(InputError, match="Permission denied"):
        CsvFile(path, HEADER).check()


def test_a_file_system_without_files_is_refused() -> None:
    """Even root can't create a file in /proc."""
    with pytest.raises(InputError, match=r"'/proc/out\.csv' can't be written"):
        CsvFile(Path("/proc/out.csv"), HEADER).check()


def test_a_loop_of_links_is_an_error_of_one_line(tmp_path: Path) -> None:
    """Not a traceback."""
    path = tmp_path / "loop"
    path.symlink_to(path)
    with pytest.raises(DamonError, match="symbolic links"):
        CsvFile(path, HEADER).open()


# -- rotation --------------------------------------------------------------------------


def test_rotation_by_size_bounds_each_file_and_loses_nothing(path: Path) -> None:
    """All rows are there, in order."""
    file = CsvFile(path, HEADER, Rotation(size_bytes=100))
    rows = [row(time_us * SECOND) for time_us in range(1, 51)]
    for number, line in enumerate(rows, 1):
        file.append(line, number * SECOND)
    file.close()
    parts = [*moved_aside(path), path]
    assert len(parts) > 5
    assert max(part.stat().st_size for part in parts) <= 100
    assert everything(path) == rows


def test_an_aggregation_longer_than_the_limit_stays_in_one_file(path: Path) -> None:
    """Rows of one aggregation are never divided."""
    file = CsvFile(path, HEADER, Rotation(size_bytes=20))
    for number in range(1, 4):
        file.append(row(number) * 10, number)
    file.close()
    assert [len(part.read_bytes().splitlines()) for part in [*moved_aside(path), path]] == [
        11,
        11,
        11,
    ]


def test_rotation_by_time_is_at_whole_periods(path: Path) -> None:
    """Files begin at the full hour, whenever the first row came."""
    file = CsvFile(path, HEADER, Rotation(every_us=HOUR))
    for time_us in (HOUR - 2, HOUR - 1, HOUR, 2 * HOUR - 1, 2 * HOUR):
        file.append(row(time_us), time_us)
    file.close()
    assert [part.read_bytes() for part in [*moved_aside(path), path]] == [
        HEADER + row(HOUR - 2) + row(HOUR - 1),
        HEADER + row(HOUR) + row(2 * HOUR - 1),
        HEADER + row(2 * HOUR),
    ]


def test_rotation_by_time_goes_on_after_a_restart(path: Path) -> None:
    """The age of a file is the time of its first row."""
    for time_us in (1, HOUR - 1, HOUR + 1):
        file = CsvFile(path, HEADER, Rotation(every_us=HOUR))
        file.append(row(time_us), time_us)
        file.close()
    (rotated,) = moved_aside(path)
    assert rotated.read_bytes() == HEADER + row(1) + row(HOUR - 1)
    assert path.read_bytes() == HEADER + row(HOUR + 1)


def test_a_rotated_file_is_named_by_its_end_in_utc(path: Path) -> None:
    """STEM.STAMP.SUFFIX, which sorts by time."""
    file = CsvFile(path, HEADER, Rotation(every_us=HOUR))
    for time_us in (1_700_000_000_000_000, 1_700_003_600_000_123):
        file.append(row(time_us), time_us)
    file.close()
    assert [part.name for part in moved_aside(path)] == ["out.20231114T231320.000123Z.csv"]


def test_only_the_last_files_are_kept(path: Path) -> None:
    """Beside the one that is being written."""
    file = CsvFile(path, HEADER, Rotation(size_bytes=1, keep=2))
    for number in range(1, 7):
        file.append(row(number), number)
    file.close()
    assert everything(path) == [row(4), row(5), row(6)]


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    """Rotation renames the file, not the link to it."""
    real = tmp_path / "real.csv"
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    file = CsvFile(link, HEADER, Rotation(size_bytes=1))
    for number in (1, 2):
        file.append(row(number), number)
    file.close()
    assert link.is_symlink()
    assert link.read_bytes() == HEADER + row(2)
    assert len(moved_aside(real)) == 1


def test_a_file_that_was_moved_away_is_begun_anew(path: Path) -> None:
    """As logrotate does, without telling anyone."""
    file = CsvFile(path, HEADER)
    file.append(row(1), 1)
    path.rename(path.with_suffix(".1"))
    file.append(row(2), 2)
    file.close()
    assert path.read_bytes() == HEADER + row(2)
    assert path.with_suffix(".1").read_bytes() == HEADER + row(1)


# -- several writers -------------------------------------------------------------------


def test_writers_of_one_path_lose_nothing_while_it_rotates(path: Path) -> None:
    """Each thread has its own object; every row is whole and in one file exactly."""
    failures: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            file = CsvFile(path, HEADER, Rotation(size_bytes=4_000))
            for number in range(200):
                file.append(row(number, f"{writer}:{number}") * 5, number)
            file.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    expected = [row(n, f"{writer}:{n}") for writer in range(4) for n in range(200)] * 5
    assert sorted(everything(path)) == sorted(expected)
    assert len(moved_aside(path)) > 3


def test_a_lock_of_a_reader_disturbs_nobody(path: Path) -> None:
    """Who may only read the file can't keep its writer waiting."""
    file = CsvFile(path, HEADER)
    file.append(row(1), 1)
    path.chmod(0o644)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        file.append(row(2), 2)
        assert path.read_bytes() == HEADER + row(1) + row(2)
    file.close()


def test_rows_wait_while_another_writer_has_its_turn(path: Path) -> None:
    """Sampling goes on; they are written with the next ones."""
    file, other = CsvFile(path, HEADER), WriterLock(path)
    file.append(row(1), 1)
    assert other.acquire()
    file.append(row(2), 2)
    assert path.read_bytes() == HEADER + row(1)
    other.release()
    file.append(row(3), 3)
    assert path.read_bytes() == HEADER + row(1) + row(2) + row(3)
    file.close()


def test_rows_that_wait_are_written_at_the_end(path: Path) -> None:
    """Not only with others that follow."""
    file, other = CsvFile(path, HEADER), WriterLock(path)
    assert other.acquire()
    file.append(row(1), 1)
    other.release()
    file.close()
    assert path.read_bytes() == HEADER + row(1)


@pytest.mark.slow
def test_rows_that_can_wait_no_longer_are_an_error(path: Path) -> None:
    """It says how many aggregations are lost."""
    file, other = CsvFile(path, HEADER), WriterLock(path)
    assert other.acquire()
    file.append(row(1), 1)
    with pytest.raises(DamonError, match="locked by another program: 1 aggregations are lost"):
        file.close()
    other.release()


def test_memory_for_rows_that_wait_is_bounded(path: Path) -> None:
    """More of them are an error at once."""
    file, other = CsvFile(path, HEADER), WriterLock(path)
    assert other.acquire()
    file.append(row(1, "v" * (15 << 20)), 1)
    with pytest.raises(DamonError, match="locked by another program"):
        file.append(row(2, "v" * (2 << 20)), 2)
    other.release()
    file.close()
    assert path.read_bytes().startswith(HEADER + b"1,")


# -- what goes wrong while running -------------------------------------------------------


def test_a_directory_that_vanished_is_an_error(tmp_path: Path) -> None:
    """And the file comes back with its directory."""
    directory = tmp_path / "logs"
    directory.mkdir()
    file = CsvFile(directory / "out.csv", HEADER)
    file.append(row(1), 1)
    (directory / "out.csv").unlink()
    directory.rmdir()
    with pytest.raises(DamonError, match=os.strerror(errno.ENOENT)):
        file.append(row(2), 2)
    directory.mkdir()
    file.append(row(3), 3)
    file.close()
    assert (directory / "out.csv").read_bytes() == HEADER + row(3)


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    """It has addresses, which /proc protects."""
    file = CsvFile(path, HEADER)
    file.open()
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_group_may_read_the_file(path: Path) -> None:
    """If it is named."""
    file = CsvFile(path, HEADER, group=grp.getgrgid(os.getegid()).gr_name)
    file.open()
    file.close()
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o640, os.getegid())


@pytest.mark.needs("root")
def test_root_follows_no_link_of_another_user(path: Path) -> None:
    """Else that user would choose what root appends to."""
    path.symlink_to("elsewhere.csv")
    os.lchown(path, NOBODY, NOBODY)
    with pytest.raises(InputError, match=r"out\.csv' is a link that user 65534 made"):
        CsvFile(path, HEADER)


def test_a_link_that_took_the_place_is_not_followed(path: Path) -> None:
    """Links count when the writer is made, not later."""
    file = CsvFile(path, HEADER)
    file.append(row(1), 1)
    path.unlink()
    path.symlink_to("elsewhere.csv")
    with pytest.raises(DamonError, match=r"symbolic links|not a regular file"):
        file.append(row(2), 2)
    assert not path.with_name("elsewhere.csv").exists()
    file.close()


def test_a_clock_that_was_ahead_does_not_stop_rotation(path: Path) -> None:
    """Set right, it begins a new file, also after a restart."""
    for time_us in (100 * HOUR, HOUR, 2 * HOUR, 3 * HOUR):
        file = CsvFile(path, HEADER, Rotation(every_us=HOUR, keep=1))
        file.append(row(time_us), time_us)
        file.close()
    assert everything(path) == [row(2 * HOUR), row(3 * HOUR)]
