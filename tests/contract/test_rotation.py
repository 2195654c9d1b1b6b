"""Files that are moved aside: their names, when a new one is due, and how many stay."""

from pathlib import Path

import pytest

from damon_core import Rotation, move_aside, moved_aside

TIME_US = 1_700_000_000_123_456
SECOND = 1_000_000
HOUR = 3600 * SECOND


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a record, where there is no file yet."""
    return tmp_path / "db.parquet"


def set_aside(path: Path, time_us: int) -> Path:
    """Make a file at `path` and move it aside."""
    path.touch()
    return move_aside(path, time_us)


def test_the_name_has_the_time_in_utc(path: Path) -> None:
    """To the microsecond, and with a fixed width."""
    assert set_aside(path, TIME_US) == path.with_name("db.20231114T221320.123456Z.parquet")
    assert not path.exists()


def test_a_name_that_is_taken_is_passed_over(path: Path) -> None:
    """The next microsecond is as good; a dangling link has its name too."""
    path.with_name("db.20231114T221320.123457Z.parquet").symlink_to("nowhere")
    set_aside(path, TIME_US)
    assert set_aside(path, TIME_US).name == "db.20231114T221320.123458Z.parquet"


def test_files_are_found_by_age(path: Path) -> None:
    """Oldest first, and none of another name."""
    for name in ("db.parquet", "db.old.parquet", "web.20231114T221320.123456Z.parquet"):
        path.with_name(name).touch()
    made = [set_aside(path, TIME_US + each) for each in (2, 0, 1)]
    assert moved_aside(path) == [made[1], made[2], made[0]]


def test_the_oldest_are_removed(path: Path) -> None:
    """As many as are to be kept stay, and the one being written doesn't count."""
    oldest, *newer = [set_aside(path, TIME_US + each) for each in range(3)]
    path.touch()
    Rotation(keep=2).remove_oldest(path)
    assert moved_aside(path) == newer
    assert not oldest.exists()
    assert path.exists()


def test_a_file_that_cannot_be_removed_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are removed all the same."""
    oldest = path.with_name("db.20231114T221320.000000Z.parquet")
    oldest.mkdir()
    other = set_aside(path, TIME_US)
    Rotation(keep=0).remove_oldest(path)
    assert not other.exists()
    assert caplog.messages == [f"'{oldest}' can't be removed: Is a directory"]


@pytest.mark.parametrize("keep", [3, None])
def test_fewer_than_are_kept_all_stay(path: Path, keep: int | None) -> None:
    """There may be none yet."""
    set_aside(path, TIME_US)
    Rotation(keep=keep).remove_oldest(path)
    assert len(moved_aside(path)) == 1


@pytest.mark.parametrize(
    ("begun_us", "time_us", "due"),
    [
        (HOUR + SECOND, 2 * HOUR - 1, False),
        (HOUR + SECOND, 2 * HOUR, True),
        (2 * HOUR - 1, 2 * HOUR, True),
        (2 * HOUR, 2 * HOUR + 1, False),
        # Another context's aggregation that ended before this file began.
        (2 * HOUR, 2 * HOUR - 1, False),
    ],
)
def test_a_file_is_due_at_the_full_hour(begun_us: int, time_us: int, due: bool) -> None:
    """By the clock, not an hour after it began; never back."""
    assert Rotation(every_us=HOUR).is_due(begun_us, time_us) == due


@pytest.mark.parametrize(("size_bytes", "due"), [(100, False), (101, True)])
def test_a_file_is_due_before_it_gets_too_long(size_bytes: int, due: bool) -> None:
    """The limit itself is allowed."""
    assert Rotation(size_bytes=100).is_due(0, 0, size_bytes) == due


def test_without_a_limit_none_is_ever_due() -> None:
    """`keep` alone begins no files."""
    rotation = Rotation(keep=1)
    assert not rotation.enabled
    assert not rotation.is_due(0, 10 * HOUR, 1 << 40)


def test_a_file_stamped_by_a_clock_that_was_ahead_goes_first(path: Path) -> None:
    """Else it would stay for ever, and each new one be removed at once."""
    ahead, newest = set_aside(path, TIME_US + 1000 * HOUR), set_aside(path, TIME_US)
    Rotation(keep=1).remove_oldest(path, TIME_US)
    assert moved_aside(path) == [newest]
    assert not ahead.exists()


def test_files_of_others_do_not_count(path: Path) -> None:
    """Whoever writes records says which are his."""
    theirs, ours, newest = [set_aside(path, TIME_US + each) for each in range(3)]
    Rotation(keep=1).remove_oldest(path, is_ours=lambda each: each != theirs)
    assert moved_aside(path) == [theirs, newest]
    assert not ours.exists()


@pytest.mark.parametrize(("begun_us", "due"), [(HOUR, True), (HOUR - 1, False)])
def test_a_clock_that_was_ahead_by_a_period_begins_a_file(begun_us: int, due: bool) -> None:
    """By less it is an aggregation that ended a little late."""
    assert Rotation(every_us=HOUR).is_due(begun_us, 0) is due


def test_a_time_without_a_name_is_the_last_that_has_one(path: Path) -> None:
    """A file can be dated to any year."""
    assert set_aside(path, 10**20).name == "db.99991231T235959.999999Z.parquet"
