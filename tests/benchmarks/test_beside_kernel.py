"""How the benchmark beside the kernel's DAMON judges: the same for both, byte by byte."""

import numpy as np
import pytest
from attrs import evolve
from damon_demo import AreaPlace, PhaseRun, Touch, Truth

from benchmarks.beside_kernel.answers import Answer, Score, Watched

MIB = 1 << 20
#: Of an area of 10 MiB, the first half is hot for 4 s, then the second for 4 s.
TRUTH = Truth(
    1,
    (AreaPlace("a", 100 * MIB, 110 * MIB),),
    (
        PhaseRun(1, 0, 0, (Touch("a", share=0.5, every_us=10),), {"a": 400}),
        PhaseRun(2, 4_000_000, 0, (Touch("a", share=0.5, begin=0.5, every_us=10),), {"a": 200}),
        PhaseRun(3, 8_000_000, 0, (Touch("a", share=0.5, every_us=10),)),
    ),
)


def answer(second: int, *hot_mib: tuple[float, float]) -> Answer:
    """Return what is told hot at the end of a second; the rest of the memory isn't."""
    start, end = (np.array([round(r[n] * MIB) for r in hot_mib], dtype=np.int64) for n in (0, 1))
    return Answer(
        (second - 1) * 1_000_000,
        second * 1_000_000,
        10,
        np.append(start, 200 * MIB),
        np.append(end, 300 * MIB),
        np.append(np.full(len(start), 0.5), 0.4),
    )


def watched(*answers: Answer) -> Watched:
    """Return a run of 9 s that used 90 ms of processor time."""
    return Watched(0, 9_000_000, 100_000, 90_000, answers, TRUTH)


def test_bytes_count_and_only_those_of_areas() -> None:
    """Half of what was told hot was, three fifths of what was hot were told."""
    score = Score.of(answer(1, (90.0, 103.0), (107.0, 110.0)), TRUTH)
    assert score == Score(hot=5 * MIB, told=6 * MIB, both=3 * MIB)
    assert (score.precision, score.recall) == (0.5, 0.6)
    assert score.f1 == pytest.approx(2 * 0.5 * 0.6 / 1.1)


def test_nothing_told_has_no_precision() -> None:
    """But a recall of 0, and F1."""
    score = Score.of(answer(1), TRUTH)
    assert (score.precision, score.recall, score.f1) == (None, 0.0, 0.0)


def test_an_aggregation_in_which_it_changes_is_not_judged() -> None:
    """The truth of it is neither the one before nor the one after."""
    before, after = answer(3, (100.0, 105.0)), answer(6, (105.0, 110.0))
    changing = evolve(answer(4), begin_us=3_500_000, end_us=4_500_000)
    assert watched(before, changing, after).score().f1 == 1.0


def test_delay_is_from_the_change_to_the_first_right_answer() -> None:
    """The start is a change; one that isn't noticed took until the next."""
    run = watched(answer(2), answer(3, (100.0, 105.0)), answer(8), answer(9, (100.0, 105.0)))
    assert run.delays_us() == [(3_000_000, True), (4_000_000, False), (1_000_000, True)]


def test_the_end_of_the_run_tells_nothing_of_a_delay() -> None:
    """A change shortly before it can't have been noticed."""
    run = watched(answer(3, (100.0, 105.0)), answer(6, (105.0, 110.0)), answer(9))
    assert run.delays_us() == [(3_000_000, True), (2_000_000, True)]


def test_costs_are_shares_of_the_time_watched() -> None:
    """9 s of the time, 20 of the 90 checks that fit, 90 ms of processor time."""
    run = watched(answer(3), answer(9))
    assert run.cpu_share == 0.01
    assert run.missed_share == pytest.approx(70 / 90)


def test_sweeps_are_counted_in_whole_phases() -> None:
    """100 a second, then 50; the last phase isn't over."""
    assert watched(answer(9)).sweeps_per_s() == 75
