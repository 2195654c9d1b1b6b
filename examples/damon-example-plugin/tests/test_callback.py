"""The callback, on virtual time: hours of monitoring take milliseconds."""

from pathlib import Path

import pytest
from damon_core import Bytes, InputError
from damon_core.testing import ScriptedMemory, ScriptedRegion, run_virtual

from damon_example.callback import (
    ExampleCallback,
    ExampleCallbackOptions,
)

MIB = 1 << 20


def memory() -> ScriptedMemory:
    """Return memory of which 1 MiB is always accessed, and the rest never."""
    hot, cold = ScriptedRegion(0, MIB, heat=1.0), ScriptedRegion(MIB, 64 * MIB, heat=0.0)
    return ScriptedMemory({"process": [hot, cold]})


def test_each_aggregation_is_a_line(tmp_path: Path) -> None:
    """With its number and its working set."""
    path = tmp_path / "rows.txt"
    options = ExampleCallbackOptions(path)
    run_virtual(memory(), ExampleCallback(options), aggregations=3)
    lines = [line.split()[1:] for line in path.read_text().splitlines()]
    assert lines == [["1", str(MIB)], ["2", str(MIB)], ["3", str(MIB)]]


def test_small_working_sets_are_left_out(tmp_path: Path) -> None:
    """Those below `at_least`."""
    path = tmp_path / "rows.txt"
    options = ExampleCallbackOptions(path, at_least=Bytes(2 * MIB))
    run_virtual(memory(), ExampleCallback(options), aggregations=3)
    assert path.read_text() == ""


def test_a_file_that_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    """Before anything runs."""
    options = ExampleCallbackOptions(tmp_path / "none" / "rows.txt")
    with pytest.raises(InputError, match="can't be written: No such file or directory"):
        ExampleCallback(options)
