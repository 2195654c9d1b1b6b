"""All formats keep the same of a run: what one says of its memory, every other says."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    InputError,
    Plugins,
    RecordFormat,
    RecordInfo,
    RecordTotals,
    Snapshot,
    format_of,
)
from damon_core.testing import RegionRow, make_snapshot

FORMATS: dict[str, RecordFormat] = {each.name: each for each in Plugins.discover().formats()}
MIB = 1 << 20

_COUNTS = st.integers(0, 20).map(float) | st.floats(1e-6, 20)
_REGIONS = st.lists(
    # Pages, shares that are resident and of these touched, accesses, age, idle time.
    st.tuples(
        st.integers(1, 1 << 20),
        st.floats(0, 1),
        st.floats(0, 1),
        _COUNTS,
        st.integers(0, 1000),
        st.integers(0, 1 << 40),
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def snapshots(draw: st.DrawFn) -> list[Snapshot]:
    """Draw aggregations of one context."""
    found = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        knows_touched = draw(st.booleans())
        targets = {}
        for name in draw(st.lists(st.sampled_from("abc"), unique=True, min_size=1)):
            rows = draw(_REGIONS)
            borders = pairwise(accumulate((pages for pages, *_ in rows), initial=0))
            targets[name] = [
                RegionRow(
                    begin * 4096,
                    end * 4096,
                    count,
                    age,
                    0 if count else idle_us,
                    int((end - begin) * resident) * 4096,
                    int((end - begin) * resident * touched) * 4096 if knows_touched else None,
                )
                for (begin, end), (_, resident, touched, count, age, idle_us) in zip(
                    borders, rows, strict=True
                )
            ]
        found.append(make_snapshot(targets, number=number))
    return found


def through(name: str, folder: Path, written: Sequence[Snapshot]) -> list[Snapshot]:
    """Return what comes back of snapshots from a file of a format."""
    record_format = FORMATS[name]
    path = folder / f"record{record_format.suffixes[0]}"
    with record_format.write(path, RecordInfo()) as writer:
        for snapshot in written:
            writer.write(snapshot)
    with record_format.read(path) as reader:
        return list(reader.snapshots())


def questions(snapshot: Snapshot) -> Iterator[object]:
    """Yield what people ask of a snapshot."""
    yield snapshot.resident_bytes.tolist()
    yield snapshot.idle_us.tolist()
    yield snapshot.total_bytes
    yield snapshot.accessed_bytes()
    yield snapshot.bytes_by_frequency()
    yield from (snapshot.working_set_bytes(at_least) for at_least in (1, 2, 20))
    yield from (snapshot.idle_bytes(at_least_us) for at_least_us in (0, 1_000_000, 1 << 39))


@pytest.mark.slow
@given(snapshots())
def test_parquet_and_csv_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, written: list[Snapshot]
) -> None:
    """Of working sets, idle memory and every region, fractions of accesses included."""
    folder = tmp_path_factory.mktemp("records")
    both = (through(name, folder, written) for name in ("parquet", "csv"))
    for one, other in zip(*both, strict=True):
        assert list(questions(one)) == list(questions(other))


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_memory_that_is_only_mapped_is_no_working_set(tmp_path: Path, name: str) -> None:
    """1 GiB that was mapped, of which 1 MiB is in memory and accessed."""
    region = RegionRow(0, 1 << 30, nr_accesses=20, resident_bytes=MIB)
    (found,) = through(name, tmp_path, [make_snapshot({"t": [region]})])
    assert (found.working_set_bytes(), found.total_bytes) == (MIB, MIB)


@pytest.mark.parametrize("name", ["csv", "damo", "parquet"])
@pytest.mark.parametrize("touched_bytes", [None, 3 << 18])
def test_accesses_add_up_to_the_same(tmp_path: Path, name: str, touched_bytes: int | None) -> None:
    """Also of memory that is partly there, where the format doesn't know which part is."""
    region = RegionRow(0, 2 * MIB, 19, resident_bytes=MIB, touched_bytes=touched_bytes)
    written = [make_snapshot({"t": [region]})]
    before, after = RecordTotals.of(written), RecordTotals.of(through(name, tmp_path, written))
    assert before.byte_checks
    lacks = RecordInfo(filled_in=("resident_bytes",) if name == "damo" else ())
    assert before.differences(after, lacks, shortened=False) == []
    assert before.deviation(after) == 0


@pytest.mark.parametrize("source", ["csv", "damo", "parquet"])
@pytest.mark.parametrize("target", ["csv", "damo", "parquet"])
def test_a_converted_record_still_lacks_what_it_lacked(
    tmp_path: Path, source: str, target: str
) -> None:
    """Whatever it becomes, nobody takes sizes for resident bytes."""
    written = make_snapshot({"t": [RegionRow(0, MIB)]})
    paths = [
        tmp_path / f"{number}{FORMATS[name].suffixes[0]}"
        for number, name in enumerate((source, target))
    ]
    info = RecordInfo(filled_in=("resident_bytes",))
    for path in paths:
        with format_of(path, list(FORMATS.values())).write(path, info) as writer:
            writer.write(written)
        with format_of(path, list(FORMATS.values())).read(path) as reader:
            info = reader.info
    assert "resident_bytes" in info.filled_in


def test_a_format_that_cannot_be_used_is_named() -> None:
    """A file of it may have an ending that only its package knows."""

    def refuse(*_: object) -> Any:
        raise AssertionError

    broken = RecordFormat("damo", (".damo",), refuse, refuse, problem="fails to register: x")
    with pytest.raises(InputError, match="format 'damo' can't be used: fails to register: x"):
        format_of(Path("own.data"), [broken])
