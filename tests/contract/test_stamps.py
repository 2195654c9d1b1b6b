"""Names of files that were moved out of the way."""

from pathlib import Path

from damon_core import remove_stamped, stamped, stamped_files

TIME_US = 1_700_000_000_123_456


def test_a_name_tells_the_time_in_utc(tmp_path: Path) -> None:
    """To the microsecond, and with a fixed width."""
    name = stamped(tmp_path / "db.parquet", TIME_US)
    assert name == tmp_path / "db.20231114T221320.123456Z.parquet"


def test_a_name_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    """The next microsecond is as good; a dangling link has its name too."""
    path = tmp_path / "db.parquet"
    stamped(path, TIME_US).touch()
    stamped(path, TIME_US).symlink_to("nowhere")
    assert stamped(path, TIME_US).name == "db.20231114T221320.123458Z.parquet"


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    """As many as are to be kept stay; files of other names are nobody's to remove."""
    path = tmp_path / "db.parquet"
    others = [tmp_path / name for name in ("db.parquet", "db.old.parquet", "web.parquet")]
    for other in others:
        other.touch()
    for time_us in (TIME_US + 2, TIME_US, TIME_US + 1):
        stamped(path, time_us).touch()
    oldest, *newer = stamped_files(path)
    remove_stamped(path, 2)
    assert stamped_files(path) == newer
    assert not oldest.exists()
    assert all(other.exists() for other in others)


def test_fewer_than_are_kept_all_stay(tmp_path: Path) -> None:
    """There may be none yet."""
    path = tmp_path / "db.parquet"
    stamped(path, TIME_US).touch()
    remove_stamped(path, 3)
    assert len(stamped_files(path)) == 1
