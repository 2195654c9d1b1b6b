"""What others do to a file while it is written: remove, move, replace, cut, lock, read it."""

import fcntl
import grp
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from damon_parquet.callback import ParquetCallback
from damon_parquet.options import ParquetOptions
from damon_parquet.reader import ParquetReader
from damon_parquet.writer import ParquetWriter

from damon_core import (
    Area,
    Context,
    DamonError,
    InputError,
    Microseconds,
    RecordInfo,
    Snapshot,
    VirtualClock,
    hookimpl,
    moved_aside,
)
from damon_core.testing import (
    RegionRow,
    ScriptedMemory,
    ScriptedRegion,
    make_snapshot,
    run_virtual,
)

NOBODY = 65_534
HERE = RecordInfo("here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a record, where there is nothing yet."""
    return tmp_path / "out.parquet"


def a_minute(number: int) -> Snapshot:
    """Return a snapshot that fills a row group."""
    return make_snapshot(
        {"t": [RegionRow(4096, 8192, 1, number, 0, 4096)]},
        number=number,
        time_us=number * 60_000_000,
        elapsed_us=60_000_000,
        areas={"t": [Area(0, 4096, "area")]},
    )


def numbers(path: Path) -> list[int]:
    """Return the numbers of the aggregations in a record, after a look at the areas."""
    with ParquetReader(path) as reader:
        found = list(reader.snapshots())
    assert all(each.targets[0].areas == (Area(0, 4096, "area"),) for each in found)
    return [each.number for each in found]


def written(writer: ParquetWriter, *snapshot_numbers: int) -> None:
    """Write row groups, and wait for them."""
    for number in snapshot_numbers:
        writer.write(a_minute(number))
        writer.explain(HERE)


def test_a_file_that_was_removed_is_begun_anew(path: Path) -> None:
    """The next row group is the first of the new one, with the names of mappings."""
    with ParquetWriter(path, HERE) as writer:
        written(writer, 1)
        path.unlink()
        written(writer, 2, 3)
    assert numbers(path) == [2, 3]


def test_a_file_that_was_moved_is_completed_where_it_is(path: Path) -> None:
    """As logrotate moves it; a new one follows."""
    elsewhere = path.with_name("elsewhere.parquet")
    with ParquetWriter(path, HERE) as writer:
        written(writer, 1)
        path.rename(elsewhere)
        written(writer, 2)
    assert (numbers(elsewhere), numbers(path)) == ([1], [2])


def test_a_file_that_was_cut_is_moved_aside(path: Path) -> None:
    """It isn't filled with what would make it look whole; later rows are in a new file."""
    with ParquetWriter(path, HERE) as writer:
        written(writer, 1)
        os.truncate(path, 0)
        written(writer, 2)
    assert [each.stat().st_size for each in moved_aside(path)] == [0]
    assert numbers(path) == [2]


def test_a_file_that_took_the_place_is_left_alone(path: Path) -> None:
    """Rows can't be kept then, which is an error, each time."""
    writer = ParquetWriter(path, HERE)
    written(writer, 1)
    path.unlink()
    path.write_bytes(b"precious")
    writer.write(a_minute(2))
    with pytest.raises(DamonError, match="is a file of somebody else now and is left alone"):
        writer.close()
    assert path.read_bytes() == b"precious"


def test_rows_go_to_a_moved_file_while_its_place_is_taken(path: Path) -> None:
    """Nothing is lost."""
    elsewhere = path.with_name("elsewhere.parquet")
    with ParquetWriter(path, HERE) as writer:
        written(writer, 1)
        path.rename(elsewhere)
        path.write_bytes(b"precious")
        written(writer, 2, 3)
    assert numbers(elsewhere) == [1, 2, 3]


def busy() -> ScriptedMemory:
    """Return a primitive all of whose memory is always accessed, for five seconds."""
    return ScriptedMemory({"t": [ScriptedRegion(0, 1 << 20)]}, 20 * 50, name="busy")


def test_rotation_leaves_a_file_that_took_the_place_alone(path: Path) -> None:
    """It isn't renamed, and so never removed."""

    class Replaces:
        @hookimpl
        def after_aggregation(self, context: Context) -> None:
            if context.stats.aggregations == 25:
                path.unlink()
                path.write_bytes(b"precious")

    options = ParquetOptions(path, rotate_every=Microseconds(1_000_000), keep=1)
    run_virtual(busy(), Replaces(), ParquetCallback(options), callbacks_may_fail=True)
    assert path.read_bytes() == b"precious"
    assert [each.read_bytes()[:4] for each in moved_aside(path)] == [b"PAR1"]


def test_what_was_there_and_is_no_record_is_never_removed(path: Path) -> None:
    """It is moved aside at the start, as anything, and `keep` counts records only."""
    path.write_bytes(b"precious")
    os.utime(path, ns=(0, 10**18))
    options = ParquetOptions(path, rotate_every=Microseconds(1_000_000), keep=1)
    run_virtual(busy(), ParquetCallback(options))
    assert moved_aside(path)[0].read_bytes() == b"precious"
    assert len(moved_aside(path)) == 2


def test_a_program_that_ends_without_stop_has_all_rows(path: Path) -> None:
    """Contexts are stopped at its end, and what they collected is written then."""
    program = f"""
        import threading
        from pathlib import Path
        from damon_core import Context, Intervals, hookimpl, start
        from damon_core.testing import ScriptedMemory, ScriptedRegion
        from damon_parquet.callback import ParquetCallback
        from damon_parquet.options import ParquetOptions

        seen = threading.Event()

        class Tells:
            @hookimpl
            def after_aggregation(self, context):
                if context.stats.aggregations == 3:
                    seen.set()

        context = Context(
            ScriptedMemory({{"t": [ScriptedRegion(0, 1 << 20)]}}, 10**6),
            [ParquetCallback(ParquetOptions(Path({str(path)!r}))), Tells()],
            intervals=Intervals(5_000, 20_000, 20_000),
            cpu_budget=None,
        )
        start(context)
        seen.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    with ParquetReader(path) as reader:
        assert len(list(reader.snapshots())) >= 3


# -- rights ------------------------------------------------------------------------------


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_for_its_owner_alone(path: Path) -> None:
    """It has addresses and names of mappings, which /proc protects."""
    with ParquetWriter(path, HERE):
        assert mode(path) == 0o600


def test_a_group_may_read_it(path: Path) -> None:
    """The one that the option names."""
    name = grp.getgrgid(os.getegid()).gr_name
    run_virtual(busy(), ParquetCallback(ParquetOptions(path, group=name)))
    assert (mode(path), path.stat().st_gid) == (0o640, os.getegid())


def test_a_group_that_is_not_there_is_refused(path: Path) -> None:
    """Before anything runs."""
    with pytest.raises(InputError, match="group is 'nobody at all': must be the name of a group"):
        ParquetOptions(path, group="nobody at all")


def test_a_lock_of_a_reader_disturbs_nobody(path: Path) -> None:
    """Neither who goes on writing, nor who begins a new file in its place."""
    with ParquetWriter(path, HERE) as writer:
        written(writer, 1)
        path.chmod(0o644)
        with path.open("rb") as reader:
            fcntl.flock(reader, fcntl.LOCK_SH)
            written(writer, 2)
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        with ParquetWriter(path, HERE) as writer:
            written(writer, 3)
    assert numbers(path) == [3]


def test_no_lock_stays_behind(path: Path) -> None:
    """Only the record is left in its directory."""
    with ParquetWriter(path, HERE) as writer:
        written(writer, 1)
    assert [each.name for each in path.parent.iterdir()] == ["out.parquet"]


@pytest.mark.needs("root")
def test_root_follows_no_link_of_another_user(path: Path) -> None:
    """Else that user would choose what root writes."""
    path.symlink_to("elsewhere.parquet")
    os.lchown(path, NOBODY, NOBODY)
    with pytest.raises(InputError, match=r"out\.parquet' is a link that user 65534 made"):
        ParquetCallback(ParquetOptions(path))


# -- a kill ------------------------------------------------------------------------------


def test_a_kill_while_a_file_is_created_leaves_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name comes with its first footer; the next writer removes what is left."""

    class Killed(BaseException):
        """What a kill is."""

    def kill(_fd: int, _data: object, _position: int) -> int:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", kill)
        with pytest.raises(Killed):
            ParquetWriter(path, HERE)
    assert not path.exists()
    with ParquetWriter(path, HERE) as writer:
        written(writer, 1)
    assert [each.name for each in path.parent.iterdir()] == ["out.parquet"]


def test_contexts_on_one_path_by_two_callbacks_are_refused(path: Path) -> None:
    """By a lock beside the file, whoever holds one on it."""
    options = ParquetOptions(path)
    one, other = ParquetCallback(options), ParquetCallback(options)
    contexts = [Context(busy(), [each], clock=VirtualClock()) for each in (one, other)]
    one.before_start(contexts[0])
    with pytest.raises(InputError, match="is being written by another"):
        other.before_start(contexts[1])
    one.before_terminate(contexts[0])
