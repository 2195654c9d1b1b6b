"""Numbers that can't be, and files that are made to be slow: one line, or read rightly."""

import contextlib
import copy
import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from damon_damo import DamoReader, DamoWriter

from damon_core import DamonError, InputError, RecordInfo, Snapshot

MIB = 1 << 20


def region(index: int, samples: object = "20") -> dict[str, Any]:
    """Return one of 1 MiB."""
    return {
        "start": str((index + 1) * MIB),
        "end": str((index + 2) * MIB),
        "nr_accesses": {"samples": samples, "percent": None},
        "age": {"usec": None, "aggr_intervals": "3"},
    }


def a_record() -> list[dict[str, Any]]:
    """Return a document with four snapshots of three regions."""
    snapshots = [
        {
            "start_time": str(10**12 + number * 10**8),
            "end_time": str(10**12 + (number + 1) * 10**8),
            "regions": [region(index) for index in range(3)],
        }
        for number in range(4)
    ]
    intervals = {"sample_us": "5 ms", "aggr_us": "100 ms", "ops_update_us": "1 s"}
    return [{"kdamond_idx": 0, "target_id": 0, "intervals": intervals, "snapshots": snapshots}]


def read(path: Path, document: object) -> list[Snapshot]:
    """Return the snapshots of a document."""
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with DamoReader(path) as reader:
        reader.span_us()
        return list(reader.snapshots())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a record."""
    return tmp_path / "a.json"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("start", str(1 << 63), "more than 63 bits"),
        ("end", "18446744073699065856", "more than 63 bits"),
        ("start", "-4096", "its start is negative"),
        ("end", "4096", "its end isn't above its start"),
        ("start", "9" * 5000, "more than 63 bits"),
        ("start", float("inf"), "none that is finite"),
        ("start", None, "NoneType"),
        ("start", "x", "could not convert"),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    path: Path, key: str, value: object, why: str
) -> None:
    """With the snapshot, and the region where there is one."""
    document = a_record()
    document[0]["snapshots"][1]["regions"][0][key] = value
    with pytest.raises(
        DamonError, match=rf"a\.json' is damaged: snapshot 2 of 'target 0': .*{why}"
    ):
        read(path, document)


@pytest.mark.parametrize("value", ["-1", -1, float("nan"), float("inf"), "1e999"])
def test_a_count_that_cannot_be_is_refused(path: Path, value: object) -> None:
    """Below 0, or no number."""
    document = a_record()
    document[0]["snapshots"][1]["regions"][0]["nr_accesses"]["samples"] = value
    with pytest.raises(DamonError, match="snapshot 2 of 'target 0'"):
        read(path, document)


@pytest.mark.parametrize("value", [(1 << 32) - 1, str((1 << 64) - 1)])
def test_a_count_that_wrapped_around_is_none(
    path: Path, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    """The others stay what they are, and a line says where it is."""
    document = a_record()
    document[0]["snapshots"][1]["regions"][0]["nr_accesses"]["samples"] = value
    found = read(path, document)[1]
    assert (found.nr_accesses.tolist(), found.max_nr_accesses) == ([0, 20, 20], 20)
    assert [each.count("snapshot 2 of 'target 0'") for each in caplog.messages] == [1]


def test_a_region_of_no_bytes_is_left_out(path: Path) -> None:
    """It has none that could be accessed."""
    document = a_record()
    one = document[0]["snapshots"][1]["regions"][0]
    one["end"] = one["start"]
    assert len(read(path, document)[1]) == 2


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("end_time", "1", "its end is before its start"),
        ("end_time", "9" * 30, "isn't a time"),
        ("start_time", "-5", "isn't a time"),
        ("end_time", ",,", "not a duration"),
        ("end_time", "[]", "not a duration"),
        ("end_time", "", "not a duration"),
    ],
)
def test_a_time_that_cannot_be_is_refused(path: Path, key: str, value: str, why: str) -> None:
    """With the snapshot; what came before is right."""
    document = a_record()
    document[0]["snapshots"][1][key] = value
    with pytest.raises(
        DamonError, match=rf"a\.json' is damaged: snapshot 2 of 'target 0': .*{why}"
    ):
        read(path, document)


def test_time_that_goes_back_is_refused(path: Path) -> None:
    """Snapshots are in the order of their time."""
    document = a_record()
    document[0]["snapshots"].reverse()
    with pytest.raises(DamonError, match="snapshot 2 of 'target 0': it ends before the one before"):
        read(path, document)


def test_intervals_that_are_none_are_the_reason(path: Path) -> None:
    """Not that the record were empty."""
    document = a_record()
    document[0]["intervals"]["aggr_us"] = "[]"
    with pytest.raises(DamonError, match="the beginning of a record isn't damo's: '\\[\\]' is not"):
        read(path, document)


def test_spaces_without_end_are_refused(tmp_path: Path) -> None:
    """200 KB of them, compressed, are 200 MB."""
    path = tmp_path / "a.data"
    path.write_bytes(zlib.compress(b"[" + b" " * (20 << 20) + b"]", 9))
    with pytest.raises(DamonError, match="more than 16 MiB of spaces in a row"):
        DamoReader(path).span_us()


def places(value: Any, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return where there is something in a document."""
    found = [at]
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, each in pairs:
        found += places(each, (*at, key))
    return found


ODD: list[object] = [
    *(None, True, -1, 0, 1e308, 1 << 64, "", "x", ",,", "[]", "-1", "1e999", "²", "5 m s"),
    *([], {}, [1], {"a": 1}, "9" * 50, "9" * 5000, float("nan"), float("-inf"), "1 d" * 50),
]


@pytest.mark.parametrize("seed", range(150))
def test_whatever_stands_anywhere_it_is_one_line(path: Path, seed: int) -> None:
    """Values of all kinds, at every place of a document."""
    rng = random.Random(seed)
    document: Any = a_record()
    for _ in range(rng.randint(1, 2)):
        place = rng.choice(places(document)[1:])
        parent = document
        try:
            for key in place[:-1]:
                parent = parent[key]
            parent[place[-1]] = copy.deepcopy(rng.choice(ODD))
        except (KeyError, IndexError, TypeError):
            continue
    with contextlib.suppress(DamonError):
        for snapshot in read(path, document):
            assert snapshot.max_nr_accesses >= 1


def test_a_pipe_is_refused(path: Path) -> None:
    """At once: nobody may ever write to it."""
    os.mkfifo(path)
    with pytest.raises(InputError, match="is not a regular file"):
        DamoReader(path)


def test_a_directory_is_not_moved_aside(path: Path) -> None:
    """Nor is anything else that isn't a file: it is refused before anything is recorded."""
    path.mkdir()
    with pytest.raises(InputError, match="is not a regular file: choose another path"):
        DamoWriter(path, RecordInfo())
    assert path.is_dir()


def test_a_name_that_is_too_long_is_refused_at_the_beginning(tmp_path: Path) -> None:
    """Until the record is whole its file has a longer one."""
    with pytest.raises(InputError, match="File name too long"):
        DamoWriter(tmp_path / f"{'a' * 245}.json", RecordInfo())
