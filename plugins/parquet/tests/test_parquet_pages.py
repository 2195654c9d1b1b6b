"""Every page of targets in a record: what is written comes back."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from damon_parquet.callback import ParquetCallback
from damon_parquet.options import ParquetOptions
from damon_parquet.reader import ParquetReader
from damon_parquet.writer import ParquetWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    CODES,
    UNTOUCHED,
    DamonError,
    HookContext,
    PageMap,
    RecordInfo,
    Snapshot,
    hookimpl,
)
from damon_core.testing import (
    RegionRow,
    ScriptedMemory,
    ScriptedRegion,
    assert_same_pages,
    assert_same_snapshot,
    make_snapshot,
    run_virtual,
)

BASE = 1 << 40
HOT, COLD = 13, 25
KEPT = RecordInfo(pages=True)


@st.composite
def page_maps(draw: st.DrawFn) -> PageMap:
    """Draw maps of a few blocks with runs of any codes, some of samples."""
    numbers = sorted(draw(st.lists(st.integers(0, 6), max_size=4, unique=True)))
    idle_us = np.zeros(CODES, dtype=np.int64)
    times = sorted(draw(st.lists(st.integers(0, 1 << 50), min_size=1, max_size=5)))
    idle_us[UNTOUCHED:] = times[-1]
    idle_us[UNTOUCHED : UNTOUCHED + len(times)] = times
    longest = draw(st.integers(1, UNTOUCHED - 2))
    # Some may be accessed since the clearing, and not in the aggregation.
    code = st.integers(0, UNTOUCHED - 1) | st.integers(UNTOUCHED, CODES - 1)
    runs = draw(st.lists(st.tuples(st.integers(1, 700), code), max_size=12))
    flat = np.array([each for pages, each in runs for _ in range(pages)], dtype=np.uint8)
    flat = np.resize(np.append(flat, np.uint8(0)), len(numbers) * BLOCK_PAGES)
    weights = [draw(st.sampled_from([1.0, 1.5, 200.0])) for _ in numbers]
    return PageMap(
        BASE + np.array(numbers, dtype=np.int64) * BLOCK_BYTES,
        flat.reshape(-1, BLOCK_PAGES),
        idle_us,
        shortest=draw(st.integers(1, longest)),
        longest=longest,
        watched_us=draw(st.integers(0, 1 << 50)),
        weights=np.array(weights) if len(numbers) > 0 and draw(st.booleans()) else None,
    )


def a_map(periods: Sequence[int]) -> PageMap:
    """Return a map of pages one behind the other."""
    flat = np.array(periods, dtype=np.uint8)
    rows = np.append(flat, np.zeros(-len(flat) % BLOCK_PAGES, np.uint8)).reshape(-1, BLOCK_PAGES)
    blocks = BASE + np.arange(len(rows)) * BLOCK_BYTES
    return PageMap.of_periods(blocks, rows, shortest=HOT, longest=COLD - 1, watched_us=1 << 30)


def a_snapshot(number: int, maps: Sequence[PageMap | None], regions: int = 1) -> Snapshot:
    """Return a snapshot of a target for each map."""
    rows = [RegionRow(BASE + n * 4096, BASE + (n + 1) * 4096) for n in range(regions)]
    return make_snapshot(
        {f"t{place}": rows for place in range(len(maps))},
        number=number,
        page_maps={f"t{place}": each for place, each in enumerate(maps) if each is not None},
    )


def write(path: Path, snapshots: Sequence[Snapshot], info: RecordInfo = KEPT) -> None:
    """Write a record."""
    with ParquetWriter(path, info) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)


def read(path: Path) -> list[list[PageMap | None]]:
    """Return the maps of a record."""
    with ParquetReader(path) as reader:
        return [[each.page_map() for each in found.targets] for found in reader.snapshots()]


@settings(max_examples=25)
@given(st.lists(st.lists(st.none() | page_maps(), max_size=3), min_size=1, max_size=4))
def test_what_is_written_comes_back(wanted: list[list[PageMap | None]]) -> None:
    """Each page of each target, whether it has regions or not."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "out.parquet"
        write(path, [a_snapshot(n, maps, n % 2 * 2) for n, maps in enumerate(wanted, 1)])
        found = read(path)
    assert [len(each) for each in found] == [len(each) for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        for found_map, wanted_map in zip(one, other, strict=True):
            assert_same_pages(found_map, wanted_map)


def test_other_columns_are_as_ever(tmp_path: Path) -> None:
    """Spectra too, which don't need pages."""
    wanted = a_snapshot(1, [a_map([HOT, COLD])], regions=3)
    write(tmp_path / "out.parquet", [wanted])
    with ParquetReader(tmp_path / "out.parquet") as reader:
        (found,) = reader.snapshots()
    assert_same_snapshot(found, wanted)
    assert found.spectrum is not None


def test_pages_are_kept_on_request_only(tmp_path: Path) -> None:
    """Without it there isn't even a column."""
    path = tmp_path / "out.parquet"
    write(path, [a_snapshot(1, [a_map([HOT])])], RecordInfo())
    assert read(path) == [[None]]
    assert "pages" not in pq.read_schema(path).names
    assert not ParquetReader(path).info.pages


def test_a_record_says_that_it_has_pages(tmp_path: Path) -> None:
    """And what they mean."""
    path = tmp_path / "out.parquet"
    write(path, [a_snapshot(1, [a_map([HOT])])])
    assert ParquetReader(path).info == KEPT
    assert b'"pages": "every page' in pq.read_metadata(path).metadata[b"damon.columns"]


def test_duckdb_reads_pages(tmp_path: Path) -> None:
    """Hot bytes, by SQL."""
    path = tmp_path / "out.parquet"
    write(path, [a_snapshot(1, [a_map([HOT] * 3 + [COLD] * 5 + [HOT] * 4)])])
    query = f"""
        select sum(run.pages) from
        (select unnest(pages.runs) as run from '{path}') where run.period <= 20
    """
    assert duckdb.connect().execute(query).fetchall() == [(7,)]


def test_a_record_rewritten_by_another_has_its_pages(tmp_path: Path) -> None:
    """The type of a column may change a little on the way."""
    path, again = tmp_path / "out.parquet", tmp_path / "again.parquet"
    wanted = a_map([HOT] * 3 + [COLD] * 5)
    write(path, [a_snapshot(1, [wanted], regions=3), a_snapshot(2, [wanted], regions=3)])
    duckdb.sql(f"copy (select * from '{path}' order by random()) to '{again}' (format parquet)")
    for (found,) in read(again):
        assert_same_pages(found, wanted)


def test_pages_can_be_asked_for_later(tmp_path: Path) -> None:
    """Even of a record that is closed by then."""
    path = tmp_path / "out.parquet"
    write(path, [a_snapshot(1, [a_map([HOT])])])
    with ParquetReader(path) as reader:
        found = list(reader.snapshots())
    assert_same_pages(found[0].targets[0].page_map(), a_map([HOT]))


def test_row_groups_of_many_pages_are_written_early(tmp_path: Path) -> None:
    """So that they take little memory: here of 64 GiB in a second."""
    path = tmp_path / "out.parquet"
    big = a_map([HOT] * (1 << 22))
    write(path, [a_snapshot(number, [big]) for number in range(1, 5)])
    assert pq.read_metadata(path).num_row_groups == 2


@pytest.mark.parametrize(
    ("gap", "pages"),
    [("-1", "1"), ("run.gap", "0"), ("run.gap", "10000")],
)
def test_impossible_pages_are_an_error(tmp_path: Path, gap: str, pages: str) -> None:
    """Of a record that somebody else has changed."""
    path, again = tmp_path / "out.parquet", tmp_path / "again.parquet"
    write(path, [a_snapshot(1, [a_map([HOT])])])
    duckdb.sql(
        f"""copy (select * replace (struct_pack(
            shortest := pages.shortest, longest := pages.longest, watched_us := pages.watched_us,
            blocks := pages.blocks,
            runs := list_transform(pages.runs, lambda run: struct_pack(
                gap := {gap}::bigint, pages := {pages}::bigint,
                period := run.period, idle_us := run.idle_us))
        ) as pages) from '{path}') to '{again}' (format parquet)"""
    )
    with pytest.raises(DamonError, match="in none of its blocks"):
        read(again)


class Exact(ScriptedMemory):
    """Memory of which every page is known."""

    def __init__(self) -> None:
        super().__init__({"process": [ScriptedRegion(BASE, BASE + BLOCK_BYTES, heat=1.0)]})

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        context.targets[0].page_map = a_map([HOT] * 3 + [COLD] * 5)


@pytest.mark.parametrize("pages", [True, False])
def test_the_callback_keeps_pages_on_request(tmp_path: Path, pages: bool) -> None:
    """Though they are gone when the row group is written."""
    path = tmp_path / "out.parquet"
    run_virtual(Exact(), ParquetCallback(ParquetOptions(path, pages=pages)), aggregations=3)
    for (found,) in read(path):
        assert_same_pages(found, a_map([HOT] * 3 + [COLD] * 5) if pages else None)
