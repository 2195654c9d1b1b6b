"""Regions made from the kernel's results, and the settings written to its files."""

import os

import attrs
import numpy as np
import pytest
from damon_sysfs.changes import places, region_files, target_files
from damon_sysfs.events import Table
from damon_sysfs.idling import Idling
from damon_sysfs.physical import clip, ranges_of
from damon_sysfs.processes import to_regions
from damon_sysfs.sampler import KernelTarget, Plan

from damon_core import Intervals, Range, RegionLimits, Regions


def table(*regions: tuple[int, int, int]) -> Table:
    """Return regions given as start, end and nr_accesses."""
    start, end, nr_accesses = np.array(regions, dtype=np.int64).reshape(-1, 3).T
    return Table(start, end, nr_accesses, np.arange(len(regions)))


def test_idle_times_follow_memory_through_splits_and_merges() -> None:
    """The idle time of a region is the shortest of its parts'."""
    idling = Idling()
    assert idling.after(table((0, 10, 0), (10, 20, 1), (30, 40, 0)), 100).tolist() == [100, 0, 100]
    assert idling.after(table((0, 5, 0), (5, 20, 0), (30, 40, 0)), 100).tolist() == [200, 100, 200]
    assert idling.after(table((0, 20, 0), (25, 28, 0), (30, 40, 2)), 100).tolist() == [200, 100, 0]
    assert idling.after(table(), 100).tolist() == []


def test_touching_regions_are_one_range() -> None:
    """The monitored ranges don't depend on cuts."""
    assert ranges_of(Regions([0, 10, 30], [10, 20, 40])) == [Range(0, 20), Range(30, 40)]
    assert ranges_of(Regions()) == []


def test_regions_of_nodes_are_cut_at_their_borders() -> None:
    """A region that the kernel has merged over a border is in both nodes."""
    whole = table((0, 10, 1), (10, 30, 2), (50, 60, 3))
    low, high = clip(whole, [Range(0, 20)]), clip(whole, [Range(20, 30), Range(50, 60)])
    assert (low.start.tolist(), low.end.tolist()) == ([0, 10], [10, 20])
    assert (high.start.tolist(), high.end.tolist()) == ([20, 50], [30, 60])
    assert (low.nr_accesses.tolist(), high.nr_accesses.tolist()) == ([1, 2], [2, 3])


def test_bytes_that_passed_a_filter_are_split_by_size() -> None:
    """A region in two nodes has a part of them in each, in proportion to its size there."""
    whole = table((0, 10, 1), (10, 30, 2))
    whole = attrs.evolve(whole, passed=np.array([10, 8]))
    low, high = clip(whole, [Range(0, 20)]), clip(whole, [Range(20, 30)])
    assert low.passed is not None
    assert high.passed is not None
    assert (low.passed.tolist(), high.passed.tolist()) == ([10, 4], [4])
    assert to_regions(low, Idling(), 100, 20).resident_bytes.tolist() == [10, 4]


@pytest.mark.parametrize(
    ("limits", "min_regions", "max_regions"),
    [(RegionLimits(10, 1000), "10", "1000"), (RegionLimits(1, 2), "3", "3")],
)
def test_attributes_are_written_to_files(
    limits: RegionLimits, min_regions: str, max_regions: str
) -> None:
    """Unchanged, except for the minimum of three regions that the kernel demands."""
    plan = Plan("vaddr", Intervals(5, 100, 1000), limits, (KernelTarget(7),))
    folder = "contexts/0/monitoring_attrs/"
    files = plan.files()
    assert [files[folder + f"intervals/{name}_us"] for name in ("sample", "aggr", "update")] == [
        "5",
        "100",
        "1000",
    ]
    assert files[folder + "nr_regions/min"] == min_regions
    assert files[folder + "nr_regions/max"] == max_regions
    assert files["contexts/0/targets/0/pid_target"] == "7"


def test_directories_are_made_before_their_files() -> None:
    """The number of regions is written before the first region."""
    assert list(region_files(1, [Range(4096, 8192)])) == [
        "contexts/0/targets/1/regions/nr_regions",
        "contexts/0/targets/1/regions/0/start",
        "contexts/0/targets/1/regions/0/end",
    ]


@pytest.mark.parametrize(
    ("before", "after", "marked", "unmarked"),
    [
        ("ab", "abc", ["a", "b", "c"], ["a", "b", "c"]),
        ("abc", "ab", ["a", "b"], ["a", "b"]),
        ("abc", "bc", [None, "b", "c"], None),
        ("abc", "acd", ["a", None, "c", "d"], None),
        ("ab", "cd", None, None),
        ("ab", "ba", None, None),
        ("ab", "cab", None, None),
    ],
)
def test_targets_that_stay_have_the_same_place_in_a_commit(
    before: str, after: str, marked: object, unmarked: object
) -> None:
    """Kernels that can't mark what goes are restarted, unless the last ones go."""
    assert places(before, after, can_mark=True) == marked
    assert places(before, after, can_mark=False) == unmarked


def test_a_target_that_goes_is_marked_with_a_process_that_exists() -> None:
    """The kernel refuses others; new ones have regions to begin with."""
    assert target_files([None, 4712], {1: [Range(4096, 8192)]}) == {
        "contexts/0/targets/nr_targets": "2",
        "contexts/0/targets/0/pid_target": str(os.getpid()),
        "contexts/0/targets/0/obsolete_target": "Y",
        "contexts/0/targets/1/pid_target": "4712",
        "contexts/0/targets/1/regions/nr_regions": "1",
        "contexts/0/targets/1/regions/0/start": "4096",
        "contexts/0/targets/1/regions/0/end": "8192",
    }
