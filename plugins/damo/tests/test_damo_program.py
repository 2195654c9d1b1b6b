"""The real damo reads what is written here, and what it writes is read here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damon_damo import DamoReader, DamoWriter

from damon_core import Intervals, RecordInfo, Snapshot
from damon_core.testing import assert_same_snapshot

#: damo asks `file` what kind of file it has.
pytestmark = pytest.mark.needs("file")

MIB = 1 << 20
#: Made by damo 3.4.3 in the lab's machine (Linux 6.12.107), of a process with a child, which damo
#: lists twice; each has a hot and a cold area of 16 MiB: damo record --sample 50ms --aggr 1s
#: --updr 2s --minr 5 --maxr 30 --timeout 12 --include_child_tasks --do_record access
RECORDED = Path(__file__).parent / "data/damon.data"

Make = Callable[..., Snapshot]
Damo = Callable[..., str]


def write(path: Path, *snapshots: Snapshot) -> None:
    """Write a record."""
    with DamoWriter(path, RecordInfo(host="here")) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)


def read(path: Path) -> list[Snapshot]:
    """Read a record."""
    with DamoReader(path) as reader:
        return list(reader.snapshots())


def reported_by(damo: Damo, path: Path) -> list[dict[str, Any]]:
    """Return the records as damo understands them."""
    reported: list[dict[str, Any]] = json.loads(
        damo("report", "access", "--input_file", path, "--json", "--raw_number")
    )
    return reported


def of(text: str) -> int:
    """Return a number with commas."""
    return int(text.replace(",", ""))


def region(reported: dict[str, Any]) -> tuple[int, int, float, float, int]:
    """Return start, end, accesses, percent and age of a region as damo understands it."""
    accesses, age = reported["nr_accesses"], reported["age"]["aggr_intervals"]
    return (
        of(reported["start"]),
        of(reported["end"]),
        accesses["samples"],
        accesses["percent"],
        of(age),
    )


def test_damo_sees_every_region(tmp_path: Path, make: Make, damo: Damo) -> None:
    """Addresses, counts, frequencies, ages and times are the same there."""
    rows = [(0, 8 * MIB, 20.0, 3), (8 * MIB, 9 * MIB, 5.0, 0), (1 << 46, 1 << 47, 0.0, 70_000)]
    write(tmp_path / "a.data", make({"one": rows, "two": rows[:1]}, 1), make({"one": rows[1:]}, 2))
    one, two = reported_by(damo, tmp_path / "a.data")
    assert [one["target_id"], two["target_id"]] == [0, 1]
    regions = [[region(reported) for reported in each["regions"]] for each in one["snapshots"]]
    expected = [(start, end, count, count * 5, age) for start, end, count, age in rows]
    assert regions == [expected, expected[1:]]
    assert [each["end_time"] for each in one["snapshots"]] == [
        "1700000000100000000",
        "1700000000200000000",
    ]
    assert [len(each["regions"]) for each in two["snapshots"]] == [1]


def test_frequencies_are_right_where_checks_were_missed(
    tmp_path: Path, make: Make, damo: Damo
) -> None:
    """damo knows one pair of intervals for all: counts and ages are reported in these."""
    write(
        tmp_path / "a.data",
        make({"t": [(0, MIB, 20, 3)]}, 1),
        make({"t": [(0, MIB, 5, 4)]}, 2, max_nr_accesses=10),
        make({"t": [(0, MIB, 3, 5)]}, 4, intervals=Intervals(50_000, 200_000, 1_000_000)),
    )
    (reported,) = reported_by(damo, tmp_path / "a.data")
    regions = [region(each["regions"][0]) for each in reported["snapshots"]]
    assert [(percent, age) for _, _, _, percent, age in regions] == [(100, 3), (50, 4), (75, 10)]


def test_damo_reports_the_working_set(tmp_path: Path, make: Make, damo: Damo) -> None:
    """`damo report wss` prints the percentiles of what `working_set_bytes` answers."""
    snapshots = [
        make({"t": [(0, n * MIB, 4, 0), (n * MIB, 400 * MIB, 0, 9)]}, n) for n in range(1, 102)
    ]
    write(tmp_path / "a.data", *snapshots)
    report = damo("report", "wss", "-i", tmp_path / "a.data", "--raw_number", "--exclude_samples=0")
    lines = [line.split() for line in report.splitlines() if not line.startswith("#")]
    sizes = sorted(snapshot.working_set_bytes() for snapshot in snapshots)
    assert [(int(line[0]), int(line[1])) for line in lines] == [
        (percent, sizes[min(percent * 101 // 100, 100)]) for percent in (0, 25, 50, 75, 100)
    ]


def test_damo_draws_the_heat(tmp_path: Path, make: Make, damo: Damo) -> None:
    """In the pixels of `damo report heatmap` memory is as hot as it was."""
    write(
        tmp_path / "a.data",
        *(make({"t": [(MIB, 2 * MIB, 20, 0), (2 * MIB, 3 * MIB, 0, 0)]}, n) for n in range(1, 11)),
        *(make({"t": [(MIB, 2 * MIB, 0, 0), (2 * MIB, 3 * MIB, 5, 0)]}, n) for n in range(11, 21)),
    )
    report = damo(
        *("report", "heatmap", "-i", tmp_path / "a.data", "--output", "raw", "--resol", 2, 2),
        "--abs_addr",
    )
    pixels = np.array([line.split() for line in report.splitlines()], dtype=float)
    assert pixels[:, :2].tolist() == [[0, MIB], [0, 2 * MIB], [1e9, MIB], [1e9, 2 * MIB]]
    # Accesses in a second.
    np.testing.assert_allclose(pixels[:, 2], [200, 0, 0, 50], atol=0.01)


def test_numbers_survive_damo(tmp_path: Path, make: Make, damo: Damo) -> None:
    """What damo wrote anew is the same but for names."""
    rows = [(0, MIB, 20.0, 3), (MIB, 1 << 45, 0.0, 12_345)]
    snapshots = [make({"one": rows, "two": rows[1:]}, n) for n in range(1, 30)]
    path = tmp_path / "a.data"
    write(path, *snapshots)
    for form in ("json", "json_compressed"):
        damo(
            "convert_record_format", "--record_file", path, "--output_file", form, "--format", form
        )
        found = read(tmp_path / form)
        assert len(found) == 29
        for written, one in zip(snapshots, found, strict=True):
            expected = make(
                {"target 0": rows, "target 1": rows[1:]},
                written.number,
                context="kdamond-0-context-0",
            )
            assert_same_snapshot(one, expected)


def test_what_damo_shows_for_people_is_read(tmp_path: Path, make: Make, damo: Damo) -> None:
    """`damo report access --json` has the same form, with durations such as '1 s 300 ms'."""
    snapshot = make(
        {"t": [(0, 1 << 40, 7, 1_234)]}, intervals=Intervals(65_000, 1_300_000, 4_000_000)
    )
    write(tmp_path / "a.data", snapshot)
    shown = damo("report", "access", "--input_file", tmp_path / "a.data", "--json")
    (tmp_path / "b.json").write_text(shown)
    (found,) = read(tmp_path / "b.json")
    assert found.intervals == snapshot.intervals
    assert found.time_us == snapshot.time_us
    for name in ("start", "end", "nr_accesses", "age"):
        np.testing.assert_array_equal(getattr(found, name), getattr(snapshot, name))


def test_a_record_of_damo_is_read_as_damo_reads_it(damo: Damo) -> None:
    """A file of the real `damo record` holds what `damo report access` reports."""
    records = reported_by(damo, RECORDED)
    snapshots = read(RECORDED)
    assert {each.intervals for each in snapshots} == {Intervals(50_000, 1_000_000, 2_000_000)}
    for reported in records:
        found = [
            (snapshot.time_us, target)
            for snapshot in snapshots
            for target in snapshot.targets
            if target.name == f"target {reported['target_id']}"
        ]
        assert [time_us for time_us, _ in found] == sorted(time_us for time_us, _ in found)
        assert len(found) == len(reported["snapshots"])
        for (_, target), expected in zip(found, reported["snapshots"], strict=True):
            columns = target.start, target.end, target.nr_accesses, target.age
            regions = [region(each) for each in expected["regions"]]
            assert list(zip(*(column.tolist() for column in columns), strict=True)) == [
                (start, end, count, age) for start, end, count, _, age in regions
            ]


def test_targets_of_a_real_record_are_side_by_side() -> None:
    """Parent and child are targets of the same aggregations, though damo lists them apart."""
    with DamoReader(RECORDED) as reader:
        (context,) = reader.info.contexts
        snapshots = list(reader.snapshots())
        span_us = reader.span_us()
    assert (reader.info.program, context.backend) == ("damo", "kernel")
    assert [len(each.targets) for each in snapshots] == [1] * 4 + [2] * 5 + [3] * 5
    assert span_us is not None
    assert span_us[1] == max(each.time_us for each in snapshots)
    assert [each.number for each in snapshots] == list(range(1, len(snapshots) + 1))
    # 16 MiB of each process are in use, and what its interpreter takes.
    assert max(each.working_set_bytes() for each in snapshots) > 16 * MIB
