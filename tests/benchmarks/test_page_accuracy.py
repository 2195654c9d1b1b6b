"""The benchmark of accuracy by page: its truth, its scores, and that it runs."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.page_accuracy.patterns import Pages, Pattern, patterns
from benchmarks.page_accuracy.scores import Counts
from benchmarks.page_accuracy.truth import NEVER, Truth
from tests.benchmarks.quick import rows_of

#: Ticks of 1 ms, each of which took 0.1 ms.
TICK_NS = 1_000_000
WORK_NS = 100_000


def truth_of(pattern: Pattern, ticks: int, folder: Path) -> Truth:
    """Return the truth by a log with these ticks."""
    log = folder / "ticks"
    begin = np.arange(ticks, dtype=np.int64) * TICK_NS
    entries = np.stack([begin, begin + WORK_NS], axis=1).ravel()
    np.concatenate(([ticks], entries)).tofile(log)
    return Truth(pattern, log)


def pages(*numbers: int) -> Pages:
    """Return a column of numbers."""
    return np.array(numbers, dtype=np.int64)


def at(ms: float) -> tuple[int, int]:
    """Return a time that is known exactly."""
    return round(ms * 1e6), round(ms * 1e6)


def test_pages_are_used_when_they_are_due(tmp_path: Path) -> None:
    """Every 10 ms from 3 ms on: in 4 to 12 ms no page is used, in 4 to 14 ms one is."""
    pattern = Pattern("a page", 1, pages(7), pages(10), pages(3), tick_us=1_000)
    truth = truth_of(pattern, 50, tmp_path)
    assert not truth.touched(at(4), at(12)).maybe.any()
    touched = truth.touched(at(4), at(14))
    assert touched.surely.all()
    assert (touched.early_ns[0], touched.late_ns[0]) == (13_000_000, 13_100_000)


def test_what_is_used_while_accessed_bits_are_cleared_is_unsure(tmp_path: Path) -> None:
    """A clearing from 2 to 4 ms: what was used at 3 ms may have been cleared afterwards or not."""
    pattern = Pattern("a page", 1, pages(7), pages(10), pages(3), tick_us=1_000)
    touched = truth_of(pattern, 50, tmp_path).touched((at(2)[0], at(4)[0]), at(8))
    assert (touched.surely[0], touched.maybe[0]) == (False, True)


def test_a_page_that_is_not_used_any_more_is_never_used(tmp_path: Path) -> None:
    """After the end of the log nothing is."""
    pattern = Pattern("a page", 1, pages(7), pages(10), pages(3), tick_us=1_000)
    assert truth_of(pattern, 50, tmp_path).touched(at(44), at(60)).early_ns[0] == NEVER


def test_turns_follow_one_another(tmp_path: Path) -> None:
    """Two pages in turns of 10 ms: after 25 ms the first is used, the second from 30 ms on."""
    pattern = Pattern("two", 1, pages(1, 2), turns=pages(1, 2), turn_s=0.01, tick_us=1_000)
    truth = truth_of(pattern, 100, tmp_path)
    touched = truth.touched(at(25), at(29))
    assert touched.maybe.tolist() == [True, False]
    assert truth.touched(at(25), at(50)).early_ns.tolist() == [25_000_000, 30_000_000]
    assert truth.changes_ns()[:2] == [(10_000_000, 2), (20_000_000, 1)]


def test_the_share_of_intervals_in_which_pages_are_used(tmp_path: Path) -> None:
    """Of two pages, one every ms and one every 50 ms: 1 + 5/50 of a page in an interval of 5 ms."""
    pattern = Pattern("two", 1, pages(1, 2), pages(1, 50), pages(0, 7), tick_us=1_000)
    used = truth_of(pattern, 200, tmp_path).used_share(0, 100_000_000, 5_000)
    assert used == pytest.approx(1.1, rel=0.01)


def test_unsure_pages_count_neither_way() -> None:
    """Of four pages one is used and found, one is used, one is found, and one is unsure."""
    counts = Counts()
    found, surely = np.array([1, 0, 1, 1], dtype=np.bool_), np.array([1, 1, 0, 0], dtype=np.bool_)
    counts.add(found, surely, np.array([1, 1, 0, 1], dtype=np.bool_))
    assert (counts.precision, counts.recall, counts.f1) == (0.5, 0.5, 0.5)


def test_patterns_are_within_their_memory() -> None:
    """At any scale, and each page has a turn, a period and a phase."""
    for scale in (1.0, 0.04):
        for pattern in patterns(scale):
            assert pattern.pages.min() >= 0
            assert pattern.pages.max() < pattern.mib * 256
            assert len(pattern.column("phases")) == len(pattern.column("periods"))


@pytest.mark.slow
@pytest.mark.needs("gcc", "root", "page-tables")
def test_the_map_is_exact() -> None:
    """A map of pages finds all that is used, and nothing else; regions of mappings don't."""
    rows = rows_of("page_accuracy", "--only", "three")
    heading = rows[0]
    by_backend = {row[0].rpartition(", ")[2]: row for row in rows[2:]}
    assert set(by_backend) == {"pagetable", "referenced"}
    assert float(by_backend["pagetable"][heading.index("F1")]) > 0.99
    assert by_backend["referenced"][heading.index("F1")] == "-"
