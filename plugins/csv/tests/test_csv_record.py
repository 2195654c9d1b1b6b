"""The format csv: rows as a record."""

import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from damon_csv import CsvReader, CsvWriter, header
from damon_csv.rows import OPTIONAL, ROW
from hypothesis import given
from hypothesis import strategies as st

from damon_core import DamonError, IdleAges, InputError, Intervals, RecordInfo, Snapshot
from damon_core.testing import RegionRow, assert_same_snapshot, make_snapshot

T0 = 1_700_000_000_000_000
OLD_HEADER = b"time_us,context,target,start,end,nr_accesses,max_nr_accesses,age\n"


def snapshot_of(
    time_us: int,
    targets: dict[str, int],
    *,
    context: str = "db",
    number: int = 1,
    nr_accesses: float = 0,
) -> Snapshot:
    """Return a snapshot with this number of pages in each target, partly resident and touched."""
    rows = (
        RegionRow(
            4096 * each,
            4096 * (each + 1),
            nr_accesses,
            each,
            None,
            100 * each % 4096,
            9 * each % 1024,
        )
        for each in range(sum(targets.values()))
    )
    return make_snapshot(
        {name: list(islice(rows, count)) for name, count in targets.items()},
        context=context,
        number=number,
        time_us=time_us,
        intervals=Intervals(5_000, 100_000, 1_000_000),
    )


def write(path: Path, *snapshots: Snapshot) -> None:
    """Write a record."""
    with CsvWriter(path, RecordInfo()) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)


def read(path: Path, begin_us: int | None = None, end_us: int | None = None) -> list[Snapshot]:
    """Read a record."""
    with CsvReader(path) as reader:
        return list(reader.snapshots(begin_us, end_us))


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])),
            st.integers(1, 5),
            min_size=1,
            max_size=4,
        ),
        min_size=2,
        max_size=5,
    ),
    st.sampled_from([0, 3, 20, 7.25]),
)
def test_what_rows_keep_comes_back(
    tmp_path_factory: pytest.TempPathFactory, targets: list[dict[str, int]], accesses: float
) -> None:
    """Written and read, snapshots of a steady context are the same, whatever the names."""
    path = tmp_path_factory.mktemp("csv") / "out.csv"
    written = [
        snapshot_of(T0 + 100_000 * number, each, number=number, nr_accesses=accesses)
        for number, each in enumerate(targets, 1)
    ]
    write(path, *written)
    for one, other in zip(written, read(path), strict=True):
        assert_same_snapshot(other, one)


def test_contexts_have_intervals_of_their_own(tmp_path: Path) -> None:
    """What lies between two aggregations of one context is its interval, not another's."""
    path = tmp_path / "out.csv"
    write(
        path,
        *(
            snapshot_of(T0 + time_us, {"t": 1}, context=context)
            for time_us, context in (
                (1, "a"),
                (2, "b"),
                (100_001, "a"),
                (200_001, "a"),
                (5_002, "b"),
            )
        ),
    )
    found = [(each.context, each.number, each.intervals.aggregation_us) for each in read(path)]
    assert found == [
        ("a", 1, 100_000),
        ("b", 1, 5_000),
        ("a", 2, 100_000),
        ("a", 3, 100_000),
        ("b", 2, 5_000),
    ]


def test_a_break_is_no_interval(tmp_path: Path) -> None:
    """After a restart hours later, or a clock set back, aggregations take as long as before."""
    path = tmp_path / "out.csv"
    times_us = [0, 100_000, 7_200_000_000, 7_200_100_000, 50_000, 150_000]
    write(path, *(snapshot_of(T0 + time_us, {"t": 1}) for time_us in times_us))
    assert {each.elapsed_us for each in read(path)} == {100_000}


def test_an_unfinished_row_is_left_out(tmp_path: Path) -> None:
    """A kill in the middle of a write leaves the rows before it."""
    path = tmp_path / "out.csv"
    write(path, snapshot_of(T0, {"t": 2}), snapshot_of(T0 + 1000, {"t": 2}))
    path.write_bytes(path.read_bytes()[:-3])
    assert [len(each) for each in read(path)] == [2, 1]


def test_times_select(tmp_path: Path) -> None:
    """Aggregations that ended after the beginning, up to the end; their numbers stay."""
    path = tmp_path / "out.csv"
    write(path, *(snapshot_of(T0 + number * 1000, {"t": 1}) for number in range(10)))
    assert [each.number for each in read(path, T0 + 2000, T0 + 5000)] == [4, 5, 6]


def test_span(tmp_path: Path) -> None:
    """From the beginning of the first aggregation to the end of the last."""
    path = tmp_path / "out.csv"
    write(path, *(snapshot_of(T0 + number * 1000, {"t": 30_000}) for number in range(3)))
    assert CsvReader(path).span_us() == (T0 - 1000, T0 + 2000)


def test_rows_of_the_readme_can_be_read(tmp_path: Path) -> None:
    """README.md shows two regions of one aggregation."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    path = tmp_path / "rows.csv"
    path.write_text(readme.partition("```text\n")[2].partition("```")[0])
    (snapshot,) = read(path)
    assert snapshot.targets[0].name == "redis-server[1234]"
    assert snapshot.touched_bytes is not None
    assert snapshot.touched_bytes.tolist() == [40960, 0]


def test_an_empty_file(tmp_path: Path) -> None:
    """Such as a kill leaves when it comes before the first row: the error says so."""
    path = tmp_path / "rows.csv"
    path.touch()
    with pytest.raises(InputError, match="is no record of CSV: it is empty: nothing was recorded"):
        CsvReader(path)


def test_an_empty_record(tmp_path: Path) -> None:
    """A header alone is a record without aggregations."""
    path = tmp_path / "out.csv"
    write(path)
    assert path.read_bytes() == header()
    assert read(path) == []
    assert CsvReader(path).span_us() is None


@pytest.mark.parametrize(
    "wrong",
    [
        b"rubbish\n",
        b"\n",
        b"1,a,t,0,4096,1,20,0,0,4096\n",
        b"1,a,t,0,4096,1,20,0,0,4096,0,9,,,,,,,9\n",
        b"x,a,t,0,4096,1,20,0,0,4096,0,9,,,,,,,\n",
        b"1,a,t,0,4096,1,20,old,0,4096,0,9,,,,,,,\n",
        b"1,a,t,0,4096,1,20,0,0,,0,9,,,,,,,\n",
        b"1,a,t,0,4096,1,20,0,0,4096,-1,9,,,,,,,\n",
        b"1,a,t,0,4096,1,20,0,0,4096,0,9,,,,,,,huge\n",
        b"1,a,t,0,4096,1,20,0,0,4096,0,9,,,,,,,\n1,a,t,0,4096,,20,0,0,4096,0,9,,,,,,,\n",
    ],
)
def test_damage_is_an_error_with_its_line(tmp_path: Path, wrong: bytes) -> None:
    """What came before is read; the error says where and what."""
    path = tmp_path / "out.csv"
    write(path, snapshot_of(T0, {"t": 3}))
    path.write_bytes(path.read_bytes() + wrong)
    line = 4 + wrong.count(b"\n")
    found: list[Snapshot] = []
    with pytest.raises(DamonError, match=rf"out\.csv', line {line}: ") as caught:
        found.extend(CsvReader(path).snapshots())
    assert "\n" not in caught.value.message


def test_snapshots_before_the_damage_are_right(tmp_path: Path) -> None:
    """One snapshot comes out before the error is raised."""
    path = tmp_path / "out.csv"
    write(path, *(snapshot_of(T0 + number * 1000, {"t": 3}) for number in range(3)))
    path.write_bytes(path.read_bytes() + b"rubbish\n")
    found = CsvReader(path).snapshots()
    assert [len(next(found)) for _ in range(2)] == [3, 3]


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"PAR1", OLD_HEADER.replace(b"age", b"resident_bytes,idle_us")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """One line says what a record begins with."""
    path = tmp_path / "out.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no record of CSV: it doesn't begin with 'time_us,"):
        CsvReader(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """One line says which, and why."""
    with pytest.raises(InputError, match=r"none\.csv' can't be read: No such file"):
        CsvReader(tmp_path / "none.csv")


class TestRecordsWithoutAllColumns:
    def test_touched_bytes_that_nobody_knows_stay_unknown(self, tmp_path: Path) -> None:
        """Their field is empty: an estimate takes their place, not 0."""
        path = tmp_path / "out.csv"
        snapshot = make_snapshot({"t": [RegionRow(0, 4096, 20)]})
        write(path, snapshot)
        (found,) = read(path)
        assert path.read_bytes().endswith(b",4096,0,,,,,,,,\n")
        assert_same_snapshot(found, snapshot)

    def test_idle_bytes_that_are_not_known_of_all_regions_come_back(self, tmp_path: Path) -> None:
        """With their ages, and without those of spans that nobody measured."""
        path = tmp_path / "out.csv"
        rows = [
            RegionRow(0, 4096, 20, touched_bytes=9, idle_10s_bytes=7, idle_10m_bytes=0),
            RegionRow(8192, 9000, 20, touched_bytes=9),
        ]
        snapshot = make_snapshot({"t": rows}, idle_ages={"t": IdleAges(3, None, 5)})
        write(path, snapshot)
        (found,) = read(path)
        assert_same_snapshot(found, snapshot)

    def test_kinds_of_memory_come_back(self, tmp_path: Path) -> None:
        """Those that are known of each region, whatever they are called."""
        path = tmp_path / "out.csv"
        rows = [
            RegionRow(0, 4096, kinds={"anonymous": 4096, "node0": 0}),
            RegionRow(8192, 9000, kinds={"swapped": 7}),
            RegionRow(9000, 9001),
        ]
        snapshot = make_snapshot({"t": rows})
        write(path, snapshot)
        (found,) = read(path)
        assert_same_snapshot(found, snapshot)

    def test_files_of_older_versions_are_read(self, tmp_path: Path) -> None:
        """Idle for the age and this aggregation, resident as a whole."""
        path = tmp_path / "out.csv"
        rows = b"100000,db,t,0,4096,0,20,3\n100000,db,t,4096,8192,7.25,20,3\n"
        path.write_bytes(OLD_HEADER + rows)
        (found,) = read(path)
        assert found.idle_us.tolist() == [400_000, 0]
        assert found.resident_bytes.tolist() == [4096, 4096]

    @pytest.mark.parametrize(
        ("begin", "lacks"),
        [(OLD_HEADER, set(OPTIONAL)), (header(), set())],
    )
    def test_a_reader_says_what_is_filled_in(
        self, tmp_path: Path, begin: bytes, lacks: set[str]
    ) -> None:
        """So that nobody takes sizes for resident memory."""
        path = tmp_path / "out.csv"
        path.write_bytes(begin)
        found = set(CsvReader(path).info.filled_in)
        assert found & {column.name for column in ROW} == lacks

    def test_what_was_filled_in_is_not_written(self, tmp_path: Path) -> None:
        """A record that was converted knows no more than the one it was made of."""
        path = tmp_path / "out.csv"
        with CsvWriter(path, RecordInfo(filled_in=("resident_bytes", "areas"))) as writer:
            writer.write(snapshot_of(T0, {"t": 1}))
        line = header().replace(b",resident_bytes", b"")
        assert (
            path.read_bytes() == line + b"1700000000000000,db,t,0,4096,0,20,0,100000,0,0,,,,,,,\n"
        )
        assert "resident_bytes" in CsvReader(path).info.filled_in

    def test_an_old_file_is_not_appended_to(self, tmp_path: Path) -> None:
        """It stays as it is, and the error says what to do."""
        path = tmp_path / "out.csv"
        path.write_bytes(OLD_HEADER)
        with pytest.raises(InputError, match=r"other columns .*: move it away or choose another"):
            CsvWriter(path, RecordInfo())
        assert path.read_bytes() == OLD_HEADER


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """One aggregation at a time is in memory."""
    path = tmp_path / "out.csv"
    write(path, *(snapshot_of(T0 + number * 1000, {"t": 1000}) for number in range(200)))
    tracemalloc.start()
    try:
        assert sum(len(each) for each in CsvReader(path).snapshots()) == 200_000
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < path.stat().st_size / 5


def test_how_old_values_are_comes_back(tmp_path: Path) -> None:
    """Of each target; a file without the column says that they are new."""
    path = tmp_path / "out.csv"
    new, old = "resident_bytes,stale_us,touched_bytes", "resident_bytes,touched_bytes"
    numbers = "{target},0,4096,1,20,3,0,100,{stale}50,,,,,,,\n"
    rows = "".join(
        f"{T0},db,{numbers.format(target=target, stale=f'{stale},')}"
        for target, stale in (("a", 7_000_000), ("b", 0))
    )
    path.write_text(header().decode() + rows)
    (found,) = read(path)
    assert [target.stale_us for target in found.targets] == [7_000_000, 0]
    path.write_text(
        header().decode().replace(new, old) + f"{T0},db,{numbers.format(target='a', stale='')}"
    )
    (found,) = read(path)
    assert [target.stale_us for target in found.targets] == [0]
