"""Who may write a file at a time, and whose links count."""

import os
import tempfile
from pathlib import Path

import pytest

from damon_core import InputError, WriterLock, output_path

NOBODY = 65_534


def test_one_writer_at_a_time_has_the_right(tmp_path: Path) -> None:
    """The next has it as soon as it is released."""
    one, other = WriterLock(tmp_path / "out"), WriterLock(tmp_path / "out")
    assert one.acquire()
    assert not other.acquire()
    one.release()
    assert other.acquire()


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """Also of one who waited in vain."""
    one, other = WriterLock(tmp_path / "out"), WriterLock(tmp_path / "out")
    assert one.acquire()
    assert not other.acquire()
    other.release()
    assert [each.name for each in tmp_path.iterdir()] == [".out.lock"]
    one.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("root")
def test_a_lock_of_another_user_is_refused(tmp_path: Path) -> None:
    """That user could hold it for ever."""
    lock = tmp_path / ".out.lock"
    lock.touch()
    os.chown(lock, NOBODY, NOBODY)
    with pytest.raises(InputError, match=r"\.out\.lock' belongs to user 65534: remove it"):
        WriterLock(tmp_path / "out").acquire()


@pytest.mark.needs("root")
def test_a_file_can_be_written_where_none_can_be_created() -> None:
    """The lock is on the file itself then."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "out"
        path.touch()
        os.chown(path, NOBODY, NOBODY)
        path.parent.chmod(0o755)
        os.seteuid(NOBODY)
        try:
            one, other = WriterLock(path), WriterLock(path)
            assert one.acquire()
            assert not other.acquire()
            one.release()
            other.release()
        finally:
            os.seteuid(0)


@pytest.mark.needs("root")
def test_a_directory_behind_another_users_link_is_refused(tmp_path: Path) -> None:
    """Not only the last part of a path counts."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    os.lchown(tmp_path / "link", NOBODY, NOBODY)
    with pytest.raises(InputError, match="link' is a link that user 65534 made"):
        output_path(tmp_path / "link" / "out")


def test_links_of_its_own_are_followed(tmp_path: Path) -> None:
    """However many there are in a row."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "again").symlink_to(tmp_path / "link" / ".." / "link")
    assert output_path(tmp_path / "again" / "out") == tmp_path / "real" / "out"
