"""The benchmark of slow-downs: its estimates, what it reads of other programs, and that it runs."""

import re

import numpy as np
import pytest
from attrs import evolve

from benchmarks.slowdown.estimates import Pair, bucket_end_ns, confidence, percentile_us
from benchmarks.slowdown.loads import parse_redis_benchmark
from benchmarks.slowdown.monitors import NAMES, Came, came_of
from benchmarks.slowdown.turns import Block, Lost, Speed
from damon_core import Toll
from damon_core.testing import RegionRow, make_snapshot
from tests.benchmarks.quick import rows_of


def test_a_slowdown_is_what_is_lost_of_the_mean_speed() -> None:
    """One part of four in which nothing is done is a quarter."""
    assert Pair([8.0, 8.0, 8.0, 0.0], [8.0, 8.0]).slowdown == 0.25


def test_confidence_is_narrow_where_speeds_hardly_vary() -> None:
    """A slow-down of a tenth, with speeds that vary by a hundredth."""
    rng = np.random.default_rng(5)
    pairs = [
        Pair(rng.normal(0.9, 0.01, 20).tolist(), rng.normal(1.0, 0.01, 20).tolist())
        for _ in range(3)
    ]
    low, high = confidence(pairs)
    assert 0.08 < low < 0.1 < high < 0.12


def test_buckets_follow_one_another() -> None:
    """64 each up to 64 ns, up to 128 ns, up to 256 ns."""
    ends = [bucket_end_ns(bucket) for bucket in range(192)]
    assert ends == [*range(1, 129), *range(130, 257, 2)]


def test_percentiles_of_counted_times() -> None:
    """Of 1 000 operations, 990 took 10 ns and ten 250 ns."""
    counts = np.zeros(2560, dtype=np.int64)
    counts[10], counts[64 + 64 + 61] = 990, 10
    assert [percentile_us(counts, percent) for percent in (50, 99, 99.9)] == [0.011, 0.011, 0.252]


def test_what_a_recording_says_is_read() -> None:
    """The interval last announced, and the longest stall."""
    text = (
        "damon: WARNING: one aggregation every 6.21s instead of 100ms: 2.0 GiB at 2 % of a …\n"
        "damon: WARNING: one aggregation every 25.5s instead of 100ms: 2.0 GiB at 1 % of the …\n"
        "slowed its target down by 1.4 % by our account, longest stall 31.7ms\n"
    )
    assert came_of(text, [], 0.01) == Came(0, 25_500_000, None, 31_700, 0.01)


def test_our_account_is_of_the_time_after_the_first_aggregation() -> None:
    """20 ms of each of two aggregations of 2 s are a hundredth; 50 ms before that don't count."""
    rows = [RegionRow(0x1000, 0x3000, 0.0)]
    made = [
        make_snapshot({"program": rows}, number=number, time_us=2_000_000 * number)
        for number in (1, 2, 3)
    ]
    snapshots = [
        evolve(each, targets=(evolve(each.targets[0], toll=Toll(cpu_us=lost_us)),))
        for each, lost_us in zip(made, (50_000, 70_000, 90_000), strict=True)
    ]
    came = came_of("", snapshots)
    assert (came.results, came.slowdown) == (3, 0.01)


def test_the_times_of_redis_benchmark_are_read() -> None:
    """Percentiles between those of its summary are from its distribution."""
    text = """
Latency by percentile distribution:
0.000% <= 0.087 milliseconds (cumulative count 1)
99.805% <= 0.700 milliseconds (cumulative count 99805)
99.902% <= 0.751 milliseconds (cumulative count 99902)
99.994% <= 2.063 milliseconds (cumulative count 99994)
100.000% <= 3.215 milliseconds (cumulative count 100000)

Summary:
  throughput summary: 65274.15 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        0.123     0.080     0.119     0.159     0.303     3.215
"""
    block = parse_redis_benchmark(text)
    assert block.speeds == [65274.15]
    assert block.times_us == pytest.approx((119, 303, 751, 2063, 3215))


def block(without: float, watched: float) -> Block:
    """Return four turns with these speeds."""
    return Block((Speed(without, 0.0),) * 2, (Speed(watched, 0.0),) * 2)


def test_what_a_block_of_turns_lost() -> None:
    """Nine instead of ten operations a second, with and without the other's CPU time."""
    assert block(10, 9).lost == pytest.approx(0.1)
    assert block(10, 9).cpu_lost is None


def test_many_turns_narrow_what_results_take() -> None:
    """A hundredth, in 400 blocks that vary by a tenth, of which some are far off."""
    rng = np.random.default_rng(3)
    shares = rng.normal(0.01, 0.1, 400)
    shares[::20] = -5
    lost = Lost.of(shares.tolist())
    assert -0.01 < lost.low < 0.01 < lost.high < 0.03


@pytest.mark.slow
@pytest.mark.needs("gcc")
def test_turns_have_the_slowdown_of_all_monitors() -> None:
    """What a result takes in ms, and the slow-down, with their confidence intervals."""
    heading, _, row = rows_of("slowdown", "--turns", "2", "--peers")
    assert row[0] == "map, 16 MiB"
    cells = [cell for name, cell in zip(heading, row, strict=True) if "slow-down" in name]
    assert len(cells) == 3
    assert all(re.fullmatch(r"-?\d+\.\d+ \(-?.* to -?.*\) %", cell) for cell in cells)


@pytest.mark.slow
@pytest.mark.needs("gcc")
def test_slowdown_compares_monitors_with_the_program_alone() -> None:
    """Three tables: slow-downs, what was foretold, and latencies with each monitor."""
    rows = [row[:2] for row in rows_of("slowdown")]
    assert [first for first, _ in rows].count("map, 16 MiB") == 3
    assert [second for _, second in rows[-4:]] == ["alone", *NAMES]
