"""The format damo: what is written comes back; what is damaged or foreign is reported."""

import json
import os
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from damon_damo import DamoReader, DamoWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damon_core import (
    IDLE_SPANS,
    ContextInfo,
    DamonError,
    InputError,
    Intervals,
    Plugins,
    RecordInfo,
    RegionLimits,
    Snapshot,
    format_of,
)
from damon_core.testing import assert_same_snapshot

Make = Callable[..., Snapshot]

MIB = 1 << 20
INFO = RecordInfo(
    "here",
    "Linux 6.12",
    "damon record",
    "damon-core 0.1.0",
    (ContextInfo("db", "vaddr", "idle", "evidence", Intervals(), RegionLimits(), 0.02),),
)


def write(path: Path, *snapshots: Snapshot) -> None:
    """Write a record."""
    with DamoWriter(path, INFO) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)


def read(path: Path, begin_us: int | None = None, end_us: int | None = None) -> list[Snapshot]:
    """Read a record."""
    with DamoReader(path) as reader:
        return list(reader.snapshots(begin_us, end_us))


def damos(path: Path, *records: dict[str, Any]) -> None:
    """Write records as damo's own values, here with what all have in common."""
    common = {"kdamond_idx": 0, "context_idx": 0, "scheme_idx": None, "intervals": None}
    path.write_text(json.dumps([common | record for record in records], indent=4))


def damos_snapshot(end_ms: int, samples: int = 1) -> dict[str, Any]:
    """Return an aggregation as damo writes it."""
    return {
        "start_time": str((end_ms - 100) * 1_000_000),
        "end_time": str(end_ms * 1_000_000),
        "regions": [
            {
                "start": "4,096",
                "end": "8,192",
                "nr_accesses": {"samples": samples, "percent": None},
                "age": {"usec": None, "aggr_intervals": "1,000"},
            }
        ],
    }


_INTERVALS = st.builds(
    lambda sampling_us, checks: Intervals(sampling_us, sampling_us * checks, sampling_us * 100),
    st.integers(1, 100_000),
    st.integers(1, 40),
)
_NAMES = st.text(max_size=8)
_ROWS = st.lists(
    st.tuples(
        st.integers(1, 1 << 50),
        st.floats(0, 1).map(lambda share: round(share, 2)) | st.sampled_from([0.0, 1.0]),
        st.integers(0, 1 << 20),
    ),
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(_INTERVALS, st.dictionaries(_NAMES, _ROWS, min_size=1, max_size=3)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([".data", ".json"]),
)
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    make: Make,
    reported: list[tuple[Intervals, dict[str, list[tuple[int, float, int]]]]],
    suffix: str,
) -> None:
    """Whatever intervals, names and missed checks, snapshots are the same afterwards."""
    path = tmp_path_factory.mktemp("damo") / f"out{suffix}"
    written: list[tuple[Snapshot, dict[str, list[Any]]]] = []
    for number, (intervals, targets) in enumerate(reported, 1):
        checks = intervals.checks if number % 2 else max(1, intervals.checks // 2)
        rows = {
            name: [
                (at << 12, (at + 1) << 12, round(share * checks), age) for at, share, age in each
            ]
            for name, each in targets.items()
        }
        # Targets keep the order in which they first came.
        order = list(dict.fromkeys(name for snapshot in written for name in snapshot[1])) + list(
            rows
        )
        rows = {name: rows[name] for name in dict.fromkeys(order) if name in rows}
        time_us = 1_700_000_000_000_000 + number * 10_000_000
        written.append(
            (
                make(rows, number, time_us=time_us, intervals=intervals, max_nr_accesses=checks),
                rows,
            )
        )
    write(path, *(snapshot for snapshot, _ in written))
    found = read(path)
    assert len(found) == len(written)
    for (snapshot, _), one in zip(written, found, strict=True):
        assert_same_snapshot(one, snapshot)


def test_the_information_comes_back(tmp_path: Path, make: Make) -> None:
    """All that is known of how a record was made is kept."""
    write(tmp_path / "a.data", make({"t": [(0, MIB, 1, 0)]}))
    with DamoReader(tmp_path / "a.data") as reader:
        assert evolve(reader.info, filled_in=()) == INFO


@pytest.mark.parametrize("lacks", [(), ("idle_us",), ("elapsed_us",)])
def test_a_reader_says_what_is_filled_in(tmp_path: Path, make: Make, lacks: tuple[str]) -> None:
    """What the format has no place for, and what the record lacked that was converted."""
    path = tmp_path / "a.data"
    with DamoWriter(path, RecordInfo(filled_in=lacks)) as writer:
        writer.write(make({"t": [(0, MIB, 1, 0)]}))
    with DamoReader(path) as reader:
        assert set(reader.info.filled_in) == {
            *("number", "idle_us", "resident_bytes", "touched_bytes"),
            *("lost_us", "held_us", "longest_stall_us", "stale_us", "areas", "owners", "labels"),
            *("spectrum", "kinds", "reported_idle_us", "reported_bytes_per_second"),
            *(name for span in IDLE_SPANS for name in (span.column, span.age)),
            *lacks,
        }


def test_shares_of_accesses_come_back(tmp_path: Path, make: Make) -> None:
    """Counts that are no whole numbers are kept."""
    snapshot = make({"t": [(0, MIB, 0.4, 0), (MIB, 2 * MIB, 12.345_678, 3)]})
    write(tmp_path / "a.data", snapshot)
    assert_same_snapshot(read(tmp_path / "a.data")[0], snapshot)


def test_an_empty_record_is_one(tmp_path: Path) -> None:
    """A record of nothing is written and read."""
    write(tmp_path / "a.data")
    with DamoReader(tmp_path / "a.data") as reader:
        assert reader.span_us() is None
        assert list(reader.snapshots()) == []


def test_contexts_are_read_in_the_order_of_time(tmp_path: Path, make: Make) -> None:
    """Contexts of one file come in turns, as written, each with its own numbers."""
    rows = {"t": [(0, MIB, 1, 0)]}
    times_us = [("a", 100_000), ("b", 130_000), ("a", 200_000), ("a", 300_000), ("b", 330_000)]
    write(
        tmp_path / "a.json",
        *(make(rows, context=context, time_us=time_us) for context, time_us in times_us),
    )
    found = read(tmp_path / "a.json")
    assert [(each.context, each.time_us) for each in found] == times_us
    assert [each.number for each in found] == [1, 1, 2, 3, 2]


def test_a_part_of_the_time_is_read(tmp_path: Path, make: Make) -> None:
    """After the begin, up to the end; numbers are those of the whole record."""
    path = tmp_path / "a.data"
    write(path, *(make({"t": [(0, MIB, n, 0)]}, n, time_us=n * 100_000) for n in range(1, 9)))
    assert [each.number for each in read(path, 200_000, 500_000)] == [3, 4, 5]
    with DamoReader(path) as reader:
        assert reader.span_us() == (0, 800_000)


def test_times_of_targets_may_differ_a_little(tmp_path: Path) -> None:
    """Targets that the kernel reported one after the other are of one aggregation."""
    damos(
        tmp_path / "a.json",
        {"target_id": 0, "snapshots": [damos_snapshot(end_ms) for end_ms in (100, 200, 300)]},
        {"target_id": 1, "snapshots": [damos_snapshot(end_ms) for end_ms in (103, 301)]},
    )
    found = read(tmp_path / "a.json")
    assert [[target.name for target in each.targets] for each in found] == [
        ["target 0", "target 1"],
        ["target 0"],
        ["target 0", "target 1"],
    ]
    assert [each.time_us for each in found] == [103_000, 200_000, 301_000]


def test_old_records_without_intervals_are_read(tmp_path: Path) -> None:
    """Then an aggregation made as many checks as damo's usual intervals, or as were counted."""
    damos(
        tmp_path / "a.json",
        {"target_id": 7, "snapshots": [damos_snapshot(100, 3), damos_snapshot(200, 33)]},
    )
    one, two = read(tmp_path / "a.json")
    assert one.intervals == Intervals(5_000, 100_000, 1_000_000)
    assert (one.max_nr_accesses, two.max_nr_accesses) == (20, 33)
    assert one.age.tolist() == [1_000]


def test_percents_are_read(tmp_path: Path) -> None:
    """Frequencies and durations in place of counts are read as counts."""
    reported = damos_snapshot(100)
    reported["regions"][0] |= {
        "nr_accesses": {"percent": 25},
        "age": {"usec": "1 s 200 ms", "aggr_intervals": None},
    }
    intervals = {"sample_us": "5 ms", "aggr_us": "100ms", "ops_update_us": "1 s"}
    damos(tmp_path / "a.json", {"target_id": 0, "intervals": intervals, "snapshots": [reported]})
    (found,) = read(tmp_path / "a.json")
    assert found.intervals == Intervals(5_000, 100_000, 1_000_000)
    assert (found.nr_accesses.tolist(), found.age.tolist()) == ([5], [12])


@pytest.mark.parametrize("suffix", [".data", ".json"])
def test_a_file_that_ends_early_is_read_up_to_there(
    tmp_path: Path, make: Make, suffix: str
) -> None:
    """What came before the damage is reported, and then the damage."""
    snapshots = [make({"t": [(0, n * MIB, n % 20, n)]}, n) for n in range(1, 400)]
    path = tmp_path / f"a{suffix}"
    write(path, *snapshots)
    os.truncate(path, path.stat().st_size // 2)
    found: list[Snapshot] = []
    with (
        DamoReader(path) as reader,
        pytest.raises(DamonError, match=r"^'.*' is damaged: it ends in the middle|its end is"),
    ):
        found.extend(reader.snapshots())  # keeps what came before
    assert len(found) > 100
    for one, written in zip(found, snapshots, strict=False):
        assert_same_snapshot(one, written)


def test_a_target_that_is_missing_wholly_is_told(tmp_path: Path, make: Make) -> None:
    """A file cut between two targets doesn't pass for one of the first alone."""
    path = tmp_path / "a.json"
    write(path, make({"one": [(0, MIB, 1, 0)], "two": [(0, MIB, 1, 0)]}))
    text = path.read_text()
    path.write_text(text[: text.rindex('{"kdamond_idx"')])
    with DamoReader(path) as reader, pytest.raises(DamonError, match="is damaged"):
        list(reader.snapshots())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no record of damo"),
        (b"PERFILE2", "is no record of damo"),
        (b'{"a": 1}', "is no record of damo"),
        (zlib.compress(b"hello"), "is no record of damo"),
        (b"x\x9cgarbage", "is no record of damo"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """One line says what the file isn't, and what may help."""
    path = tmp_path / "a.data"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        DamoReader(path)


@pytest.mark.parametrize(
    "text",
    [
        '[{"target_id": 0, "snapshots": [{"start_time": "1"}]}]',
        '[{"target_id": 0, "snapshots": [{"start_time": "1", "end_time": "x", "regions": []}]}]',
        '[{"target_id": 0, "snapshots": [{"start_time": 1, "end_time": 2, "regions": [3]}]}]',
        '[{"target_id": 0, "intervals": {"sample_us": 5}, "snapshots": []}]',
        '[{"target_id": 0, "damon_core": {"context": 1}, "snapshots": []}]',
        '[{"target_id": 0, "snapshots": {}}]',
        "[1, 2]",
        "[" * 100_000,
    ],
)
def test_other_json_is_damage(tmp_path: Path, text: str) -> None:
    """Other JSON is reported as damage; it doesn't crash."""
    path = tmp_path / "a.json"
    path.write_text(text)
    with DamoReader(path) as reader, pytest.raises(DamonError, match="is damaged"):
        list(reader.snapshots())


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Reading it, and writing where there is no folder, says what is wrong."""
    with pytest.raises(InputError, match="can't be read: No such file"):
        DamoReader(tmp_path / "a.data")
    with pytest.raises(InputError, match="can't be written: No such file"):
        DamoWriter(tmp_path / "no/a.data", INFO)


def test_a_file_that_is_there_is_moved_away(tmp_path: Path, make: Make) -> None:
    """Nothing is lost by a second record of the same name; the old one stays until it is made."""
    path = tmp_path / "a.data"
    snapshots = [make({"t": [(0, n * MIB, 1, 0)]}) for n in (1, 2, 3)]
    for snapshot in snapshots:
        with DamoWriter(path, INFO) as writer:
            writer.write(snapshot)
            before = sorted(tmp_path.iterdir())
        assert len(list(tmp_path.iterdir())) == len(before) + 1
    old, older = sorted(tmp_path.glob("a.*Z.data"))[::-1]
    for each, snapshot in zip((older, old, path), snapshots, strict=True):
        assert_same_snapshot(read(each)[0], snapshot)


@pytest.mark.needs("root")
def test_a_full_disk_leaves_the_old_file(small_disk: Callable[[int], Path], make: Make) -> None:
    """A record that can't be made is an error, and what was there before is as it was."""
    disk = small_disk(64)
    path = disk / "a.json"
    write(path, make({"t": [(0, MIB, 1, 0)]}))
    before = path.read_bytes()
    writer = DamoWriter(path, INFO)
    for number in range(1, 400):
        writer.write(make({"t": [(n, n + 1, 1, 0) for n in range(9)]}, number))
    with pytest.raises(DamonError, match="can't be written: No space left on device"):
        writer.close()
    writer.close()
    assert [entry.name for entry in disk.iterdir()] == ["a.json"]
    assert path.read_bytes() == before


def test_damaged_notes_of_a_snapshot_are_told(tmp_path: Path, make: Make) -> None:
    """Keys of our own name are ours."""
    path = tmp_path / "a.json"
    write(path, make({"t": [(0, MIB, 1, 0)]}), make({"t": [(0, MIB, 1, 0)]}, max_nr_accesses=7))
    path.write_text(path.read_text().replace('"max_nr_accesses": 7', '"max": 7'))
    with DamoReader(path) as reader, pytest.raises(DamonError, match="unknown notes"):
        list(reader.snapshots())


_PEAK = """
import resource, sys
from pathlib import Path
from damon_damo import DamoReader, DamoWriter

with DamoReader(Path(sys.argv[1])) as reader, DamoWriter(Path(sys.argv[2]), reader.info) as writer:
    for snapshot in reader.snapshots():
        writer.write(snapshot)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_record(tmp_path: Path, make: Make) -> None:
    """Ten times the record is read and written in nearly the same memory."""
    peaks_kb = []
    for count in (100, 1_000):
        path = tmp_path / f"{count}.data"
        rows = [(n << 20, (n + 1) << 20, n % 20, n) for n in range(50)]
        one = make({"one": rows, "two": rows, "three": rows})
        with DamoWriter(path, INFO) as writer:
            for number in range(count):
                writer.write(evolve(one, time_us=one.time_us + number * 100_000))
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, path, tmp_path / "copy.data"],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks_kb.append(int(done.stdout))
    # The longer one is 18 MB of text; all of its values would be several times that.
    assert peaks_kb[1] - peaks_kb[0] < 8_000


def test_the_format_is_found_by_file_ending() -> None:
    """damo's own file name is known, and JSON."""
    formats = Plugins.discover().formats()
    assert format_of(Path("damon.data"), formats).name == "damo"
    assert format_of(Path("x.json"), formats).name == "damo"


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It has addresses, which /proc protects."""
    write(tmp_path / "a.json")
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600
