"""The truth of a workload, and how what was seen is judged by it."""

import json

import numpy as np
import pytest
from damon_demo import AreaPlace, PhaseStart, Score, Truth, judge

from damon_core import DamonError, Intervals, Range, Snapshot

PAGE = 4096
A = AreaPlace("a", 10 * PAGE, 14 * PAGE)
B = AreaPlace("b", 20 * PAGE, 22 * PAGE)
TRUTH = Truth(
    pid=7,
    areas=(A, B),
    phases=(PhaseStart(1, 1_000, 0, ("a",)), PhaseStart(2, 2_000, 1_000, ("b",))),
    end_us=3_000,
)


def snapshot(
    time_us: int, regions: dict[tuple[int, int], float], elapsed_us: int = 100, checks: int = 4
) -> Snapshot:
    """Return an aggregation of regions given in pages, with their nr_accesses."""
    start = np.array([first * PAGE for first, _ in regions], dtype=np.int64)
    end = np.array([last * PAGE for _, last in regions], dtype=np.int64)
    zero = np.zeros(len(start), dtype=np.int64)
    return Snapshot(
        Intervals(),
        checks,
        start,
        end,
        np.array(list(regions.values()), dtype=np.float64),
        zero,
        zero,
        end - start,
        time_us=time_us,
        elapsed_us=elapsed_us,
    )


class TestTruth:
    def test_parse(self) -> None:
        """The workload's lines become the truth; areas are sorted by address."""
        lines = [
            {
                "event": "areas",
                "pid": 7,
                "areas": [
                    {"name": "b", "start": B.start, "end": B.end},
                    {"name": "a", "start": A.start, "end": A.end},
                ],
            },
            {"event": "phase", "number": 1, "hot": ["a"], "unix_us": 1_000, "boottime_us": 0},
            {"event": "phase", "number": 2, "hot": ["b"], "unix_us": 2_000, "boottime_us": 1_000},
            {"event": "end", "unix_us": 3_000, "boottime_us": 2_000},
        ]
        assert Truth.parse(json.dumps(line) for line in lines) == TRUTH

    @pytest.mark.parametrize("lines", [["hello"], ['{"event": "areas"}'], ["[]"], []])
    def test_other_output_is_refused(self, lines: list[str]) -> None:
        """What the workload can't have printed is an error."""
        with pytest.raises(DamonError, match="the workload"):
            Truth.parse(lines)

    @pytest.mark.parametrize(
        ("time_us", "hot", "cold"),
        [(999, 0, 6), (1_000, 4, 2), (1_999, 4, 2), (2_000, 2, 4), (3_000, 0, 6)],
    )
    def test_bytes(self, time_us: int, hot: int, cold: int) -> None:
        """A phase holds from its start to the next; before and after nothing is hot."""
        assert TRUTH.hot_bytes(time_us) == hot * PAGE
        assert TRUTH.cold_bytes(time_us) == cold * PAGE

    def test_hot_ranges(self) -> None:
        """The addresses of the hot areas are told."""
        assert TRUTH.hot_ranges(2_500) == [Range(B.start, B.end)]

    def test_phase_throughout(self) -> None:
        """A time in which a phase begins has no single phase."""
        assert TRUTH.phase_throughout(1_000, 1_999) == TRUTH.phases[0]
        assert TRUTH.phase_throughout(1_500, 2_000) is None


class TestJudge:
    def test_all_right(self) -> None:
        """Regions that are the areas, with the right heat, are all right."""
        score = judge(TRUTH, [snapshot(1_500, {(10, 14): 4, (20, 22): 0})]).score
        assert score == Score(
            hot=4 * PAGE * 100,
            hot_right=4 * PAGE * 100,
            cold=2 * PAGE * 100,
            cold_right=2 * PAGE * 100,
        )
        assert (score.recall, score.precision, score.cold_recall) == (1, 1, 1)

    def test_half_of_the_checks_is_hot(self) -> None:
        """Memory accessed in half of the checks is told hot, in fewer it isn't."""
        just = judge(TRUTH, [snapshot(1_500, {(10, 14): 2})]).score
        below = judge(TRUTH, [snapshot(1_500, {(10, 14): 1.9})]).score
        assert (just.recall, below.recall) == (1, 0)

    def test_regions_count_where_they_overlap(self) -> None:
        """A hot region over one page of a hot and one of a cold area is half right."""
        score = judge(TRUTH, [snapshot(1_500, {(13, 21): 4})]).score
        assert score.recall == 1 / 4
        assert score.precision == 1 / 2
        assert score.cold_recall == 1 / 2

    def test_uncovered_memory_is_told_cold(self) -> None:
        """Where nothing was watched nothing was told hot."""
        score = judge(TRUTH, [snapshot(1_500, {})]).score
        assert (score.recall, score.precision, score.cold_recall) == (0, None, 1)

    def test_aggregations_with_a_change_are_left_out(self) -> None:
        """Only aggregations within one phase are judged; the others are counted."""
        regions = {(10, 14): 4.0}
        judgement = judge(TRUTH, [snapshot(time_us, regions) for time_us in (1_050, 1_200, 2_050)])
        assert (judgement.judged, judgement.left_out) == (1, 2)
        assert [each.phase.number for each in judgement.phases] == [1]

    def test_scores_are_weighted_by_time(self) -> None:
        """A longer aggregation counts for more."""
        right = snapshot(1_500, {(10, 14): 4}, elapsed_us=300)
        wrong = snapshot(1_600, {(10, 14): 0}, elapsed_us=100)
        assert judge(TRUTH, [right, wrong]).score.recall == 3 / 4

    def test_working_sets_of_the_areas(self) -> None:
        """The working set of a phase counts accesses below one in part, and only the areas."""
        judgement = judge(TRUTH, [snapshot(1_500, {(0, 10): 4, (10, 14): 0.5, (20, 22): 4})])
        assert judgement.phases[0].working_sets_bytes == (4 * PAGE,)
