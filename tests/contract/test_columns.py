"""The columns of records: each is an attribute of a snapshot; what lacks is filled in."""

from collections.abc import Mapping

import numpy as np
import pytest
from attrs import fields
from hypothesis import given
from hypothesis import strategies as st

from damon_core import (
    COLUMNS,
    IDLE_SPANS,
    REGION_COLUMNS,
    SPECTRUM_US,
    Area,
    Column,
    IdleAges,
    Intervals,
    Owner,
    Reported,
    Snapshot,
    Spectrum,
    TargetRows,
    TargetSnapshot,
    assemble_snapshot,
    fill_in,
    kind_columns,
    rounded_counts,
)


def a_snapshot() -> Snapshot:
    """Return a snapshot with something in every column."""
    numbers = {name: np.array([7]) for name in REGION_COLUMNS}
    numbers |= {"nr_accesses": np.array([7.0]), "touched_bytes": np.array([5])}
    numbers |= {span.column: np.array([2]) for span in IDLE_SPANS}
    numbers["kinds"] = kind_columns(1, {"huge": np.array([4])})
    spectrum = Spectrum((1,) * len(SPECTRUM_US), 1)
    areas, owners = (Area(0, 9, "[heap]"),), (Owner("cgroup", "/a", 1, 2, 3),)
    target = TargetRows(
        "redis[7]",
        1,
        areas,
        owners,
        idle_ages=IdleAges(1, 2, 3),
        labels={"a": "b"},
        spectrum=spectrum,
        reported=Reported((5,) * 101, 4096),
    )
    return assemble_snapshot(
        numbers,
        [target],
        context="db",
        number=3,
        time_us=1_700_000_000_000_000,
        elapsed_us=100_000,
        intervals=Intervals(5_000, 100_000, 1_000_000),
        max_nr_accesses=20,
    )


@pytest.mark.parametrize("column", COLUMNS.values(), ids=lambda column: column.name)
def test_a_column_is_an_attribute_of_its_type(column: Column) -> None:
    """Of the snapshot or of a target; those of regions are arrays."""
    snapshot = a_snapshot()
    found = column.get(snapshot if column.of == "aggregation" else snapshot.targets[0])
    if column.dtype == "kinds":
        assert found["huge"].tolist() == [4]
    elif column.of == "region":
        assert found.dtype == column.dtype
    else:
        types = {
            "int64": int,
            "text": str,
            "areas": tuple,
            "owners": tuple,
            "labels": Mapping,
            "spectrum": Spectrum,
            "percentiles": tuple,
        }
        assert isinstance(found, types[column.dtype])


def test_every_attribute_of_a_snapshot_is_in_a_column() -> None:
    """What isn't would be lost by all formats; every page is kept on request."""
    named = {column.attribute.partition(".")[0] for column in COLUMNS.values()}
    attributes = {field.name for kind in (Snapshot, TargetSnapshot) for field in fields(kind)}
    assert attributes - named == {"targets", "_pages"}


def test_what_a_record_lacks_is_filled_in() -> None:
    """Idle for its age and this aggregation, resident as a whole."""
    columns = {
        "start": np.array([0, 4096]),
        "end": np.array([4096, 12288]),
        "nr_accesses": np.array([0.0, 0.5]),
        "age": np.array([3, 3]),
    }
    filled = fill_in(columns, 100)
    assert filled["idle_us"].tolist() == [400, 0]
    assert filled["resident_bytes"].tolist() == [4096, 8192]


def test_what_a_record_has_is_not_filled_in() -> None:
    """Its own columns come back as they are."""
    columns = {name: np.array([5]) for name in REGION_COLUMNS}
    assert all(fill_in(columns, 100)[name] is columns[name] for name in REGION_COLUMNS)


@given(st.floats(1e-6, 1 << 20))
def test_a_rounded_count_is_right_to_1_percent(count: float) -> None:
    """Rounding it once more changes nothing, so that it can go from format to format."""
    rounded = rounded_counts(np.array([count]))
    assert abs(rounded[0] - count) <= count / 100
    assert rounded_counts(rounded) == rounded


@given(st.integers(0, 1 << 50))
def test_a_whole_count_is_exact(count: int) -> None:
    """However large: counts are what people compare."""
    assert rounded_counts(np.array([float(count)])) == count
