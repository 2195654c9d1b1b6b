"""Encodings of columns: the shortest, with the same values for every reader."""

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damon_parquet.rowgroup import encode_table
from damon_parquet.rows import to_table

from damon_core import Intervals, Snapshot, TargetRows, assemble_snapshot

REGIONS = 100


def table_of(borders: npt.NDArray[Any], counts: npt.NDArray[Any]) -> pa.Table:
    """Return rows of aggregations with these borders and counts, one row of each for each."""
    intervals = Intervals()
    snapshots: list[Snapshot] = []
    for number, (border, count) in enumerate(zip(borders, counts, strict=True), 1):
        start, end = border[:-1], border[1:]
        nothing = np.zeros(len(start), dtype=np.int64)
        snapshots.append(
            assemble_snapshot(
                {
                    "start": start,
                    "end": end,
                    "nr_accesses": count * 1.0,
                    "age": nothing,
                    "idle_us": nothing,
                    "resident_bytes": end - start,
                },
                [TargetRows("some", len(start))],
                context="some",
                number=number,
                time_us=1_700_000_000_000_000 + number * intervals.aggregation_us,
                elapsed_us=intervals.aggregation_us,
                intervals=intervals,
                max_nr_accesses=intervals.checks,
            )
        )
    return to_table(snapshots, {})


def moving(aggregations: int = 64) -> pa.Table:
    """Return rows of regions whose borders move a little each time, with counts of all kinds."""
    rng = np.random.default_rng(1)
    even = np.arange(REGIONS + 1) << 24
    borders = even + (rng.integers(0, 64, (aggregations, REGIONS + 1)) << 12)
    return table_of(borders, rng.random((aggregations, REGIONS)) * 20)


def still(aggregations: int = 64) -> pa.Table:
    """Return rows of regions that stay, with counts of which there are few."""
    rng = np.random.default_rng(1)
    borders = np.tile(np.unique(rng.integers(1, 1 << 34, REGIONS + 1)) << 12, (aggregations, 1))
    few = rng.random(5) * 20
    return table_of(borders, few[rng.integers(0, 5, (aggregations, REGIONS))])


def encodings_of(table: pa.Table) -> dict[str, set[str]]:
    """Return the encodings that columns have in a file, without those of levels."""
    group = pq.read_metadata(pa.BufferReader(encode_table(table))).row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    return {column.path_in_schema: {*column.encodings} - {"RLE"} for column in columns}


def test_values_that_are_close_to_each_other_are_split_by_byte() -> None:
    """Borders that move a little have most bytes in common."""
    found = encodings_of(moving())
    assert found["start"] == found["end"] == {"BYTE_STREAM_SPLIT"}


def test_few_counts_have_a_dictionary() -> None:
    """Only where there are few: elsewhere it would be a second list of all."""
    assert "RLE_DICTIONARY" in encodings_of(still())["nr_accesses"]
    assert "RLE_DICTIONARY" not in encodings_of(moving())["nr_accesses"]


def test_a_few_rows_arent_tried() -> None:
    """Trying would take longer than writing them."""
    assert encodings_of(still(2))["nr_accesses"] == {"BYTE_STREAM_SPLIT"}


@pytest.mark.parametrize("table", [moving(), still()], ids=["moving", "still"])
def test_every_reader_finds_the_same(
    table: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Values and order, whatever the encodings."""
    path = tmp_path_factory.mktemp("encodings") / "some.parquet"
    path.write_bytes(encode_table(table))
    names = ["start", "end", "nr_accesses", "alike_since", "resident_bytes"]
    expected = [table[name].to_pylist() for name in names]
    listed = ", ".join(f'"{name}"' for name in names)
    by_duckdb = duckdb.sql(f"SELECT {listed} FROM '{path}'")
    assert by_duckdb is not None
    assert [*map(list, zip(*by_duckdb.fetchall(), strict=True))] == expected
    by_polars = polars.read_parquet(path, columns=names)
    assert [by_polars[name].to_list() for name in names] == expected
    by_pyarrow = pq.read_table(path, columns=names)
    assert [by_pyarrow[name].to_pylist() for name in names] == expected
