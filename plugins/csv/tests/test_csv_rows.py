"""Snapshots as rows: columns, quoting, numbers, cost."""

import csv
import io
from collections.abc import Sequence

import pandas as pd
import pytest
from damon_csv import format_rows, header
from damon_csv.rows import ROW, plain
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_core import IdleAges, Snapshot, escaped
from damon_core.testing import RegionRow, make_snapshot

KINDS = {"anonymous": 1024, "huge": 0}


def a_snapshot(
    nr_accesses: Sequence[float] = (0,),
    *,
    context: str = "db",
    target: str = "redis[7]",
    idle_bytes: tuple[int | None, int | None, int | None] = (400, 300, 200),
) -> Snapshot:
    """Return a snapshot of one target with a page a region, part of it resident and touched."""
    regions = [
        RegionRow(
            4096 * index, 4096 * (index + 1), count, 3, 250, 1024, 512, *idle_bytes, kinds=KINDS
        )
        for index, count in enumerate(nr_accesses)
    ]
    return make_snapshot(
        {target: regions},
        context=context,
        time_us=1_700_000_000_000_000,
        idle_ages={target: IdleAges(7, 8, 9)},
    )


def test_a_row_has_the_columns_of_the_header() -> None:
    """Time, context, target, borders, accesses, their maximum, age, idle time, memory."""
    assert header() == (
        b"time_us,context,target,start,end,nr_accesses,max_nr_accesses,age,"
        b"idle_us,resident_bytes,stale_us,touched_bytes,idle_10s_bytes,idle_1m_bytes,idle_10m_bytes,"
        b"idle_10s_age_us,idle_1m_age_us,idle_10m_age_us,kinds\n"
    )
    assert format_rows(a_snapshot([5])) == (
        b"1700000000000000,db,redis[7],0,4096,5,20,3,250,1024,0,512,400,300,200,7,8,9,"
        b"anonymous=1024 huge=0\n"
    )


def test_what_is_not_known_is_an_empty_field() -> None:
    """Such as bytes idle for a minute of a region that is new."""
    rows = format_rows(a_snapshot(idle_bytes=(400, None, 200)))
    assert rows.endswith(b",512,400,,200,7,8,9,anonymous=1024 huge=0\n")


def test_counts_are_whole_where_they_can_be() -> None:
    """7 stays 7, 7.25 stays 7.25; of fractions seven binary digits are kept."""
    rows = format_rows(a_snapshot([7, 7.25, 0.1 + 0.2, 3.000001])).decode().splitlines()
    assert [row.split(",")[5] for row in rows] == ["7", "7.25", "0.30078125", "3"]


def test_whole_counts_alone_have_no_decimals() -> None:
    """A backend that counts checks gives a column of integers."""
    rows = format_rows(a_snapshot([0, 20, 3])).decode().splitlines()
    assert [row.split(",")[5] for row in rows] == ["0", "20", "3"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "'=1"])
def test_no_name_is_a_formula(name: str) -> None:
    """Spreadsheets compute what begins so; an apostrophe says that it is text."""
    (row,) = csv.reader(io.StringIO(format_rows(a_snapshot([1], target=name)).decode()))
    assert row[2] == f"'{name}"


def test_a_context_without_regions_gives_nothing() -> None:
    """No regions, no rows."""
    assert format_rows(a_snapshot([])) == b""


@settings(deadline=None)
@given(st.text().map(escaped))
def test_any_name_is_read_back(name: str) -> None:
    """Quoting is what csv.reader undoes, and an apostrophe what `plain` does."""
    data = format_rows(a_snapshot([1], context=name, target=name)).decode()
    (row,) = csv.reader(io.StringIO(data, newline=""))
    assert [plain(field) for field in row[1:3]] == [name, name]


@settings(deadline=None)
@given(st.text(), st.text())
def test_a_row_is_one_line_of_utf8_whatever_the_names(context: str, target: str) -> None:
    """So a torn row is recognised by its missing newline alone."""
    data = format_rows(a_snapshot([1, 2], context=context, target=target))
    data.decode()
    assert data.count(b"\n") == 2
    assert b"\r" not in data


def test_a_percent_sign_in_a_name_is_one() -> None:
    """However rows are put together."""
    assert b",100 %s,a%%,0," in format_rows(a_snapshot(context="100 %s", target="a%%"))


def test_pandas_reads_numbers_and_names() -> None:
    """Integers where everything is whole, floats in nr_accesses where it isn't."""
    snapshot = a_snapshot([1, 2.5], target='a,"b')
    table = pd.read_csv(io.BytesIO(header() + format_rows(snapshot)))
    kinds = {name: dtype.kind for name, dtype in table.dtypes.items() if dtype.kind in "if"}
    whole = {column.name for column in ROW if column.dtype == "int64"}
    assert kinds == dict.fromkeys(whole, "i") | {"nr_accesses": "f"}
    assert table["target"].tolist() == ['a,"b'] * 2
    assert table["nr_accesses"].tolist() == [1, 2.5]


def test_addresses_of_the_whole_space_are_exact() -> None:
    """No address goes through a float."""
    region = RegionRow(2**47 - 4097, 2**63 - 1)
    rows = format_rows(make_snapshot({"t": [region]}))
    assert rows.split(b",")[3:5] == [b"140737488351231", b"9223372036854775807"]
