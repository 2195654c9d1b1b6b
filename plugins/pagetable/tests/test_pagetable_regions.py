"""The best cut of pages into regions."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from damon_pagetable.regions import Runs, cut, is_as_good

from damon_core import BLOCK_BYTES, PAGE_SIZE_BYTES, PageMap

BASE = 1 << 40
HOT, WARM, COLD = 13, 17, 26


def known(periods: npt.ArrayLike, blocks: npt.ArrayLike | None = None) -> PageMap:
    """Return a map of pages side by side, or in the given blocks."""
    rows = np.array(periods, dtype=np.uint8)
    rows = np.append(rows, np.zeros(-len(rows) % 512, dtype=np.uint8)).reshape(-1, 512)
    numbers = np.arange(len(rows)) if blocks is None else np.array(blocks)
    return PageMap.of_periods(
        BASE + numbers * BLOCK_BYTES, rows, shortest=HOT, longest=COLD - 1, watched_us=1 << COLD
    )


def pages(addresses: npt.NDArray[np.int64]) -> list[int]:
    """Return numbers of pages."""
    numbers: list[int] = ((addresses - BASE) // PAGE_SIZE_BYTES).tolist()
    return numbers


def starts(periods: npt.ArrayLike, limit: int = 1_000) -> list[int]:
    """Return where regions start, as numbers of pages."""
    return pages(cut(Runs.of(known(periods)), limit))


def test_runs_are_neighbours_with_one_period() -> None:
    """Holes are in none."""
    runs = Runs.of(known([HOT] * 3 + [COLD] * 2 + [0] * 5 + [COLD] * 4))
    assert pages(runs.start) == [0, 3, 10]
    assert pages(runs.end) == [3, 5, 14]
    assert runs.pages.tolist() == [3, 2, 4]


def test_runs_go_over_the_borders_of_neighbouring_blocks_only() -> None:
    """Blocks 0 and 1 are neighbours, 5 isn't theirs."""
    runs = Runs.of(known([HOT] * 3 * 512, blocks=[0, 1, 5]))
    assert pages(runs.start) == [0, 5 * 512]
    assert pages(runs.end) == [2 * 512, 6 * 512]


def test_runs_of_much_memory() -> None:
    """More than is looked at once: 2 GiB, a hole, and 1 GiB."""
    periods = np.full(1_536 * 512, COLD, dtype=np.uint8)
    periods[100_000:400_000] = HOT
    runs = Runs.of(known(periods, blocks=[*range(1_024), *range(2_000, 2_512)]))
    assert pages(runs.start) == [0, 100_000, 400_000, 2_000 * 512]
    assert runs.pages.tolist() == [100_000, 300_000, 1_024 * 512 - 400_000, 512 * 512]


def test_no_memory() -> None:
    """No regions."""
    runs = Runs.of(known([]))
    assert not len(cut(runs, 10))


def test_borders_are_where_the_program_has_them() -> None:
    """To the page."""
    assert starts([COLD] * 1000 + [HOT] * 333 + [COLD] * 700) == [0, 1000, 1333]


def test_what_differs_most_stays_apart() -> None:
    """With too few regions for everything."""
    periods = [HOT] * 100 + [HOT + 1] * 100 + [COLD] * 100 + [COLD + 1] * 100
    assert starts(periods, limit=2) == [0, 200]


def test_large_parts_count_more_than_small_ones() -> None:
    """A warm half is more than a hot page."""
    periods = [COLD] * 1000 + [HOT] + [COLD] * 999 + [WARM] * 2000
    assert starts(periods, limit=2) == [0, 2000]


def test_single_hot_page_is_found() -> None:
    """If there are regions for it."""
    assert starts([COLD] * 1000 + [HOT] + [COLD] * 999) == [0, 1000, 1001]


def test_noise_is_no_region() -> None:
    """Pages whose period varies by a factor of two."""
    rng = np.random.default_rng(1)
    assert starts(HOT + rng.integers(0, 2, 5_000)) == [0]


def test_holes_separate() -> None:
    """Memory with the same period at two places is two regions."""
    assert starts([HOT] * 10 + [0] * 100 + [HOT] * 10) == [0, 110]


def test_small_holes_are_filled_first() -> None:
    """Where regions have to be saved."""
    periods = [HOT] * 10 + [0] * 20 + [HOT] * 10 + [0] * 300 + [HOT] * 10
    assert starts(periods, limit=2) == [0, 340]


@pytest.mark.parametrize("limit", [1, 2, 10, 100, 1000])
def test_there_are_never_more_regions_than_allowed(limit: int) -> None:
    """Of pages at random."""
    rng = np.random.default_rng(2)
    assert len(starts(rng.integers(0, 30, 20_000), limit)) <= limit


def test_as_many_regions_as_are_allowed_if_that_is_better() -> None:
    """500 areas of 64 KiB, 100 regions."""
    periods = np.full((500, 64), COLD)
    periods[:, :16] = HOT
    assert 90 <= len(starts(periods.ravel(), 100)) <= 100


def spread(periods: npt.NDArray[np.int64], borders: list[int]) -> float:
    """Return the sum of squared distances from the means between borders."""
    parts = itertools.pairwise([*borders, len(periods)])
    return sum(float(((part := periods[a:b]) - part.mean()).__pow__(2).sum()) for a, b in parts)


@pytest.mark.parametrize("seed", range(5))
def test_cut_is_nearly_the_best_one(seed: int) -> None:
    """Beside dynamic programming over all cuts, of areas of any size with some noise."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 60, 12)
    periods = np.repeat(rng.integers(10, 27, 12), sizes) + rng.integers(0, 2, sizes.sum())
    found = starts(periods, limit=6)
    assert spread(periods, found) <= 1.3 * spread(periods, best(periods, 6))


def best(periods: npt.NDArray[np.int64], limit: int) -> list[int]:
    """Return the starts of the best cut into exactly `limit` parts."""
    count = len(periods)
    one, two = np.append(0, periods.cumsum()), np.append(0, (periods**2).cumsum())
    size = np.arange(count + 1)
    costs = np.full((count + 1, count + 1), np.inf)
    for end in range(1, count + 1):
        begin = size[:end]
        total = one[end] - one[begin]
        costs[begin, end] = two[end] - two[begin] - total**2 / (end - begin)
    best_so_far, chosen = costs[0], []
    for _ in range(limit - 1):
        options = best_so_far[:, np.newaxis] + costs
        chosen.append(options.argmin(axis=0))
        best_so_far = options.min(axis=0)
    borders = [count]
    for choice in reversed(chosen):
        borders.append(int(choice[borders[-1]]))
    return [0, *reversed(borders[1:])]


def test_many_runs_become_fewer_and_clear_borders_stay() -> None:
    """A million pages at random beside a quiet area."""
    rng = np.random.default_rng(3)
    noisy = rng.integers(13, 24, 300_000)
    runs = Runs.of(known(np.concatenate((noisy, np.full(100_000, COLD)))))
    assert len(runs.start) <= 1 << 15
    assert int(runs.pages.sum()) == 400_000
    assert pages(runs.end)[-1] == 400_000


def test_same_memory_again_keeps_its_regions() -> None:
    """Though it is a little different in each aggregation."""
    rng = np.random.default_rng(4)
    shape = np.repeat([COLD, HOT, COLD, WARM], 5_000)
    old = cut(Runs.of(known(shape + rng.integers(0, 2, 20_000))), 1_000)
    runs = Runs.of(known(shape + rng.integers(0, 2, 20_000)))
    assert is_as_good(runs, old, cut(runs, 1_000))


def test_memory_that_has_changed_gets_others() -> None:
    """A hot area has moved."""
    old = cut(Runs.of(known(np.repeat([HOT, COLD, COLD], 1_000))), 1_000)
    runs = Runs.of(known(np.repeat([COLD, COLD, HOT], 1_000)))
    assert not is_as_good(runs, old, cut(runs, 1_000))


def test_runs_are_split_where_regions_were() -> None:
    """So that borders don't creep to those of runs."""
    runs = Runs.of(known([HOT] * 10 + [0] * 5 + [COLD] * 10))
    split = runs.split_at(BASE + np.array([0, 4, 12, 18, 25, 400]) * PAGE_SIZE_BYTES)
    assert pages(split.start) == [0, 4, 15, 18]
    assert pages(split.end) == [4, 10, 18, 25]
    assert split.pages.tolist() == [4, 6, 3, 7]
    assert split.sums.tolist() == [4 * HOT, 6 * HOT, 3 * COLD, 7 * COLD]


def test_without_regions_there_is_nothing_to_keep() -> None:
    """The first aggregation."""
    runs = Runs.of(known([HOT] * 10))
    assert not is_as_good(runs, np.zeros(0, dtype=np.int64), runs.start)
