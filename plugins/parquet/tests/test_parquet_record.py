"""Records in Parquet: what is written comes back, with every reader."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damon_parquet.reader import ParquetReader
from damon_parquet.schema import FIELDS
from damon_parquet.writer import ParquetWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import (
    IDLE_SPANS,
    SPECTRUM_US,
    UNKNOWN,
    Area,
    ContextInfo,
    DamonError,
    IdleAges,
    InputError,
    Intervals,
    Owner,
    RecordInfo,
    RegionLimits,
    Reported,
    Snapshot,
    Spectrum,
    TargetRows,
    Toll,
    assemble_snapshot,
    freeze_labels,
    kind_columns,
)
from damon_core.testing import (
    RegionRow,
    assert_same_snapshot,
    make_snapshot,
)

T0 = 1_700_000_000_000_000
INFO = RecordInfo(
    "host",
    "Linux 6.12",
    "damon record -- 'a b'",
    "damon-core 0.1.0",
    (
        ContextInfo("db", "vaddr", "idle", "evidence", Intervals(), RegionLimits(), 0.02),
        ContextInfo("other"),
    ),
)


def a_snapshot(
    number: int,
    targets: Mapping[str, int],
    *,
    areas: Mapping[str, Sequence[Area]] | None = None,
    owners: Mapping[str, Sequence[Owner]] | None = None,
) -> Snapshot:
    """Return a snapshot with this number of pages, most of each resident, in each target."""
    rows = (
        RegionRow(4096 * (each + 1), 4096 * (each + 2), 3, each, 0, 4000)
        for each in range(sum(targets.values()))
    )
    return make_snapshot(
        {name: list(islice(rows, count)) for name, count in targets.items()},
        context="db",
        number=number,
        areas=areas,
        owners=owners,
    )


def write(path: Path, snapshots: Sequence[Snapshot]) -> None:
    """Write a record."""
    with ParquetWriter(path, INFO) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)


def read(path: Path, begin_us: int | None = None, end_us: int | None = None) -> list[Snapshot]:
    """Read a record."""
    with ParquetReader(path) as reader:
        return list(reader.snapshots(begin_us, end_us))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NUMBERS = st.integers(0, (1 << 62) - 1)
IDLE_AGES = st.builds(IdleAges, *[st.none() | NUMBERS] * 3)
AREAS = st.lists(st.builds(Area, NUMBERS, NUMBERS, NAMES), max_size=3).map(tuple)
OWNERS = st.lists(st.builds(Owner, NAMES, NAMES, NUMBERS, NUMBERS, NUMBERS), max_size=2).map(tuple)

PRINTABLE = NAMES.filter(str.isprintable)
LABELS = st.dictionaries(st.sampled_from(["unit", "pod"]), PRINTABLE).map(freeze_labels)
SPECTRA = st.none() | st.builds(
    Spectrum, st.tuples(*[st.none() | NUMBERS] * len(SPECTRUM_US)), NUMBERS
)
REPORTED = st.builds(
    Reported,
    st.none() | st.tuples(*[st.integers(-(1 << 62), (1 << 62) - 1)] * 101),
    st.none() | NUMBERS,
)
TOLLS = st.just(Toll()) | st.builds(Toll, NUMBERS, NUMBERS, NUMBERS)


@st.composite
def snapshots(draw: st.DrawFn) -> list[Snapshot]:
    """Draw aggregations of contexts whose targets and areas come and go."""
    known = draw(st.lists(AREAS, min_size=1, max_size=2))
    drawn = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        targets = [
            TargetRows(
                name,
                draw(st.integers(0, 3)),
                draw(st.sampled_from(known)),
                draw(OWNERS),
                draw(TOLLS),
                draw(IDLE_AGES),
                labels=draw(LABELS),
                spectrum=draw(SPECTRA),
                stale_us=draw(NUMBERS),
                reported=draw(REPORTED),
            )
            for name in draw(st.lists(st.sampled_from("abc"), unique=True))
        ]
        count = sum(target.count for target in targets)
        column = st.lists(NUMBERS, min_size=count, max_size=count)
        starts = draw(st.lists(st.integers(0, 1 << 61), min_size=count, max_size=count))
        some = st.floats(1e-6, 1 << 24) | st.integers(0, 20).map(float)
        counts = st.lists(some, min_size=count, max_size=count)
        sampling_us = draw(st.integers(1, 10_000))
        optional: dict[str, Any] = {"touched_bytes": np.array(draw(column), dtype=np.int64)}
        idle = st.lists(NUMBERS | st.just(UNKNOWN), min_size=count, max_size=count)
        optional |= {span.column: np.array(draw(idle), dtype=np.int64) for span in IDLE_SPANS}
        names = draw(st.lists(st.sampled_from(["huge", "file", "node0"]), unique=True, min_size=1))
        optional["kinds"] = kind_columns(count, {name: np.array(draw(idle)) for name in names})
        drawn.append(
            assemble_snapshot(
                {
                    "start": np.array(starts, dtype=np.int64),
                    "end": np.array(starts, dtype=np.int64) + draw(st.integers(1, 1 << 61)),
                    "nr_accesses": np.array(draw(counts), dtype=np.float64),
                    "age": np.array(draw(column), dtype=np.int64),
                    "idle_us": np.array(draw(column), dtype=np.int64),
                    "resident_bytes": np.array(draw(column), dtype=np.int64),
                    **{name: each for name, each in optional.items() if draw(st.booleans())},
                },
                targets,
                context=draw(st.sampled_from(["x", "y"])),
                number=number,
                # Now and then long enough for a row group of its own.
                time_us=T0 + number * draw(st.sampled_from([1_000, 61_000_000])),
                elapsed_us=draw(st.integers(0, 1 << 40)),
                intervals=Intervals(sampling_us, draw(st.integers(sampling_us, 1 << 40)), 10_000),
                max_nr_accesses=draw(st.integers(1 << 24, 1 << 40)),
            )
        )
    return sorted(drawn, key=lambda each: each.time_us)


@pytest.mark.slow
@settings(max_examples=40)
@given(snapshots())
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[Snapshot]
) -> None:
    """Every field of every aggregation, empty ones too; of fractions the first seven digits."""
    path = tmp_path_factory.mktemp("record") / "out.parquet"
    write(path, wanted)
    found = read(path)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert_same_snapshot(one, other, rtol=1 / 128)


@pytest.mark.slow
@settings(max_examples=40)
@given(snapshots(), st.integers(0, 8), st.integers(0, 8))
def test_times_select(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[Snapshot], first: int, last: int
) -> None:
    """Areas from before the beginning are known after it."""
    path = tmp_path_factory.mktemp("record") / "out.parquet"
    write(path, wanted)
    times_us = [snapshot.time_us for snapshot in wanted]
    begin_us, end_us = times_us[first % len(wanted)], times_us[last % len(wanted)]
    expected = [each for each in wanted if begin_us < each.time_us <= end_us]
    for one, other in zip(read(path, begin_us, end_us), expected, strict=True):
        assert_same_snapshot(one, other, rtol=1 / 128)


def test_areas_that_stay_are_one_object(tmp_path: Path) -> None:
    """So that nobody has to compare them to know that they haven't changed."""
    path = tmp_path / "out.parquet"
    areas = {"t": [Area(0, 9, "a")]}
    write(path, [a_snapshot(number, {"t": 2}, areas=areas) for number in range(1, 3000)])
    assert len({id(each.targets[0].areas) for each in read(path)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("begin_us", [None, T0 + 50_000_000])
def test_areas_that_go_are_gone(tmp_path: Path, begin_us: int | None) -> None:
    """That a target has none any more is recorded too, and known after the beginning."""
    path = tmp_path / "out.parquet"
    areas = [(Area(0, 9, "a"),) if number < 100 else () for number in range(1, 1000)]
    write(path, [a_snapshot(n, {"t": 1}, areas={"t": each}) for n, each in enumerate(areas, 1)])
    found = read(path, begin_us)
    assert [each.targets[0].areas for each in found] == areas[-len(found) :]


def test_how_it_was_made_comes_back(tmp_path: Path) -> None:
    """Host, kernel, command, versions and contexts are kept whole."""
    path = tmp_path / "out.parquet"
    write(path, [a_snapshot(1, {"t": 1})])
    assert ParquetReader(path).info == INFO


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    """They don't have every column, and say so; what isn't there is unknown."""
    path = tmp_path / "out.parquet"
    region = RegionRow(0, 4096, 20, touched_bytes=1024, idle_10s_bytes=7)
    ages = {"t": IdleAges(7)}
    write(path, [make_snapshot({"t": [region]}, tolls={"t": Toll(1, 2, 3)}, idle_ages=ages)])
    later = (
        "touched_bytes",
        *(span.column for span in IDLE_SPANS),
        *(span.age for span in IDLE_SPANS),
        "kinds",
        *("lost_us", "held_us", "longest_stall_us"),
        "spectrum",
        *("reported_idle_us", "reported_bytes_per_second"),
    )
    pq.write_table(pq.read_table(path).drop(later), path)
    (found,) = read(path)
    assert (found.touched_bytes, found.targets[0].toll) == (None, Toll())
    assert (found.idle_10s_bytes, found.idle_ages) == (None, IdleAges())
    assert ParquetReader(path).info.filled_in == later


def test_what_was_filled_in_comes_back(tmp_path: Path) -> None:
    """A record that was made of one without resident bytes doesn't know them either."""
    path = tmp_path / "out.parquet"
    info = RecordInfo(filled_in=("resident_bytes",))
    with ParquetWriter(path, info):
        pass
    assert ParquetReader(path).info == info


def test_the_file_explains_itself(tmp_path: Path) -> None:
    """Its metadata says, in JSON, how it was made and what each column means."""
    path = tmp_path / "out.parquet"
    write(path, [a_snapshot(1, {"t": 1})])
    metadata = pq.read_metadata(path).metadata
    made = json.loads(metadata[b"damon"])
    assert made["host"] == "host"
    assert made["contexts"][0]["intervals"]["aggregation_us"] == 100_000
    assert list(json.loads(metadata[b"damon.columns"])) == list(FIELDS)


@pytest.mark.slow
def test_span(tmp_path: Path) -> None:
    """From the beginning of the first aggregation to the end of the last."""
    path = tmp_path / "out.parquet"
    write(path, [a_snapshot(number, {"t": 1}) for number in range(1, 2000)])
    assert ParquetReader(path).span_us() == (T0, T0 + 1999 * 100_000)


def test_an_empty_record(tmp_path: Path) -> None:
    """Without aggregations it is a record without rows, for others too."""
    path = tmp_path / "out.parquet"
    write(path, [])
    assert read(path) == []
    assert ParquetReader(path).span_us() is None
    assert list(pd.read_parquet(path).columns) == list(FIELDS)


class TestOthers:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A record of some minutes with areas and owners."""
        path = tmp_path / "out.parquet"
        areas = {"a": [Area(0, 9, "[heap]")]}
        owners = {"a": [Owner("cgroup", "/a", 1, 2, 3)]}
        write(
            path,
            [
                a_snapshot(number, {"a": 2, "b": 3}, areas=areas, owners=owners)
                for number in range(1, 2001)
            ],
        )
        return path

    @pytest.mark.slow
    def test_pandas(self, path: Path) -> None:
        """Addresses are integers, times are times, names are categories."""
        table = pd.read_parquet(path)
        assert len(table) == 10_000
        assert table["start"].dtype == np.int64
        assert str(table["time"].dtype) == "datetime64[us, UTC]"
        assert table["target"].dtype == "category"
        assert table["time"].iloc[0] == pd.Timestamp(T0 + 100_000, unit="us", tz="UTC")
        assert table["areas"].iloc[0][0] == {"start": 0, "end": 9, "name": "[heap]"}

    def test_pandas_is_not_imported(self, path: Path) -> None:
        """Whoever has it installed doesn't wait for it in each report."""
        code = """
import sys
from pathlib import Path
from damon_parquet.reader import ParquetReader
reader = ParquetReader(Path(sys.argv[1]))
print(len(list(reader.snapshots())), reader.span_us() is None, "pandas" in sys.modules)
"""
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
        )
        assert done.stdout == "2000 False False\n"

    def test_row_groups_without_rows_are_passed_over(self, path: Path) -> None:
        """Other programs that rewrite a record may leave some."""
        table, whole = pq.read_table(path), read(path)
        with pq.ParquetWriter(path, table.schema) as writer:
            for part in (table.slice(0, 0), table, table.slice(0, 0)):
                writer.write_table(part)
        assert pq.read_metadata(path).num_row_groups == 3
        assert [each.number for each in read(path)] == [each.number for each in whole]
        assert ParquetReader(path).span_us() == (T0, T0 + 200_000_000)

    def test_a_record_rewritten_without_rows_is_empty(self, path: Path) -> None:
        """It has a row group, but no aggregation."""
        pq.write_table(pq.read_table(path).slice(0, 0), path)
        assert pq.read_metadata(path).num_row_groups == 1
        assert (read(path), ParquetReader(path).span_us()) == ([], None)

    def test_polars(self, path: Path) -> None:
        """A lazy query reads it."""
        found = (
            polars.scan_parquet(path)
            .group_by("target")
            .agg(polars.col("resident_bytes").sum())
            .sort("target")
            .collect()
        )
        assert found["resident_bytes"].to_list() == [4000 * 4000, 6000 * 4000]

    def test_duckdb(self, path: Path) -> None:
        """SQL reads it."""
        found = (
            duckdb.connect()
            .execute(
                f"""select target, count(*), min(number - alike_since), max("end"),
                    epoch_us(min(time)) from '{path}' group by target order by target"""
            )
            .fetchall()
        )
        assert found == [
            ("a", 4000, 0, 3 * 4096, T0 + 100_000),
            ("b", 6000, 2, 6 * 4096, T0 + 100_000),
        ]

    @pytest.mark.slow
    def test_what_others_wrote_is_read(self, path: Path, tmp_path: Path) -> None:
        """A record that pyarrow has written anew, in its own way, is a record."""
        again = tmp_path / "again.parquet"
        pq.write_table(pq.read_table(path), again, row_group_size=5_000)
        found = read(again)
        assert len(found) == 2000
        for one, other in zip(found, read(path), strict=True):
            assert_same_snapshot(one, other)


class TestWrongFiles:
    def test_missing(self, tmp_path: Path) -> None:
        """One line says which, and why."""
        with pytest.raises(InputError, match=r"none\.parquet' can't be read: No such file"):
            ParquetReader(tmp_path / "none.parquet")

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"time_us,context\n", b"PAR1" + bytes(99)])
    def test_not_parquet(self, tmp_path: Path, content: bytes) -> None:
        """One line says that it isn't Parquet."""
        path = tmp_path / "out.parquet"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"out\.parquet' is no record of Parquet"):
            ParquetReader(path)

    def test_parquet_of_another_kind(self, tmp_path: Path) -> None:
        """A table that isn't a record is refused."""
        path = tmp_path / "out.parquet"
        pq.write_table(pa.table({"a": [1]}), path)
        with pytest.raises(InputError, match="is Parquet, but no record of memory accesses"):
            ParquetReader(path)

    @pytest.mark.slow
    def test_damage_within(self, tmp_path: Path) -> None:
        """What comes before is read; the error says which row group."""
        path = tmp_path / "out.parquet"
        write(path, [a_snapshot(number, {"t": 100}) for number in range(1, 3000)])
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 3)
            file.write(os.urandom(size // 4))
        found = ParquetReader(path).snapshots()
        assert next(found).number == 1
        with pytest.raises(DamonError, match=r"out\.parquet' is damaged in row group \d+ of"):
            list(found)
