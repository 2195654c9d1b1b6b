"""Records that other programs have written anew, and damaged ones."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from damon_parquet import rewritten
from damon_parquet.reader import ParquetReader
from damon_parquet.writer import ParquetWriter

from damon_core import Area, DamonError, InputError, RecordInfo, Snapshot
from damon_core.testing import RegionRow, assert_same_snapshot, make_snapshot

T0 = 1_700_000_000_000_000
MIB = 1 << 20


def a_snapshot(number: int) -> Snapshot:
    """Return an aggregation of two targets, and every seventh time of none."""
    targets = {
        name: [
            RegionRow(
                (index + 1) * MIB,
                (index + 2) * MIB,
                (number + index) % 21,
                0,
                0 if (number + index) % 21 else 100_000,
                MIB,
            )
            for index in range(5)
        ]
        for name in ("web", "db")
    }
    return make_snapshot(
        targets if number % 7 else {},
        number=number,
        time_us=T0 + number * 100_000,
        elapsed_us=100_000,
        areas={"web": [Area(0, MIB, "[heap]")]} if number % 7 else {},
    )


SNAPSHOTS = [a_snapshot(number) for number in range(1, 61)]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a record of some seconds."""
    path = tmp_path_factory.mktemp("record") / "out.parquet"
    with ParquetWriter(path, RecordInfo("here")) as writer:
        for snapshot in SNAPSHOTS:
            writer.write(snapshot)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    """A record of some seconds, which the test may change."""
    path = tmp_path / "out.parquet"
    path.write_bytes(content)
    return path


def read(path: Path) -> list[Snapshot]:
    """Return what is in a record."""
    with ParquetReader(path) as reader:
        return list(reader.snapshots())


def assert_same(found: list[Snapshot], targets_sorted: bool = False) -> None:
    """Compare with what was written."""
    assert [each.number for each in found] == [each.number for each in SNAPSHOTS]
    for one, other in zip(found, SNAPSHOTS, strict=True):
        if targets_sorted:
            ours = {target.name: target for target in other.targets}
            assert {each.name for each in one.targets} == set(ours)
            for each in one.targets:
                assert each.start.tolist() == ours[each.name].start.tolist()
                assert each.nr_accesses.tolist() == ours[each.name].nr_accesses.tolist()
                assert each.idle_us.tolist() == ours[each.name].idle_us.tolist()
        else:
            assert_same_snapshot(one, other)


def plain_strings(table: pa.Table, kind: pa.DataType) -> pa.Table:
    """Return a table whose names have another type."""
    for name in ("context", "target"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].cast(kind))
    return table


WAYS: dict[str, tuple[Callable[[pa.Table], pa.Table], dict[str, Any]]] = {
    "other row groups": (lambda table: table, {"row_group_size": 7}),
    "large strings": (lambda table: plain_strings(table, pa.large_string()), {}),
    "other encodings": (
        lambda table: plain_strings(table, pa.string()),
        {"use_dictionary": False, "data_page_version": "2.0", "compression": "brotli"},
    ),
    "another column": (lambda table: table.append_column("x", pa.array(range(len(table)))), {}),
    "other order of columns": (lambda table: table.select(sorted(table.column_names)), {}),
    "no metadata": (lambda table: table.replace_schema_metadata(None), {}),
    "floats": (
        lambda table: pa.table(
            {
                name: table[name].cast(pa.float64())
                if pa.types.is_integer(table[name].type)
                else table[name]
                for name in table.column_names
            }
        ),
        {},
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part_rows", [1, 1 << 16])
def test_what_was_rewritten_is_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, way: str, part_rows: int
) -> None:
    """Whichever aggregations its row groups divide, and whatever types its columns have."""
    monkeypatch.setattr(rewritten, "_PART_ROWS", part_rows)
    change, options = WAYS[way]
    pq.write_table(change(pq.read_table(path)), path, **options)
    assert_same(read(path))


@pytest.mark.parametrize("order", ["start", "nr_accesses", "number", "reversed"])
def test_rows_of_another_order_are_sorted(path: Path, order: str) -> None:
    """Aggregations come out whole, in the order of time."""
    table = pq.read_table(path)
    if order == "reversed":
        table = table.take(pa.array(range(len(table) - 1, -1, -1)))
    else:
        table = table.sort_by([(order, "descending")])
    pq.write_table(table, path, row_group_size=50)
    assert_same(read(path), targets_sorted=True)


def test_too_many_rows_of_another_order_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do about it."""
    monkeypatch.setattr(rewritten, "_MOST_ROWS", 10)
    pq.write_table(pq.read_table(path).sort_by("start"), path)
    wanted = "sort them by 'time', 'number', 'context', 'target' and 'start'"
    with pytest.raises(InputError, match=wanted):
        ParquetReader(path)


def test_a_record_without_idle_times_and_sizes_says_so(path: Path) -> None:
    """They are filled in, as of any record that lacks them."""
    names = ("idle_since", "resident_bytes", "areas")
    pq.write_table(pq.read_table(path).drop_columns(list(names)), path)
    with ParquetReader(path) as reader:
        assert set(reader.info.filled_in) == {"idle_us", "resident_bytes", "areas"}
        found = next(reader.snapshots())
    assert found.resident_bytes.tolist() == [MIB] * 10
    assert not found.idle_us[found.nr_accesses > 0].any()


def test_columns_that_are_missing_are_named(path: Path) -> None:
    """With the file."""
    pq.write_table(pq.read_table(path).drop_columns(["alike_since", "elapsed_us"]), path)
    with pytest.raises(InputError, match=r"out\.parquet' .*lacks 'elapsed_us' and 'alike_since'"):
        ParquetReader(path)


def test_a_column_of_a_wrong_type_is_named(path: Path) -> None:
    """With both types."""
    table = pq.read_table(path)
    place = table.schema.get_field_index("areas")
    table = table.set_column(place, "areas", pa.array(range(len(table))))
    pq.write_table(table, path)
    with pytest.raises(InputError, match="column 'areas' is of type int64, not list"):
        ParquetReader(path)


def test_a_column_with_wrong_values_is_named(path: Path) -> None:
    """When they are read."""
    table = pq.read_table(path)
    place = table.schema.get_field_index("alike_since")
    halves = pc.add(table["alike_since"].cast(pa.float64()), 0.5)
    pq.write_table(table.set_column(place, "alike_since", halves), path)
    with pytest.raises(DamonError, match="column 'alike_since'"):
        read(path)


def test_a_file_of_other_columns_is_no_record(path: Path) -> None:
    """It has nothing of one."""
    pq.write_table(pa.table({"x": [1], "time": [2]}), path)
    with pytest.raises(InputError, match="no record of memory accesses"):
        ParquetReader(path)


def test_rows_that_are_there_twice_are_refused(path: Path) -> None:
    """As where two copies were put together: counted twice, they would be nonsense."""
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(DamonError, match="regions overlap"):
        read(path)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("start", -4096, "its start is negative"),
        ("end", 1, "its end isn't above its start"),
        ("nr_accesses", -1, "its accesses are negative"),
        ("nr_accesses", 1 << 20, "more accesses than there were checks"),
        ("alike_since", 10**9, "its age is negative"),
        ("max_nr_accesses", 0, "a number of checks below 1"),
    ],
)
def test_rows_that_cannot_be_are_refused(path: Path, column: str, value: int, why: str) -> None:
    """With the aggregation and the region."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    values = table[column].to_pylist()
    values[23] = value
    if column == "max_nr_accesses":
        values = [value] * len(values)
    pq.write_table(table.set_column(place, column, pa.array(values, table[column].type)), path)
    with pytest.raises(DamonError, match=rf"out\.parquet', .*aggregation \d+.*{why}"):
        read(path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """At once: nobody may ever write to it."""
    os.mkfifo(tmp_path / "pipe.parquet")
    with pytest.raises(InputError, match="is not a regular file"):
        ParquetReader(tmp_path / "pipe.parquet")


# -- damage ------------------------------------------------------------------------------


def as_values(snapshots: list[Snapshot]) -> list[object]:
    """Return what can be compared."""
    return [
        (each.number, each.time_us, {name: col.tolist() for name, col in each.columns().items()})
        for each in snapshots
    ]


WRITTEN = as_values(SNAPSHOTS)


@pytest.mark.parametrize(
    "seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 200))]
)
def test_a_flipped_bit_gives_no_other_value(path: Path, content: bytes, seed: int) -> None:
    """Anywhere in the file: what is read is as it was written, or an error says that it isn't."""
    rng = random.Random(seed)
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    found: list[Snapshot] = []
    try:
        with ParquetReader(path) as reader:
            found.extend(reader.snapshots())
    except DamonError:
        pass
    values = as_values(found)
    assert values == WRITTEN[: len(values)]


def test_a_flipped_bit_in_the_footer_costs_nothing(path: Path, content: bytes) -> None:
    """Every row group describes itself."""
    size = len(content)
    for position in range(size - 3000, size, 297):
        damaged = bytearray(content)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        assert as_values(read(path)) == WRITTEN


def test_pages_have_checksums_for_other_programs(path: Path) -> None:
    """They can see damage, too."""
    damaged = bytearray(path.read_bytes())
    schema = pq.read_schema(path)
    chunk = pq.read_metadata(path).row_group(0).column(schema.get_field_index("start"))
    damaged[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises((OSError, pa.ArrowException), match=r"(?i)crc|checksum"):
        pq.read_table(path, columns=["start"], page_checksum_verification=True)
