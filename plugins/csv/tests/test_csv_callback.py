"""The callback in a context, and its options."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import fields
from damon_csv import CsvCallback, CsvOptions, header, plugin

from damon_core import (
    Bytes,
    Callback,
    Context,
    InputError,
    Intervals,
    Microseconds,
    VirtualClock,
    moved_aside,
)
from damon_core.testing import ScriptedMemory, ScriptedRegion, run, run_virtual


def two_targets(checks: int = 40) -> ScriptedMemory:
    """Return a primitive with two targets of two regions each, all of them always accessed."""
    regions = [ScriptedRegion(0, 1 << 19), ScriptedRegion(1 << 19, 1 << 20)]
    return ScriptedMemory({"a": regions, 'b, "c"': regions}, checks)


def test_each_aggregation_is_a_row_a_region(tmp_path: Path) -> None:
    """Two aggregations of two targets with two regions each."""
    path = tmp_path / "out.csv"
    run_virtual(two_targets(), CsvCallback(CsvOptions(path)))
    table = pd.read_csv(path)
    assert list(table.columns) == header().decode().strip().split(",")
    assert len(table) == 8
    assert table["target"].tolist() == ["a", "a", 'b, "c"', 'b, "c"'] * 2
    assert table["nr_accesses"].eq(20).all()
    assert table["max_nr_accesses"].eq(20).all()
    assert table["start"].tolist() == [0, 1 << 19] * 4
    assert table["end"].tolist() == [1 << 19, 1 << 20] * 4
    assert table["time_us"].diff().loc[4] == 100_000
    assert table["time_us"].iloc[0] == 1_700_000_000_100_000
    assert all(
        table[column].dtype == np.int64 for column in ("time_us", "start", "end", "age", "idle_us")
    )


def test_a_restart_appends(tmp_path: Path) -> None:
    """The same context twice: one header, twice the rows."""
    path = tmp_path / "out.csv"
    run(run_virtual(two_targets(), CsvCallback(CsvOptions(path))))
    assert len(pd.read_csv(path)) == 16


def test_the_file_is_closed_at_the_end(tmp_path: Path) -> None:
    """No descriptor and no private data are left."""
    callback = CsvCallback(CsvOptions(tmp_path / "out.csv"))
    context = run_virtual(two_targets(), callback)
    assert context.private(callback) == {}


def test_contexts_share_a_path_through_one_object_or_two(tmp_path: Path) -> None:
    """Rows of all contexts are in the file, also while it rotates."""
    path = tmp_path / "out.csv"
    options = CsvOptions(path, rotate_size=Bytes(3_000))
    shared = CsvCallback(options)
    contexts = [
        Context(two_targets(checks=1_000), [callback], clock=VirtualClock(), name=name)
        for name, callback in (("x", shared), ("y", shared), ("z", CsvCallback(options)))
    ]
    run(*contexts)
    for context in contexts:
        assert [stats.failures for stats in context.stats.callbacks.values()] == [0]
    parts = [*moved_aside(path), path]
    assert len(parts) > 3
    table = pd.concat([pd.read_csv(part) for part in parts])
    assert table.groupby("context").size().to_dict() == dict.fromkeys("xyz", 200)


def test_an_hourly_file_of_a_day_of_monitoring(tmp_path: Path) -> None:
    """The virtual clock's day becomes files by the hour; the last three are kept."""
    path = tmp_path / "out.csv"
    options = CsvOptions(path, rotate_every=Microseconds(3_600_000_000), keep=3)
    ten_minutes = Intervals(600_000_000, 600_000_000, 600_000_000)
    run_virtual(two_targets(checks=24 * 6), CsvCallback(options), intervals=ten_minutes)
    tables = [pd.read_csv(part) for part in moved_aside(path)]
    assert [table["time_us"].nunique() for table in tables] == [6, 6, 6]


def test_a_failure_to_write_is_counted_and_ends_nothing(tmp_path: Path) -> None:
    """The context runs to its end."""
    directory = tmp_path / "logs"
    directory.mkdir()
    callback = CsvCallback(CsvOptions(directory / "out.csv"))
    directory.rmdir()
    context = run_virtual(two_targets(), callback, callbacks_may_fail=True)
    stats = context.stats.callbacks["csv"]
    assert context.stats.aggregations == 2
    assert stats.failures == 3
    assert stats.last_error is not None
    assert "No such file or directory" in stats.last_error


@pytest.mark.parametrize(
    "content",
    [
        b"another,table\n",
        # As older versions wrote it.
        b"time_us,context,target,start,end,nr_accesses,max_nr_accesses,age\n1,a,t,0,4096,1,20,3\n",
    ],
)
def test_the_factory_refuses_a_file_with_other_columns(tmp_path: Path, content: bytes) -> None:
    """Before anything runs; rows of two kinds in one file would be worth nothing."""
    path = tmp_path / "out.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="other columns and is left alone"):
        CsvCallback(CsvOptions(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rotate_size": 0}, "above 0"),
        ({"rotate_every": 0}, "above 0"),
        ({"rotate_size": 9, "keep": 0}, "must be from 1 to"),
        ({"keep": 3}, "keep needs"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, int], message: str) -> None:
    """Each with what would be allowed."""
    with pytest.raises(ValueError, match=message):
        CsvOptions(Path("out.csv"), **wrong)  # type: ignore[arg-type]


def test_every_option_has_a_line_of_help() -> None:
    """For listings and for messages about missing keys."""
    assert all(field.metadata["help"] for field in fields(CsvOptions))


def test_the_package_registers_the_callback() -> None:
    """Under the name that configurations use."""
    found: list[Callback] = []
    plugin.register_callbacks(found.append)
    assert [(part.name, part.factory, part.options) for part in found] == [
        ("csv", CsvCallback, CsvOptions)
    ]
