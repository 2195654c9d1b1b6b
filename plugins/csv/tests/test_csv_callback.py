"""The callback in a context, and its options."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import fields
from damon_csv import HEADER, CsvCallback, CsvOptions, plugin

from damon_core import (
    Bytes,
    Callback,
    Context,
    InputError,
    Intervals,
    Microseconds,
    Range,
    RegionLimits,
    Regions,
    Target,
    VirtualClock,
    hookimpl,
    stamped_files,
    start,
)


class TwoTargets:
    """A primitive with two targets, all of whose regions are always accessed."""

    def __init__(self, iterations: int = 40) -> None:
        self.left = self.iterations = iterations

    @hookimpl
    def init(self, context: Context) -> None:
        self.left = self.iterations
        for name in ("a", 'b, "c"'):
            regions = Regions.evenly([Range(0, 1 << 20)], context.limits)
            context.targets.append(Target(name, regions))

    @hookimpl
    def target_valid(self) -> bool:
        self.left -= 1
        return self.left >= 0

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        for target in context.targets:
            target.regions.nr_accesses += 1


def run(*callbacks: object, name: str = "test", iterations: int = 40) -> Context:
    """Run a context of two targets with two regions each to its end."""
    context = Context(
        TwoTargets(iterations),
        callbacks,
        limits=RegionLimits(2, 2),
        clock=VirtualClock(),
        name=name,
    )
    start(context)
    assert context.wait(60)
    assert context.error is None
    return context


def test_each_aggregation_is_a_row_a_region(tmp_path: Path) -> None:
    """Two aggregations of two targets with two regions each."""
    path = tmp_path / "out.csv"
    run(CsvCallback(CsvOptions(path)))
    table = pd.read_csv(path)
    assert list(table.columns) == HEADER.decode().strip().split(",")
    assert len(table) == 8
    assert table["target"].tolist() == ["a", "a", 'b, "c"', 'b, "c"'] * 2
    assert table["nr_accesses"].eq(20).all()
    assert table["max_nr_accesses"].eq(20).all()
    assert table["start"].tolist() == [0, 1 << 19] * 4
    assert table["end"].tolist() == [1 << 19, 1 << 20] * 4
    assert table["time_us"].diff().loc[4] == 100_000
    assert table["time_us"].iloc[0] == 1_700_000_000_100_000
    assert all(table[column].dtype == np.int64 for column in ("time_us", "start", "end", "age"))


def test_a_restart_appends(tmp_path: Path) -> None:
    """The same context twice: one header, twice the rows."""
    path = tmp_path / "out.csv"
    context = run(CsvCallback(CsvOptions(path)))
    start(context)
    assert context.wait(60)
    assert len(pd.read_csv(path)) == 16


def test_the_file_is_closed_at_the_end(tmp_path: Path) -> None:
    """No descriptor and no private data are left."""
    callback = CsvCallback(CsvOptions(tmp_path / "out.csv"))
    context = run(callback)
    assert context.private(callback) == {}


def test_contexts_share_a_path_through_one_object_or_two(tmp_path: Path) -> None:
    """Rows of all contexts are in the file, also while it rotates."""
    path = tmp_path / "out.csv"
    options = CsvOptions(path, rotate_size=Bytes(3_000))
    shared = CsvCallback(options)
    contexts = [
        Context(
            TwoTargets(iterations=1_000),
            [callback],
            limits=RegionLimits(2, 2),
            clock=VirtualClock(),
            name=name,
        )
        for name, callback in (("x", shared), ("y", shared), ("z", CsvCallback(options)))
    ]
    start(*contexts)
    for context in contexts:
        assert context.wait(60)
        assert [stats.failures for stats in context.stats.callbacks.values()] == [0]
    parts = [*stamped_files(path), path]
    assert len(parts) > 3
    table = pd.concat([pd.read_csv(part) for part in parts])
    assert table.groupby("context").size().to_dict() == dict.fromkeys("xyz", 200)


def test_an_hourly_file_of_a_day_of_monitoring(tmp_path: Path) -> None:
    """The virtual clock's day becomes files by the hour; the last three are kept."""
    path = tmp_path / "out.csv"
    options = CsvOptions(path, rotate_every=Microseconds(3_600_000_000), keep=3)
    context = Context(
        TwoTargets(iterations=24 * 6),
        [CsvCallback(options)],
        intervals=Intervals(600_000_000, 600_000_000, 600_000_000),
        clock=VirtualClock(),
    )
    start(context)
    assert context.wait(60)
    tables = [pd.read_csv(part) for part in stamped_files(path)]
    assert [table["time_us"].nunique() for table in tables] == [6, 6, 6]


def test_a_failure_to_write_is_counted_and_ends_nothing(tmp_path: Path) -> None:
    """The context runs to its end."""
    directory = tmp_path / "logs"
    directory.mkdir()
    callback = CsvCallback(CsvOptions(directory / "out.csv"))
    directory.rmdir()
    context = run(callback)
    stats = context.stats.callbacks["csv"]
    assert context.stats.aggregations == 2
    assert stats.failures == 3
    assert stats.last_error is not None
    assert "No such file or directory" in stats.last_error


def test_the_factory_refuses_what_cannot_be_written(tmp_path: Path) -> None:
    """Before anything runs."""
    path = tmp_path / "out.csv"
    path.write_text("another,table\n")
    with pytest.raises(InputError, match="other columns"):
        CsvCallback(CsvOptions(path))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rotate_size": 0}, "above 0"),
        ({"rotate_every": 0}, "above 0"),
        ({"rotate_size": 9, "keep": 0}, "above 0"),
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
