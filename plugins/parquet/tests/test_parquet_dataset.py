"""Datasets: what the callback publishes, what is read of it, and compaction."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from damon_parquet import store
from damon_parquet.callback import ParquetCallback
from damon_parquet.compaction import compact
from damon_parquet.dataset import DatasetReader
from damon_parquet.downsampling import downsample
from damon_parquet.exchange import exchange
from damon_parquet.options import ParquetOptions
from damon_parquet.publishing import Publisher, publish
from damon_parquet.reader import ParquetReader
from damon_parquet.store import DatasetFile, Store
from damon_parquet.writer import ParquetWriter

from damon_core import (
    AttributeValueError,
    Context,
    ContextInfo,
    DamonError,
    InputError,
    Intervals,
    Microseconds,
    RecordInfo,
    RecordTotals,
    Snapshot,
    VirtualClock,
    moved_aside,
)
from damon_core.testing import (
    RegionRow,
    ScriptedMemory,
    ScriptedRegion,
    assert_same_snapshot,
    eventually,
    make_snapshot,
    run,
)

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
#: 2026-11-26 00:00 UTC.
BEGIN_US = 1_795_651_200_000_000
Take = Callable[..., list[Snapshot]]


def taken(
    begin_us: int = BEGIN_US, hours: int = 3, context: str = "db", size: int = 1 << 20
) -> list[Snapshot]:
    """Return one aggregation each half hour; the first ends half an hour after the begin."""
    intervals = Intervals(HOUR_US // 40, HOUR_US // 2, HOUR_US // 2)
    return [
        make_snapshot(
            {"a": [RegionRow(0, size, 5), RegionRow(size, 4 * size, 0, age=number)]},
            context=context,
            number=number,
            time_us=begin_us + number * HOUR_US // 2,
            intervals=intervals,
            labels={"a": {"unit": "db.service"}},
        )
        for number in range(1, 2 * hours)
    ]


def written(path: Path, snapshots: list[Snapshot], host: str = "web-1") -> Path:
    """Write a record."""
    info = RecordInfo(host=host, contexts=(ContextInfo("db"),))
    with ParquetWriter(path, info) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a dataset of two hosts and two days, of two files each."""
    root = tmp_path / "fleet"
    for host in ("web-1", "web-2"):
        for day in (0, 1):
            for half in (0, 1):
                begin_us = BEGIN_US + day * DAY_US + half * 12 * HOUR_US
                name = f"{host}-{day}-{half}.parquet"
                publish(written(tmp_path / name, taken(begin_us), host), Store(str(root)))
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a dataset of one file, where more would take time for nothing."""
    root = tmp_path / "fleet"
    publish(written(tmp_path / "one.parquet", taken()), Store(str(root)))
    return root


def files(root: Path) -> list[str]:
    """Return the paths of files in a dataset, without their digests."""
    return sorted(
        ".".join((*str(path.relative_to(root)).split(".")[:1], "parquet"))
        for path in root.rglob("*")
        if path.is_file()
    )


def test_files_are_partitioned_by_host_and_day(dataset: Path) -> None:
    """In the way that every engine knows."""
    assert files(dataset)[:2] == [
        "host=web-1/date=2026-11-26/web-1-0-0.parquet",
        "host=web-1/date=2026-11-26/web-1-0-1.parquet",
    ]
    assert len(files(dataset)) == 8


def test_a_dataset_is_read_as_one_record(dataset: Path) -> None:
    """Its contexts are named by their hosts; each aggregation is as it was."""
    with DatasetReader(str(dataset)) as reader:
        found = list(reader.snapshots())
    assert {each.context for each in found} == {"web-1/db", "web-2/db"}
    assert len(found) == 8 * 5
    (expected,) = [
        make_snapshot(
            {"a": [RegionRow(0, 1 << 20, 5), RegionRow(1 << 20, 4 << 20, 0, age=1)]},
            context="web-1/db",
            time_us=BEGIN_US + HOUR_US // 2,
            intervals=found[0].intervals,
            labels={"a": {"unit": "db.service", "host": "web-1"}},
        )
    ]
    assert_same_snapshot(found[0], expected)


def test_the_order_of_a_host_is_that_of_time(dataset: Path) -> None:
    """Over files and days."""
    with DatasetReader(str(dataset), ["web-2"]) as reader:
        times = [each.time_us for each in reader.snapshots()]
    assert times == sorted(times)
    assert len(times) == 20


def test_hosts_and_days_are_pruned(dataset: Path) -> None:
    """Nothing of others is looked at: there they are broken."""
    for path in dataset.rglob("*.parquet"):
        if "host=web-2" not in str(path) or "date=2026-11-27" not in str(path):
            path.write_bytes(b"broken")
    with DatasetReader(str(dataset), ["*-2"], BEGIN_US + DAY_US) as reader:
        assert len(list(reader.snapshots())) == 10


def test_a_broken_file_is_left_out(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning, as the others can be read."""
    next(dataset.rglob("*.parquet")).write_bytes(b"broken")
    with DatasetReader(str(dataset)) as reader:
        assert len(list(reader.snapshots())) == 7 * 5
    assert "left out" in caplog.text


def test_nothing_of_what_is_asked_for(dataset: Path) -> None:
    """It is said where records are expected."""
    with pytest.raises(InputError, match="host=NAME/date="):
        DatasetReader(str(dataset), ["db-*"])


def test_a_file_is_visible_only_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves nothing that a reader would take for a record."""
    source = written(tmp_path / "a.parquet", taken())

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DamonError, match="No space left"):
        publish(source, Store(str(tmp_path / "fleet")))
    assert files(tmp_path / "fleet") == []
    assert source.exists()


def test_what_is_published_twice_is_there_once(tmp_path: Path) -> None:
    """As after a kill between the copy and the removal."""
    source, store = written(tmp_path / "a.parquet", taken()), Store(str(tmp_path / "fleet"))
    publish(source, store)
    publish(source, store)
    assert len(files(tmp_path / "fleet")) == 1


def test_a_record_of_several_days_is_divided(tmp_path: Path) -> None:
    """Each aggregation is in the partition of the day in which it ended."""
    snapshots = taken(BEGIN_US + 23 * HOUR_US)
    publish(written(tmp_path / "a.parquet", snapshots), Store(str(tmp_path / "fleet")))
    assert [path.partition("/")[2] for path in files(tmp_path / "fleet")] == [
        "date=2026-11-26/a.parquet",
        "date=2026-11-27/a.parquet",
    ]
    with DatasetReader(str(tmp_path / "fleet")) as reader:
        assert [each.number for each in reader.snapshots()] == [1, 2, 3, 4, 5]


def test_a_killed_writer_s_record_is_completed(tmp_path: Path) -> None:
    """Other programs can read it in the dataset, all of it."""
    path = tmp_path / "a.parquet"
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[2]);"
        "from pathlib import Path; from test_parquet_dataset import *\n"
        "writer = ParquetWriter(Path(sys.argv[1]), RecordInfo(host='web-1'))\n"
        "for each in taken(): writer.write(each)\n"
        "writer._wait(); print('written', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path, Path(__file__).parent],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    with ParquetReader(path) as reader:
        assert not reader.finished
        count = len(list(reader.snapshots()))
    publish(path, Store(str(tmp_path / "fleet")))
    (whole,) = (tmp_path / "fleet").rglob("*.parquet")
    assert pq.read_metadata(whole).num_rows == 2 * count > 0


def busy(aggregations: int) -> ScriptedMemory:
    """Return a primitive all of whose memory is always accessed."""
    return ScriptedMemory({"t": [ScriptedRegion(0, 1 << 20)]}, 20 * aggregations, name="busy")


def recorded(root: Path) -> list[int]:
    """Return the numbers of the aggregations in a dataset."""
    with DatasetReader(str(root)) as reader:
        return [each.number for each in reader.snapshots()]


def record(options: ParquetOptions, aggregations: int = 50, name: str = "db") -> None:
    """Run a context of aggregations of ten minutes on virtual time."""
    ten_minutes = Intervals(HOUR_US // 120, HOUR_US // 6, HOUR_US // 6)
    callback = ParquetCallback(options)
    context = Context(
        busy(aggregations), [callback], intervals=ten_minutes, clock=VirtualClock(), name=name
    )
    run(context)
    assert [each.failures for each in context.stats.callbacks.values()] == [0]


@pytest.mark.slow
def test_the_callback_publishes(tmp_path: Path) -> None:
    """Hour by hour, and the last file at the end; nothing stays behind."""
    root = tmp_path / "fleet"
    record(ParquetOptions(tmp_path / "db.parquet", dataset=str(root)))
    assert recorded(root) == [*range(1, 51)]
    assert len(files(root)) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["fleet"]


def test_what_couldn_t_be_published_is_published_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the next run of the same path: nothing is lost while the dataset can't be reached."""
    root = tmp_path / "fleet"
    root.write_text("in the way")
    options = ParquetOptions(tmp_path / "db.parquet", dataset=str(root))
    record(options, 12)
    assert "aren't in" in caplog.text
    assert len(moved_aside(tmp_path / "db.parquet")) == 3
    root.unlink()
    record(options, 6, "web")
    assert sorted(recorded(root)) == sorted([*range(1, 13), *range(1, 7)])


def test_a_failure_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried."""
    (tmp_path / "fleet").write_text("in the way")
    path = written(tmp_path / "a.parquet", taken())
    path.rename(tmp_path / "a.20261126T000000.000000Z.parquet")
    publisher = Publisher(path, Store(str(tmp_path / "fleet")))
    for _ in range(3):
        publisher.wake()
        eventually(lambda: not publisher._wanted.is_set())  # noqa: SLF001
        time.sleep(0.01)
    publisher.close(30)
    assert len([each for each in caplog.messages if "is tried again" in each]) == 1


@pytest.mark.parametrize("every_us", [7 * HOUR_US, 2 * DAY_US])
def test_files_of_a_dataset_are_within_days(every_us: int, tmp_path: Path) -> None:
    """Another rotation is refused."""
    with pytest.raises(AttributeValueError, match="must divide a day"):
        ParquetOptions(
            tmp_path / "a.parquet",
            dataset=str(tmp_path),
            rotate_every=Microseconds(every_us),
        )


def snapshots_of(root: Path) -> list[Snapshot]:
    """Return all snapshots of a dataset."""
    with DatasetReader(str(root)) as reader:
        return list(reader.snapshots())


def test_compaction_changes_nothing_but_the_files(dataset: Path) -> None:
    """Each partition has one file then, with the same aggregations."""
    before = snapshots_of(dataset)
    done = compact(Store(str(dataset)))
    assert (done.partitions, done.files) == (4, 8)
    assert len(files(dataset)) == 4
    for found, expected in zip(snapshots_of(dataset), before, strict=True):
        assert_same_snapshot(found, expected)


def test_contexts_of_the_same_time_are_put_together(tmp_path: Path) -> None:
    """In the order of time, as a record of both would be."""
    store = Store(str(tmp_path / "fleet"))
    for context in ("db", "web"):
        publish(written(tmp_path / f"{context}.parquet", taken(context=context)), store)
    compact(store)
    found = [(each.number, each.context) for each in snapshots_of(tmp_path / "fleet")]
    assert found == [(number, f"web-1/{name}") for number in range(1, 6) for name in ("db", "web")]


def rows_in(root: Path) -> int:
    """Return how many rows another engine finds in a dataset, in all of its folders."""
    return sum(pq.read_metadata(path).num_rows for path in root.rglob("*.parquet"))


@pytest.fixture
def seen(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what is there before and after each change of a dataset's files, from now on."""
    found: list[int] = []

    def watch(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def step(*arguments: Any, **options: Any) -> Any:
            found.append(rows_in(dataset))
            try:
                return real(*arguments, **options)
            finally:
                found.append(rows_in(dataset))

        monkeypatch.setattr(owner, name, step)

    watch(store, "exchange")
    watch(Store, "_copy")
    watch(Store, "put")
    watch(Store, "remove")
    watch(shutil, "rmtree")
    return found


def test_other_engines_see_each_row_once_all_the_time(dataset: Path, seen: list[int]) -> None:
    """A partition's folder is replaced at once."""
    total = rows_in(dataset)
    compact(Store(str(dataset)))
    assert len(seen) > 4 * 4
    assert {*seen} == {total}


@pytest.mark.slow
def test_where_folders_can_t_be_exchanged_no_row_is_missing(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, seen: list[int]
) -> None:
    """They are there twice for a moment, and once in the end."""
    total = rows_in(dataset)
    monkeypatch.setattr("damon_parquet.store.exchange", lambda _one, _other: False)
    compact(Store(str(dataset)))
    assert min(seen) == total < max(seen)
    assert rows_in(dataset) == total
    assert len(files(dataset)) == 4


@pytest.mark.slow
def test_into_another_dataset_each_day_is_one_file(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any time; what comes later is put into it."""
    days, total = tmp_path / "days", rows_in(dataset)
    found, real = [], Store.remove

    def watched(of: Store, file: DatasetFile) -> None:
        real(of, file)
        found.append([len([*day.iterdir()]) for day in days.glob("*/*")])

    monkeypatch.setattr(Store, "remove", watched)
    compact(Store(str(dataset)), into=Store(str(days)))
    late = taken(BEGIN_US + 6 * HOUR_US, hours=1)
    publish(written(tmp_path / "late.parquet", late), Store(str(dataset)))
    compact(Store(str(dataset)), into=Store(str(days)))
    assert {number for counts in found for number in counts} == {1}
    assert len(files(days)) == 4
    assert rows_in(days) == total + 2
    assert files(dataset) == []


@pytest.mark.slow
def test_what_arrives_meanwhile_stays(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is published while its partition is put together."""
    total, real = rows_in(dataset), exchange

    def late(one: Path, other: Path) -> bool:
        (dataset.parent / "late").mkdir(exist_ok=True)
        begin_us = BEGIN_US + int("27" in one.name) * DAY_US + 6 * HOUR_US
        host = one.parent.name.removeprefix("host=")
        path = dataset.parent / "late" / f"{host}-{one.name}.parquet"
        publish(written(path, taken(begin_us, hours=1), host), Store(str(dataset)))
        return real(one, other)

    monkeypatch.setattr("damon_parquet.store.exchange", late)
    compact(Store(str(dataset)))
    assert rows_in(dataset) == total + 4 * 2
    assert len(files(dataset)) == 2 * 4


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("killed", ["before", "after"])
def test_compaction_that_was_killed_loses_and_doubles_nothing(
    killed: str, inside: bool, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after a folder is exchanged; the next compaction finds what was left."""
    before, total = [each.number for each in snapshots_of(dataset)], rows_in(dataset)
    real = exchange
    if inside:  # where the dataset is a file system of its own
        monkeypatch.setattr(Store, "_places_beside", lambda _store: [("", ".compacting-")])

    def kill(one: Path, other: Path) -> bool:
        if killed == "after":
            real(one, other)
        else:
            shutil.copytree(other, other.with_name(f"{other.name}x"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("damon_parquet.store.exchange", kill)
        with pytest.raises(KeyboardInterrupt):
            compact(Store(str(dataset)))
    found = dataset.glob("*/*/*.parquet")
    assert sum(pq.read_metadata(path).num_rows for path in found) == total
    assert [each.number for each in snapshots_of(dataset)] == before
    assert [*(dataset if inside else dataset.parent).glob(".*compacting-*")]
    compact(Store(str(dataset)))
    assert [*dataset.parent.glob(".fleet.*"), *dataset.glob(".*")] == []
    assert len(files(dataset)) == 4
    assert rows_in(dataset) == total
    assert [each.number for each in snapshots_of(dataset)] == before


def test_a_report_doesn_t_notice_a_compaction(dataset: Path) -> None:
    """Which begins after the dataset was listed."""
    before = snapshots_of(dataset)
    with DatasetReader(str(dataset)) as reader:
        compact(Store(str(dataset)))
        found = list(reader.snapshots())
    assert [(each.context, each.time_us) for each in found] == [
        (each.context, each.time_us) for each in before
    ]


def test_compacted_files_may_be_read_by_the_same_people(dataset: Path) -> None:
    """By a group, where it could read those before."""
    for path in dataset.rglob("*"):
        path.chmod(0o750 if path.is_dir() else 0o640)
    compact(Store(str(dataset)))
    modes = {path.stat().st_mode & 0o777 for path in dataset.rglob("*")}
    assert modes == {0o750, 0o640}


def test_one_compaction_at_a_time(dataset: Path) -> None:
    """A second one says that there is one, and changes nothing."""
    with Store(str(dataset)).compacting(), pytest.raises(InputError, match="another program"):
        compact(Store(str(dataset)))
    assert len(files(dataset)) == 8


def test_a_broken_file_keeps_only_its_partition_from_compaction(
    dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Which stays as it is."""
    (dataset / files(dataset)[0]).parent.joinpath("broken.parquet").write_bytes(b"broken")
    done = compact(Store(str(dataset)))
    assert (done.partitions, done.failed) == (3, 1)
    assert "broken.parquet" in caplog.text
    assert len(files(dataset)) == 3 + 3


@pytest.mark.parametrize("other", ["./fleet/", "link"])
def test_a_dataset_is_not_moved_into_itself(
    small: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is written: what was put there would be removed with what it was made of."""
    before = files(small)
    monkeypatch.chdir(small.parent)
    Path("link").symlink_to(small)
    with pytest.raises(InputError, match="is the dataset itself"):
        compact(Store(str(small)), into=Store(other))
    with pytest.raises(InputError, match="is the dataset itself"):
        downsample(Store(str(small)), Store(other), HOUR_US)
    assert files(small) == before


def test_a_dataset_of_two_places_is_not_emptied(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can tell that they are one, as an object store under two names."""
    days = small.parent / "days"
    compact(Store(str(small)), into=Store(str(days)))
    before = snapshots_of(days)
    monkeypatch.setattr(Store, "place", property(id))
    compact(Store(str(days)), into=Store(str(days)))
    assert [each.time_us for each in snapshots_of(days)] == [each.time_us for each in before]


@pytest.mark.parametrize("name", ["", "days\udcff"])
def test_a_name_that_no_dataset_has(name: str) -> None:
    """Neither this directory nor an internal error."""
    with pytest.raises(InputError, match=r"is empty|isn't UTF-8"):
        Store(name)


def test_names_of_files_that_are_no_text(small: Path) -> None:
    """Of somebody else's: it is said what is in the way."""
    (small / "host=a\udcff").mkdir()
    with pytest.raises(InputError, match="names aren't UTF-8"):
        Store(str(small)).files()


def test_compaction_leaves_later_days_alone(dataset: Path) -> None:
    """Those that are still written."""
    compact(Store(str(dataset)), last="2026-11-26")
    assert len(files(dataset)) == 6


class TestLongerAggregations:
    """`downsample`: a dataset of them beside another, which stays."""

    @staticmethod
    def made(dataset: Path, every_us: int = 4 * HOUR_US) -> tuple[Path, int]:
        """Make one; return it and how many partitions were made."""
        into = dataset.parent / "longer"
        done = downsample(Store(str(dataset)), Store(str(into)), every_us)
        assert not done.failed
        return into, done.partitions

    def test_each_day_adds_up_to_the_same(self, dataset: Path) -> None:
        """Checks, times and accesses are those of the dataset, which is as it was."""
        before = files(dataset)
        into, _ = self.made(dataset)
        assert files(dataset) == before
        assert files(into) == [
            f"host={host}/date={date}/day.parquet"
            for host in ("web-1", "web-2")
            for date in ("2026-11-26", "2026-11-27")
        ]
        exact, longer = snapshots_of(dataset), snapshots_of(into)
        assert len(longer) < len(exact)
        totals = RecordTotals.of(exact)
        assert totals.byte_checks > 0
        assert totals.differences(RecordTotals.of(longer), RecordInfo(), shortened=True) == []

    def test_what_is_made_is_not_made_again(self, dataset: Path) -> None:
        """Unless more arrives; then it is made anew of all of it."""
        self.made(dataset)
        assert self.made(dataset)[1] == 0
        late = written(dataset.parent / "late.parquet", taken(BEGIN_US + 20 * HOUR_US))
        publish(late, Store(str(dataset)))
        into, partitions = self.made(dataset)
        assert partitions == 1
        checks = RecordTotals.of(snapshots_of(into)).checks
        assert checks == RecordTotals.of(snapshots_of(dataset)).checks

    def test_what_came_late_does_not_replace_what_is_gone(
        self, dataset: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The longer ones have more than what is left of a day: they stay."""
        into, _ = self.made(dataset)
        day = "host=web-1/date=2026-11-26"
        before = (into / day / "day.parquet").read_bytes()
        shutil.rmtree(dataset / day)
        late = written(dataset.parent / "late.parquet", taken(BEGIN_US + 20 * HOUR_US))
        publish(late, Store(str(dataset)))
        done = downsample(Store(str(dataset)), Store(str(into)), 4 * HOUR_US)
        assert (done.partitions, done.failed) == (0, 1)
        assert "or of more than are left" in caplog.text
        assert (into / day / "day.parquet").read_bytes() == before

    def test_another_length_is_refused(self, small: Path) -> None:
        """Also where all days are there: they are of the length that they were made with."""
        into, _ = self.made(small)
        before = {path: path.read_bytes() for path in into.rglob("*.parquet")}
        with pytest.raises(InputError, match="was made with --every 4h, not 2h: put other len"):
            self.made(small, 2 * HOUR_US)
        assert {path: path.read_bytes() for path in into.rglob("*.parquet")} == before

    def test_files_that_don_t_say_their_length_are_added_to(self, small: Path) -> None:
        """Such as of older versions."""
        into = small.parent / "longer"
        old = written(small.parent / "old.parquet", taken(BEGIN_US - DAY_US))
        Store(str(into)).put(old, DatasetFile("web-1", "2026-11-25", "day.parquet"))
        assert self.made(small)[1] == 1

    def test_what_is_longer_already_is_refused(
        self, small: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing shorter can be made of it."""
        into, _ = self.made(small)
        done = downsample(Store(str(into)), Store(str(small.parent / "hours")), HOUR_US)
        assert (done.partitions, done.failed) == (0, 1)
        assert "has aggregations of 4h, which can't be made shorter: 1h" in caplog.text

    def test_what_they_were_made_of_is_not_moved_to_them(
        self, small: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """By a compaction without a length: both would count."""
        into, _ = self.made(small)
        before = files(small)
        done = compact(Store(str(small)), into=Store(str(into)))
        assert (done.partitions, done.failed) == (0, 1)
        assert "has aggregations of 4h of the same time" in caplog.text
        assert files(small) == before

    def test_one_length_after_another_is_moved(self, tmp_path: Path) -> None:
        """As of a callback whose `every` was changed at noon."""
        store, into = Store(str(tmp_path / "fleet")), Store(str(tmp_path / "days"))
        for hour, every_us in ((0, HOUR_US), (12, None)):
            path = tmp_path / f"{hour}.parquet"
            info = RecordInfo(host="web-1", contexts=(ContextInfo("db"),), every_us=every_us)
            with ParquetWriter(path, info) as writer:
                for snapshot in taken(BEGIN_US + hour * HOUR_US):
                    writer.write(snapshot)
            publish(path, store)
            assert compact(store, into=into).partitions == 1
        with DatasetReader(str(tmp_path / "days")) as reader:
            assert reader.info.every_us is None
            assert len(list(reader.snapshots())) == 2 * len(taken())

    def test_a_kill_at_any_time_counts_nothing_twice(
        self, dataset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next run makes what is missing."""

        class KilledError(BaseException):
            pass

        def put(*_: object) -> None:
            raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(Store, "put", put)
            with pytest.raises(KilledError):
                self.made(dataset)
        into, partitions = self.made(dataset)
        assert partitions == 4
        checks = RecordTotals.of(snapshots_of(into)).checks
        assert checks == RecordTotals.of(snapshots_of(dataset)).checks

    def test_a_broken_file_keeps_only_its_partition(
        self, dataset: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is named, and the others are made."""
        broken = dataset / "host=web-1/date=2026-11-26/broken.parquet"
        broken.write_bytes(b"PAR1")
        done = downsample(Store(str(dataset)), Store(str(dataset.parent / "longer")), HOUR_US)
        assert (done.partitions, done.failed) == (3, 1)
        assert "broken.parquet' is no record" in caplog.text


def test_hosts_with_strange_names(tmp_path: Path) -> None:
    """They stay folders of one level, and come back as they were."""
    store = Store(str(tmp_path / "fleet"))
    publish(written(tmp_path / "a.parquet", taken(), "a/b=c é"), store)
    assert [each.host for each in store.files()] == ["a/b=c é"]
    assert len([*(tmp_path / "fleet").iterdir()]) == 1


def test_files_are_private(tmp_path: Path) -> None:
    """Unless a group may read them."""
    publish(written(tmp_path / "a.parquet", taken()), Store(str(tmp_path / "fleet")))
    (path,) = (tmp_path / "fleet").rglob("*.parquet")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_unknown_store() -> None:
    """It is refused with the reason."""
    with pytest.raises(InputError, match="nowhere"):
        Store("nowhere://bucket/prefix")


def test_removing_what_is_gone(tmp_path: Path) -> None:
    """As of another compaction."""
    Store(str(tmp_path)).remove(DatasetFile("a", "2026-11-26", "a.parquet"))
