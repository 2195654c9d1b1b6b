"""Files that others have changed: what is wrong is one line, with the line of the file."""

import codecs
import os
from pathlib import Path

import pytest
from damon_csv import CsvReader

from damon_core import DamonError, InputError

HEADER = "time_us,context,target,start,end,nr_accesses,max_nr_accesses,age\n"
T0 = 1_700_000_000_000_000


def a_row(time_us: object = T0, target: str = "t", start: object = 4096, **others: object) -> str:
    """Return a row of a region of a page."""
    fields = {"end": 8192, "nr_accesses": 3, "max_nr_accesses": 20, "age": 1} | others
    numbers = ",".join(str(each) for each in fields.values())
    return f"{time_us},db,{target},{start},{numbers}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a record."""
    return tmp_path / "a.csv"


def sizes(path: Path, *rows: str, header: str = HEADER) -> list[int]:
    """Return the numbers of regions of the aggregations of a file."""
    path.write_text(header + "".join(rows), newline="")
    reader = CsvReader(path)
    reader.span_us()
    return [len(each) for each in reader.snapshots()]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (a_row(start=-4096), "its start is negative"),
        (a_row(end=4096), "its end isn't above its start"),
        (a_row(end=1), "its end isn't above its start"),
        (a_row(start=1 << 63), "isn't a row"),
        (a_row(nr_accesses=-1), "its accesses are negative"),
        (a_row(nr_accesses="nan"), "its accesses are negative, or no number"),
        (a_row(nr_accesses="1e999"), "more accesses than there were checks"),
        (a_row(nr_accesses=4294967295), "more accesses than there were checks"),
        (a_row(age=-1), "its age is negative"),
        (a_row(max_nr_accesses=0, nr_accesses=0), "max_nr_accesses must be at least 1"),
        (a_row("9" * 20), "it has no valid time"),
        (a_row("9" * 5000), "it has no valid time"),
        (a_row(-5), "it has no valid time"),
        (a_row(age="9" * 5000), "isn't a row"),
    ],
)
def test_a_row_that_cannot_be_is_refused(path: Path, row: str, why: str) -> None:
    """With its line."""
    rows = [a_row(T0 - 200_000), row, a_row(T0 + 200_000)]
    with pytest.raises(DamonError, match=rf"a\.csv', line 3: .*{why}"):
        sizes(path, *rows)


def test_rows_in_the_order_of_addresses_are_refused(path: Path) -> None:
    """Each aggregation would be several, of a region each."""
    rows = [
        a_row(time_us, start=start, end=start + 1) for start in (1, 2) for time_us in (T0, T0 + 9)
    ]
    with pytest.raises(DamonError, match=r"line 4: .* sort them by time_us, context, target and"):
        sizes(path, *rows)


def test_rows_that_are_there_twice_are_refused(path: Path) -> None:
    """They would count twice."""
    rows = [a_row(T0), a_row(T0 + 9)]
    with pytest.raises(DamonError, match=r"line 4: .*or there twice"):
        sizes(path, *rows, *rows)


def test_targets_that_are_mixed_are_refused(path: Path) -> None:
    """Rows of a target follow one another."""
    rows = [a_row(target="a"), a_row(target="b"), a_row(target="a", start=8192, end=9000)]
    with pytest.raises(DamonError, match="line 4: other rows of this aggregation and target"):
        sizes(path, *rows)


def test_regions_of_another_order_are_refused(path: Path) -> None:
    """Addresses ascend."""
    with pytest.raises(DamonError, match=r"line 3: .* aren't in the order of their"):
        sizes(path, a_row(start=8192, end=9000), a_row(start=1, end=2))


def test_a_clock_that_was_set_back_is_no_fault(path: Path) -> None:
    """Its aggregations are others."""
    assert sizes(path, *[a_row(time_us) for time_us in (T0, T0 + 9, T0 + 5, T0 + 14)]) == [1] * 4


def test_lines_of_windows_are_read(path: Path) -> None:
    """As Excel and pandas there end them."""
    rows = (HEADER + a_row() + a_row(T0 + 9)).replace("\n", "\r\n")
    assert sizes(path, header=rows) == [1, 1]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (codecs.BOM_UTF8 + HEADER.encode(), "it is UTF-8 with a byte order mark"),
        (HEADER.encode("utf-16"), "it is UTF-16"),
        (HEADER.replace(",", ";").encode(), "its fields are separated by ';'"),
        (HEADER.replace(",end", "").encode(), "it lacks the columns end"),
        (b"," + HEADER.encode(), "another order, or there are others"),
    ],
)
def test_what_is_wrong_with_the_first_line_is_named(path: Path, content: bytes, why: str) -> None:
    """With the file."""
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.csv' is no record of CSV: .*{why}"):
        CsvReader(path)


def test_a_pipe_is_refused(path: Path) -> None:
    """At once: nobody may ever write to it."""
    os.mkfifo(path)
    with pytest.raises(InputError, match="is not a regular file"):
        CsvReader(path)
