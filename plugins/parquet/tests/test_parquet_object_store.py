"""Datasets in an object store: a real server of S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from damon_parquet.callback import ParquetCallback
from damon_parquet.compaction import compact
from damon_parquet.dataset import DatasetReader
from damon_parquet.options import ParquetOptions
from damon_parquet.publishing import publish
from damon_parquet.store import Store
from damon_parquet.writer import ParquetWriter

from damon_core import Context, DamonError, Intervals, RecordInfo, VirtualClock
from damon_core.testing import RegionRow, ScriptedMemory, ScriptedRegion, make_snapshot, run
from tests.object_store import BUCKET, object_store

pytestmark = pytest.mark.slow
HOUR_US = 3_600_000_000


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty folder in a bucket."""
    with object_store(monkeypatch) as (_, options):
        yield f"s3://{BUCKET}/{tmp_path.name}?{options}"


def published(folder: Path, store: Store, hosts: int = 2) -> None:
    """Publish two records of each of some hosts, with one aggregation each."""
    for host in range(hosts):
        for number in (1, 2):
            path = folder / f"{host}-{number}.parquet"
            with ParquetWriter(path, RecordInfo(host=f"host-{host}")) as writer:
                writer.write(make_snapshot({"a": [RegionRow(0, 4096, 5)]}, number=number))
            publish(path, store)


def test_the_callback_publishes(bucket: str, tmp_path: Path) -> None:
    """Hour by hour: all aggregations are there, and nothing stays here."""
    callback = ParquetCallback(ParquetOptions(tmp_path / "db.parquet", dataset=bucket))
    memory = ScriptedMemory({"t": [ScriptedRegion(0, 1 << 20)]}, 20 * 18)
    ten_minutes = Intervals(HOUR_US // 120, HOUR_US // 6, HOUR_US // 6)
    run(Context(memory, [callback], intervals=ten_minutes, clock=VirtualClock()))
    with DatasetReader(bucket) as reader:
        assert [each.number for each in reader.snapshots()] == [*range(1, 19)]
    assert [*tmp_path.iterdir()] == []


def test_hosts_are_pruned(bucket: str, tmp_path: Path) -> None:
    """By the listing."""
    published(tmp_path, Store(bucket))
    with DatasetReader(bucket, ["host-1"]) as reader:
        assert {each.context for each in reader.snapshots()} == {"host-1/context"}


def test_compaction(bucket: str, tmp_path: Path) -> None:
    """One object for each host and day, with all aggregations."""
    store = Store(bucket)
    published(tmp_path, store)
    assert compact(store).partitions == 2
    assert len(store.files()) == 2
    with DatasetReader(bucket) as reader:
        assert [each.number for each in reader.snapshots()] == [1, 2, 1, 2]


def test_compaction_into_another_dataset(bucket: str, tmp_path: Path) -> None:
    """There each host and day is one object, before, while and after more is put into it."""
    incoming, days = Store(bucket), Store(bucket.replace("?", "-days?"))
    published(tmp_path, incoming)
    compact(incoming, into=days)
    assert [file.name for file in days.files()] == ["day.parquet"] * 2
    path = tmp_path / "late.parquet"
    with ParquetWriter(path, RecordInfo(host="host-1")) as writer:
        writer.write(make_snapshot({"a": [RegionRow(0, 4096, 5)]}, number=3))
    publish(path, incoming)
    compact(incoming, into=days)
    assert incoming.files() == []
    assert [file.name for file in days.files()] == ["day.parquet"] * 2
    with DatasetReader(days.location) as reader:
        assert [each.number for each in reader.snapshots()] == [1, 2, 1, 2, 3]


def test_a_bucket_that_isn_t_there(bucket: str, tmp_path: Path) -> None:
    """The record stays, and the reason is said."""
    store = Store(bucket.replace("fleet", "nothing"))
    with pytest.raises(DamonError, match="can't be written"):
        published(tmp_path, store, hosts=1)
    assert (tmp_path / "0-1.parquet").exists()
