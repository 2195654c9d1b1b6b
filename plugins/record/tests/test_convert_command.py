"""``damon convert`` as people call it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from damon_core import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    Area,
    PageMap,
    Plugins,
    RecordInfo,
    Snapshot,
    format_of,
)
from damon_core.testing import RegionRow, assert_same_pages, make_snapshot

DAMON = Path(sys.executable).with_name("damon")
T0 = 1_700_000_000_000_000


def convert(source: Path, output: Path) -> "subprocess.CompletedProcess[str]":
    """Run ``damon convert`` to its end."""
    return subprocess.run(
        [DAMON, "convert", str(source), str(output)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def a_snapshot(number: int, nr_accesses: float = 3) -> Snapshot:
    """Return an aggregation of ten pages, of a target that has a name for some of them."""
    return make_snapshot(
        {"redis[7]": [RegionRow(n * 4096, (n + 1) * 4096, nr_accesses, 2) for n in range(1, 11)]},
        context="db",
        number=number,
        areas={"redis[7]": [Area(4096, 8192, "[heap]")]},
    )


def write(path: Path, count: int = 100, **info: str) -> None:
    """Write a record in the format of its ending."""
    record_format = format_of(path, Plugins.discover().formats())
    with record_format.write(path, RecordInfo(**info)) as writer:  # type: ignore[arg-type]
        for number in range(1, count + 1):
            writer.write(a_snapshot(number, number % 3))


def read(path: Path) -> list[Snapshot]:
    """Read a record in the format of its ending."""
    with format_of(path, Plugins.discover().formats()).read(path) as reader:
        return list(reader.snapshots())


def numbers(snapshots: list[Snapshot]) -> list[object]:
    """Return what all formats keep."""
    return [
        (each.time_us, each.context, each.start.tolist(), each.nr_accesses.tolist())
        for each in snapshots
    ]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_any_to_any(tmp_path: Path, source: str, output: str) -> None:
    """What is in both formats is the same afterwards."""
    write(tmp_path / source)
    done = convert(tmp_path / source, tmp_path / output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("100 aggregations, 1000 rows: ")
    assert numbers(read(tmp_path / output)) == numbers(read(tmp_path / source))


def test_what_is_lost_is_told(tmp_path: Path) -> None:
    """CSV has no room for names of mappings and for how the record was made."""
    write(tmp_path / "in.parquet", host="here", command="damon record")
    done = convert(tmp_path / "in.parquet", tmp_path / "out.csv")
    assert done.stdout.splitlines()[1:] == [
        "csv doesn't keep: the host, the command line, names of mappings"
    ]


def test_what_is_kept_whole_is_not_talked_about(tmp_path: Path) -> None:
    """From Parquet to Parquet nothing is lost."""
    write(tmp_path / "in.parquet", host="here")
    done = convert(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert len(done.stdout.splitlines()) == 1


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A file that is there is an error, and stays."""
    write(tmp_path / "in.csv")
    (tmp_path / "out.csv").write_text("mine")
    done = convert(tmp_path / "in.csv", tmp_path / "out.csv")
    assert done.returncode == 2
    assert done.stderr == (
        f"damon: '{tmp_path}/out.csv' is there already: remove it, or choose another name\n"
    )
    assert (tmp_path / "out.csv").read_text() == "mine"


@pytest.mark.slow
def test_an_unfinished_record_is_made_whole(tmp_path: Path) -> None:
    """What a power cut left, without its end, can be read by others afterwards."""
    write(tmp_path / "in.parquet", 1000)
    content = (tmp_path / "in.parquet").read_bytes()
    (tmp_path / "in.parquet").write_bytes(content[: len(content) // 2])
    done = convert(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    assert "was not completed: it is read up to its last whole row group" in done.stderr
    table = pq.read_table(tmp_path / "out.parquet")
    assert 100 <= len(set(table["number"].to_pylist())) < 1000


@pytest.mark.slow
def test_damage_is_told_and_what_came_before_is_kept(tmp_path: Path) -> None:
    """A line of rubbish ends it with exit code 1; the file has what came before."""
    write(tmp_path / "in.csv", 5)
    with (tmp_path / "in.csv").open("a") as file:
        file.write("rubbish\n")
    done = convert(tmp_path / "in.csv", tmp_path / "out.parquet")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "in.csv', line 52: " in done.stderr
    assert done.stderr.endswith(f"{tmp_path}/out.parquet has the 4 aggregations before that\n")
    assert len(read(tmp_path / "out.parquet")) == 4


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("none.csv", "out.csv", "none.csv' can't be read: No such file"),
        ("in.csv", "out.txt", "out.txt' has no ending of a known format"),
        ("in.csv", "none/out.parquet", "there is no directory|No such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, source: str, output: str, message: str) -> None:
    """Files that aren't there, endings that nobody knows: exit code 2."""
    write(tmp_path / "in.csv", 1)
    done = convert(tmp_path / source, tmp_path / output)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert any(part in done.stderr for part in message.split("|"))


def with_pages(path: Path) -> None:
    """Write a record that has every page of its target."""
    periods = np.full((1, BLOCK_PAGES), 13, dtype=np.uint8)
    pages = PageMap.of_periods(np.array([0]), periods, shortest=13, longest=20, watched_us=1)
    record_format = format_of(path, Plugins.discover().formats())
    with record_format.write(path, RecordInfo(pages=True)) as writer:
        region = RegionRow(0, BLOCK_BYTES, 3)
        writer.write(make_snapshot({"redis[7]": [region]}, page_maps={"redis[7]": pages}))


@pytest.mark.slow
def test_pages_go_with_a_record(tmp_path: Path) -> None:
    """From Parquet to Parquet."""
    with_pages(tmp_path / "in.parquet")
    done = convert(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert "doesn't keep" not in done.stdout
    (found,), (wanted,) = read(tmp_path / "out.parquet"), read(tmp_path / "in.parquet")
    assert wanted.targets[0].page_map() is not None
    assert_same_pages(found.targets[0].page_map(), wanted.targets[0].page_map())


def test_pages_that_a_format_doesn_t_keep(tmp_path: Path) -> None:
    """That is said, as of spectra."""
    with_pages(tmp_path / "in.parquet")
    done = convert(tmp_path / "in.parquet", tmp_path / "out.csv")
    assert "spectra" in done.stdout
    assert "every page" in done.stdout
