"""How the benchmark beside the kernel's DAMON scores both monitors, byte by byte."""

import numpy as np
import pytest
from attrs import evolve
from damon_demo.truth import AreaPlace, PhaseRun, Truth
from damon_demo.workload import Touch

from benchmarks.beside_kernel.answers import Answer, MonitorRun, Score
from benchmarks.kernel_checks.__main__ import cells_of
from benchmarks.kernel_checks.pages import Cost

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
    """Return an answer at the end of a second that reports only these parts of memory hot."""
    start, end = (np.array([round(r[n] * MIB) for r in hot_mib], dtype=np.int64) for n in (0, 1))
    return Answer(
        (second - 1) * 1_000_000,
        second * 1_000_000,
        10,
        np.append(start, 200 * MIB),
        np.append(end, 300 * MIB),
        np.append(np.full(len(start), 0.5), 0.4),
    )


def run_of(*answers: Answer) -> MonitorRun:
    """Return a run of 9 s that used 90 ms of CPU time."""
    return MonitorRun(0, 9_000_000, 100_000, 90_000, answers, TRUTH)


def test_only_bytes_of_areas_count() -> None:
    """Half of the bytes reported hot were hot; three fifths of the hot bytes were reported."""
    score = Score.of(answer(1, (90.0, 103.0), (107.0, 110.0)), TRUTH)
    assert (score.hot, score.reported, score.both) == (5 * MIB, 6 * MIB, 3 * MIB)
    assert (score.precision, score.recall) == (0.5, 0.6)
    assert score.f1 == pytest.approx(2 * 0.5 * 0.6 / 1.1)


def test_error_of_the_frequency_is_the_mean_over_all_bytes() -> None:
    """Hot bytes are accessed in each check: with half the frequency half of each is wrong."""
    score = Score.of(answer(1, (90.0, 103.0), (107.0, 110.0)), TRUTH)
    seen_hot, seen_cold, hot_unseen = 3 * 0.5, 3 * 0.5, 2
    wrong = seen_hot + seen_cold + hot_unseen
    assert score.error == pytest.approx(wrong * MIB / score.all)


def test_an_answer_without_hot_memory_has_no_precision() -> None:
    """Its recall and F1 are 0."""
    score = Score.of(answer(1), TRUTH)
    assert (score.precision, score.recall, score.f1) == (None, 0.0, 0.0)


def test_a_short_run_may_have_no_answer_in_its_second_half() -> None:
    """Then the table of `kernel_checks` has no score of it."""
    run = run_of(answer(1, (100.0, 105.0)))
    whole, half, *_ = cells_of([run], [Cost(0.1, 0.1, 10)])
    assert (whole, half) == ("1.000 (1.000 to 1.000)", "-")


def test_an_aggregation_with_a_change_has_no_score() -> None:
    """Its truth is neither the one before the change nor the one after."""
    before, after = answer(3, (100.0, 105.0)), answer(6, (105.0, 110.0))
    changing = evolve(answer(4), begin_us=3_500_000, end_us=4_500_000)
    assert run_of(before, changing, after).score().f1 == 1.0


def test_delay_is_from_the_change_to_the_first_right_answer() -> None:
    """The start is a change; an unnoticed change has the delay until the next one."""
    run = run_of(answer(2), answer(3, (100.0, 105.0)), answer(8), answer(9, (100.0, 105.0)))
    assert run.delays_us() == [(3_000_000, True), (4_000_000, False), (1_000_000, True)]


def test_a_change_shortly_before_the_end_has_no_delay() -> None:
    """It can't have been noticed."""
    run = run_of(answer(3, (100.0, 105.0)), answer(6, (105.0, 110.0)), answer(9))
    assert run.delays_us() == [(3_000_000, True), (2_000_000, True)]


def test_costs_are_shares_of_the_time_monitored() -> None:
    """In 9 s there were 20 of the 90 possible checks, and 90 ms of CPU time."""
    run = run_of(answer(3), answer(9))
    assert run.cpu_share == 0.01
    assert run.missed_share == pytest.approx(70 / 90)


def test_sweeps_are_counted_in_whole_phases() -> None:
    """There are 100 per second, then 50; the last phase isn't complete."""
    assert run_of(answer(9)).sweeps_per_s() == 75
