"""The benchmark of working sets: what it takes for the truth, and that it runs."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.truth import Error, Load, Log, Window, percent
from tests.benchmarks.quick import rows_of

MIB = 1 << 20
PAGE = 4096


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Sweeps of three chunks of 64, 64 and 2 pages, each 1 ms long: two from 0, one from 10 ms."""
    path = tmp_path / "log"
    begin_ns = np.array([0, 1, 2, 3, 4, 5, 10, 11, 12]) * 1_000_000
    entries = np.column_stack((begin_ns, begin_ns + 1_000_000)).ravel()
    np.concatenate(([9, 3, 64], entries)).astype(np.int64).tofile(path)
    return Log(path, 130)


def test_a_window_has_what_was_touched_in_it(log: Log) -> None:
    """Pages that were touched twice count once."""
    assert log.touched(Window((0, 0), (6_000, 6_000), 0)) == (130 * PAGE, 130 * PAGE)


def test_a_part_of_a_sweep_has_its_chunks(log: Log) -> None:
    """Those that were begun but not ended in the window may have been touched in it."""
    window = Window((11_500, 11_500), (13_000, 13_000), 0)
    assert log.touched(window) == (2 * PAGE, 66 * PAGE)


def test_of_nothing_there_is_no_share(log: Log) -> None:
    """What is reported although nothing was in use isn't some percent too much."""
    error = Error.of([Window((6_500, 6_500), (9_000, 9_000), PAGE)], log)
    assert (percent(error.off), percent(error.worst)) == ("-", "-")


def test_nothing_is_touched_between_sweeps(log: Log) -> None:
    """A window in a rest has nothing; if its end isn't sure, it may have the next chunk."""
    assert log.touched(Window((6_500, 6_500), (9_000, 9_000), 0)) == (0, 0)
    assert log.touched(Window((6_500, 6_500), (9_000, 10_500), 0)) == (0, 64 * PAGE)


def test_errors_are_summed_over_windows(log: Log) -> None:
    """Of two results the second is off by 13 of its 130 pages."""
    whole = Window((0, 0), (6_000, 6_000), 130 * PAGE)
    error = Error.of([whole, Window((0, 0), (6_000, 6_000), 143 * PAGE)], log)
    assert (error.off, error.worst) == (0.05, 0.1)


def test_hot_pages_are_a_share_of_all_mappings() -> None:
    """Mappings have whole pages."""
    assert Load(16 * MIB, 1.0, 0.02, mappings=1_000).hot_pages == 4_000


@pytest.mark.slow
@pytest.mark.needs("gcc")
def test_referenced_reports_the_true_working_set() -> None:
    """One mapping, and a hundred in turns: within 3 % of the truth."""
    headings, _, *rows = rows_of("truth")
    column = headings.index("error")
    errors = [float(row[column].removesuffix(" %")) for row in rows]
    assert len(errors) == 2
    assert max(errors) <= 3
