"""``damon convert`` as people call it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from damon_cli.main import main
from damon_parquet.reader import ParquetReader

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


def convert(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run ``damon convert`` to its end."""
    return subprocess.run(
        [DAMON, "convert", *map(str, arguments)],
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
    assert done.stdout.splitlines()[2:] == [
        "csv doesn't keep: the host, the command line, names of mappings"
    ]


@pytest.mark.slow
def test_what_is_kept_whole_is_not_talked_about(tmp_path: Path) -> None:
    """From Parquet to Parquet nothing is lost, and that was looked at."""
    write(tmp_path / "in.parquet", host="here")
    done = convert(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert done.stdout.splitlines()[1:] == [
        "read again: 2000 checks, their time and their accesses are the same"
    ]


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


class TestParts:
    """By the runner: what is chosen, put together and divided."""

    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
        """Return how ``damon convert`` is run, beside a record of 100 aggregations."""
        monkeypatch.chdir(tmp_path)
        write(Path("in.parquet"))
        return lambda *arguments: CliRunner().invoke(main, ["convert", *arguments])

    def test_a_mapping_of_a_time(self, run: Callable[..., Result]) -> None:
        """As in reports: regions are cut at its borders, and times count from the start."""
        run("--mapping", "[heap]", "--from", "2s", "--to", "5s", "in.parquet", "out.parquet")
        found = read(Path("out.parquet"))
        assert len(found) == 30
        assert {(*each.start.tolist(), *each.end.tolist()) for each in found} == {(4096, 8192)}

    def test_nothing_that_is_chosen(self, run: Callable[..., Result]) -> None:
        """It is said what there is."""
        done = run("--target", "web*", "in.parquet", "out.parquet")
        assert done.exit_code == 2
        assert "has no target 'web*'; its targets are: redis[7]" in done.output
        assert not Path("out.parquet").exists()

    def test_no_mapping_that_is_chosen(self, run: Callable[..., Result]) -> None:
        """Which is known only at the end: then nothing was written."""
        done = run("--mapping", "nope", "in.parquet", "out.parquet")
        assert done.exit_code == 2
        assert "has no mapping 'nope'; its mappings are: [heap]" in done.output
        assert not Path("out.parquet").exists()

    @pytest.mark.parametrize("option", ["--every", "--split-every", "--split-size"])
    def test_no_time_and_no_size(self, run: Callable[..., Result], option: str) -> None:
        """Of these a conversion can't be."""
        done = run(option, "0s" if "every" in option else "0", "in.parquet", "out.parquet")
        assert done.exit_code == 2
        assert "is not above 0" in done.output

    def test_a_longer_interval(self, run: Callable[..., Result]) -> None:
        """The accesses are those of all checks."""
        done = run("--every", "1s", "in.parquet", "out.parquet")
        assert done.output.splitlines()[0].startswith("100 aggregations became 10, 10 rows: ")
        assert done.output.splitlines()[1] == (
            "read again: 2000 checks, their time and their accesses are the same"
        )
        found = read(Path("out.parquet"))
        assert {each.max_nr_accesses for each in found} == {200}
        before = sum(float(each.nr_accesses.sum()) for each in read(Path("in.parquet")))
        assert sum(10 * float(each.nr_accesses.sum()) for each in found) == before

    def test_a_longer_interval_is_known_of_the_result(self, run: Callable[..., Result]) -> None:
        """So shorter ones are refused, instead of left as they are."""
        run("--every", "1s", "in.parquet", "out.parquet")
        run("out.parquet", "same.parquet")
        done = run("--every", "500ms", "same.parquet", "shorter.parquet")
        assert done.exit_code == 2
        assert "has aggregations of 1s, which --every 500ms can't make shorter" in done.output
        assert not Path("shorter.parquet").exists()

    def test_fewer_regions(self, run: Callable[..., Result], tmp_path: Path) -> None:
        """Without a longer interval each aggregation stays."""
        rows = [RegionRow(n * 4096, (n + 1) * 4096, n) for n in range(10)]
        with format_of(Path("ten.parquet"), Plugins.discover().formats()).write(
            Path("ten.parquet"), RecordInfo()
        ) as writer:
            writer.write(make_snapshot({"redis[7]": rows}))
        run("--max-regions", "3", "ten.parquet", "out.parquet")
        (found,) = read(Path("out.parquet"))
        assert len(found) == 3
        assert (found.size_bytes * found.nr_accesses).sum() == pytest.approx(45 * 4096, rel=0.004)

    def test_split_by_time(self, run: Callable[..., Result]) -> None:
        """A file for each, named by its first aggregation; together they are the whole."""
        done = run("--split-every", "5s", "in.parquet", "out.parquet")
        paths = sorted(Path.cwd().glob("out.*.parquet"))
        assert [path.name for path in paths] == [
            "out.20231114T221320.100000Z.parquet",
            "out.20231114T221325.100000Z.parquet",
        ]
        assert f"{paths[0].name} and 1 more" in done.output
        together = [each for path in paths for each in read(path)]
        assert numbers(together) == numbers(read(Path("in.parquet")))

    @pytest.mark.slow
    def test_split_by_size(self, run: Callable[..., Result]) -> None:
        """A new file begins once one is as large."""
        run("--split-size", "4KiB", "in.parquet", "out.csv")
        paths = sorted(Path.cwd().glob("out.*.csv"))
        assert len(paths) > 1
        assert all(path.stat().st_size >= 4096 for path in paths[:-1])
        together = [each for path in paths for each in read(path)]
        assert numbers(together) == numbers(read(Path("in.parquet")))

    def test_a_format_that_is_written_at_the_end_has_no_size(
        self, run: Callable[..., Result]
    ) -> None:
        """Before it is complete."""
        done = run("--split-size", "4KiB", "in.parquet", "out.data")
        assert done.exit_code == 2
        assert "use --split-every" in done.output
        assert not list(Path.cwd().glob("out*"))

    @pytest.mark.slow
    def test_many_become_one(self, run: Callable[..., Result]) -> None:
        """Also those of a directory."""
        Path("parts").mkdir()
        run("--split-every", "5s", "in.parquet", "parts/out.parquet")
        Path("parts/notes.txt").write_text("no record")
        for name, sources in (
            ("a.parquet", sorted(Path("parts").glob("*.parquet"))),
            ("b.csv", ["parts"]),
        ):
            done = run(*map(str, sources), name)
            assert done.exit_code == 0, done.output
            assert numbers(read(Path(name))) == numbers(read(Path("in.parquet")))

    def test_what_was_not_written_is_an_error(
        self, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A format that loses checks is found by reading again."""

        def without_some(self: ParquetReader, *_: object) -> Iterator[Snapshot]:
            return iter(_SNAPSHOTS(self)) if "in" in str(self._path) else iter(())

        monkeypatch.setattr(ParquetReader, "snapshots", without_some)
        done = run("in.parquet", "out.parquet")
        assert done.exit_code == 1
        assert "isn't what was read: it adds up to 0 checks, not 2000" in done.output

    @pytest.mark.slow
    def test_hosts_of_a_dataset_are_converted_one_by_one(
        self, run: Callable[..., Result], tmp_path: Path
    ) -> None:
        """Their times go over one another."""
        for host in ("a", "b"):
            folder = tmp_path / f"fleet/host={host}/date=2023-11-14"
            folder.mkdir(parents=True)
            write(folder / "db.parquet", host=host)
        done = run("fleet", "out.parquet")
        assert done.exit_code == 2
        assert (
            "has the records of 2 hosts, one after the other: choose one with --host" in done.output
        )
        assert run("--host", "a", "fleet", "out.parquet").exit_code == 0
        assert {each.context for each in read(Path("out.parquet"))} == {"a/db"}


_SNAPSHOTS = ParquetReader.snapshots
