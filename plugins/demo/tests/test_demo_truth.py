"""The truth of a workload, and the judgement of snapshots by it."""

import json

import pytest
from damon_demo.judgement import Score, judge
from damon_demo.truth import AccessedRange, AreaPlace, PhaseRun, Truth
from damon_demo.workload import KINDS, Touch

from damon_core import DamonError, Range, Snapshot
from damon_core.testing import RegionRow, make_snapshot

PAGE = 4096
A = AreaPlace("a", 10 * PAGE, 14 * PAGE)
B = AreaPlace("b", 20 * PAGE, 22 * PAGE)
TRUTH = Truth(
    pid=7,
    areas=(A, B),
    phases=(
        PhaseRun(1, 1_000, 0, (Touch("a", every_us=5_000),), {"a": 9}),
        PhaseRun(2, 2_000, 1_000, (Touch("b", every_us=5_000),)),
    ),
    end_us=3_000,
    children=(8,),
)


def truth_of(touch: Touch, kind: str = "anonymous") -> Truth:
    """Return the truth of area a, which has 4 pages and is touched in one way all the time."""
    end = A.start + 4 * KINDS[kind]
    return Truth(7, (AreaPlace("a", A.start, end, kind),), (PhaseRun(1, 0, 0, (touch,)),))


def snapshot(
    time_us: int, regions: dict[tuple[int, int], float], elapsed_us: int = 100, checks: int = 4
) -> Snapshot:
    """Return a snapshot of regions given in pages, with their nr_accesses."""
    rows = [RegionRow(first * PAGE, last * PAGE, nr) for (first, last), nr in regions.items()]
    return make_snapshot(
        {"workload[7]": rows}, time_us=time_us, elapsed_us=elapsed_us, max_nr_accesses=checks
    )


def phase_line(number: int, area: str, **times: int) -> dict[str, object]:
    """Return the workload's line at the begin of a phase."""
    hot = [{"area": area, "every_us": 5_000}]
    return {"event": "phase", "number": number, "hot": hot, **times}


class TestTruth:
    def test_parse(self) -> None:
        """The workload's lines become the truth; areas are sorted by address."""
        lines = [
            {
                "event": "areas",
                "pid": 7,
                "children": [8],
                "areas": [
                    {"name": "b", "start": B.start, "end": B.end},
                    {"name": "a", "start": A.start, "end": A.end},
                ],
            },
            phase_line(1, "a", unix_us=1_000, boottime_us=0),
            {"event": "phase_end", "number": 1, "sweeps": {"a": 9}},
            phase_line(2, "b", unix_us=2_000, boottime_us=1_000),
            {"event": "end", "unix_us": 3_000, "boottime_us": 2_000},
        ]
        assert Truth.parse(json.dumps(line) for line in lines) == TRUTH

    @pytest.mark.parametrize(
        "lines",
        [["hello"], ['{"event": "areas"}'], ['{"event": "phase_end", "sweeps": {}}'], ["[]"], []],
    )
    def test_other_output_is_refused(self, lines: list[str]) -> None:
        """Lines that the workload can't have printed are an error."""
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
        """The hot ranges are the addresses of the hot areas."""
        assert TRUTH.hot_ranges(2_500) == [Range(B.start, B.end)]

    @pytest.mark.parametrize(
        ("touch", "pages"),
        [
            (Touch("a", share=0.5), {(0, 2)}),
            (Touch("a", share=0.5, begin=0.25), {(1, 3)}),
            (Touch("a", share=0.5, scattered=True), {(0, 1), (2, 3)}),
            (Touch("a", share=0.75, scattered=True), {(0, 3)}),
            (Touch("a", share=0.25, begin=0.75), {(3, 4)}),
        ],
    )
    @pytest.mark.parametrize("kind", ["anonymous", "thp"])
    def test_shares_are_exact_to_the_page(
        self, touch: Touch, pages: set[tuple[int, int]], kind: str
    ) -> None:
        """Only the touched pages of an area are hot, in the page size of its kind."""
        size = KINDS[kind]
        assert truth_of(touch, kind).hot_ranges(0) == [
            Range(A.start + first * size, A.start + end * size) for first, end in sorted(pages)
        ]

    def test_accessed(self) -> None:
        """Ranges have the time between accesses, and whether they are written."""
        touch = Touch("a", share=0.5, every_us=20_000, write=True)
        assert truth_of(touch).accessed(0) == [
            AccessedRange(A.start, A.start + 2 * PAGE, 20_000, write=True)
        ]

    @pytest.mark.parametrize(
        ("every_us", "frequency"), [(0, 1.0), (5_000, 1.0), (10_000, 0.5), (50_000, 0.1)]
    )
    def test_frequency(self, every_us: int, frequency: float) -> None:
        """Fewer checks every 5 ms find memory accessed that is accessed less often."""
        assert AccessedRange(0, PAGE, every_us, write=False).frequency(5_000) == frequency

    def test_phase_throughout(self) -> None:
        """A time in which a phase begins has no single phase."""
        assert TRUTH.phase_throughout(1_000, 1_999) == TRUTH.phases[0]
        assert TRUTH.phase_throughout(1_500, 2_000) is None


class TestJudge:
    def test_all_correct(self) -> None:
        """Regions equal to the areas, with the true heat, are all correct."""
        score = judge(TRUTH, [snapshot(1_500, {(10, 14): 4, (20, 22): 0})]).score
        assert score == Score(
            hot=4 * PAGE * 100,
            hot_correct=4 * PAGE * 100,
            cold=2 * PAGE * 100,
            cold_correct=2 * PAGE * 100,
        )
        assert (score.recall, score.precision, score.cold_recall) == (1, 1, 1)

    def test_half_of_the_checks_is_hot(self) -> None:
        """Memory accessed in half of the checks is reported hot, in fewer it isn't."""
        just = judge(TRUTH, [snapshot(1_500, {(10, 14): 2})]).score
        below = judge(TRUTH, [snapshot(1_500, {(10, 14): 1.9})]).score
        assert (just.recall, below.recall) == (1, 0)

    def test_regions_count_where_they_overlap(self) -> None:
        """A hot region over one page of a hot and one of a cold area is half correct."""
        score = judge(TRUTH, [snapshot(1_500, {(13, 21): 4})]).score
        assert score.recall == 1 / 4
        assert score.precision == 1 / 2
        assert score.cold_recall == 1 / 2

    def test_part_of_an_area_is_hot(self) -> None:
        """The untouched pages of a hot area are cold."""
        truth = truth_of(Touch("a", share=0.5, scattered=True))
        score = judge(truth, [snapshot(1_500, {(10, 13): 4, (13, 14): 0})]).score
        assert (score.recall, score.precision, score.cold_recall) == (1, 2 / 3, 1 / 2)

    @pytest.mark.parametrize(("every_us", "hot"), [(10_000, 4), (10_001, 0)])
    def test_what_is_accessed_too_rarely_is_cold(self, every_us: int, hot: int) -> None:
        """Memory that half of the checks can't find accessed isn't truly hot."""
        truth = truth_of(Touch("a", every_us=every_us))
        assert judge(truth, [snapshot(1_500, {})]).score.hot == hot * PAGE * 100

    def test_uncovered_memory_is_reported_cold(self) -> None:
        """Memory without regions counts as reported cold."""
        score = judge(TRUTH, [snapshot(1_500, {})]).score
        assert (score.recall, score.precision, score.cold_recall) == (0, None, 1)

    def test_aggregations_with_a_change_are_left_out(self) -> None:
        """Only aggregations within one phase are judged; the others are counted."""
        regions = {(10, 14): 4.0}
        judgement = judge(TRUTH, [snapshot(time_us, regions) for time_us in (1_050, 1_200, 2_050)])
        assert (judgement.judged, judgement.left_out) == (1, 2)
        assert [each.phase.number for each in judgement.phases] == [1]

    def test_scores_are_weighted_by_time(self) -> None:
        """A longer aggregation has more weight."""
        right = snapshot(1_500, {(10, 14): 4}, elapsed_us=300)
        wrong = snapshot(1_600, {(10, 14): 0}, elapsed_us=100)
        assert judge(TRUTH, [right, wrong]).score.recall == 3 / 4

    def test_working_sets_of_the_areas(self) -> None:
        """A phase's working set has only the areas; counts below one count in part."""
        judgement = judge(TRUTH, [snapshot(1_500, {(0, 10): 4, (10, 14): 0.5, (20, 22): 4})])
        assert judgement.phases[0].working_sets_bytes == (4 * PAGE,)
