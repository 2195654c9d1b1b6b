"""Which kdamonds run, and what is known of them: on files with the kernel's layout."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from damon_sysfs.events import EventFormat, Events
from damon_sysfs.features import probe_running
from damon_sysfs.following import Followed, common_intervals
from damon_sysfs.observing import RunningKdamonds, stat_measures
from damon_sysfs.options import KdamondOptions
from damon_sysfs.running import Kernel, RunningKdamond, StatNumbers, is_meant
from damon_sysfs.tree import Tree
from damon_vaddr import Identities

from damon_core import Context, Intervals, TargetError
from damon_core.testing import KernelFiles

ADMIN = "sys/kernel/mm/damon/admin"
MONITORING = "contexts/0/monitoring_attrs"


@pytest.fixture
def files(tmp_path: Path) -> KernelFiles:
    """Return a kernel without kdamonds."""
    files = KernelFiles(tmp_path)
    files.write(f"{ADMIN}/kdamonds/nr_kdamonds", "0\n")
    return files


def kernel(files: KernelFiles) -> Kernel:
    """Return where such a kernel shows its DAMON."""
    return Kernel(Tree(files.root / ADMIN), files.proc, files.sys / "module")


def controlled(
    files: KernelFiles,
    pid: int,
    *,
    operations: str = "paddr",
    targets: tuple[int, ...] = (0,),
    more: Mapping[str, str] | None = None,
) -> None:
    """Add a kdamond that a program has started by kdamonds/0."""
    files.process(pid, "kdamond.0", of_kernel=True)
    settings = {
        "state": "on\n",
        "pid": f"{pid}\n",
        "contexts/0/operations": f"{operations}\n",
        f"{MONITORING}/intervals/sample_us": "20000\n",
        f"{MONITORING}/intervals/aggr_us": "400000\n",
        f"{MONITORING}/intervals/update_us": "60000000\n",
        f"{MONITORING}/nr_regions/max": "500\n",
        "contexts/0/targets/nr_targets": f"{len(targets)}\n",
    }
    settings |= {
        f"contexts/0/targets/{number}/pid_target": f"{target}\n"
        for number, target in enumerate(targets)
    }
    files.write_all(f"{ADMIN}/kdamonds/0", {**settings, **(more or {})})


def stat(files: KernelFiles, pid: int, **parameters: str) -> None:
    """Add DAMON_STAT, switched on."""
    files.process(pid, "kdamond.0", of_kernel=True)
    written = {name: f"{value}\n" for name, value in parameters.items()}
    files.write_all("sys/module/damon_stat/parameters", {"enabled": "Y\n", **written})


def test_one_with_a_directory_is_known_by_its_settings(files: KernelFiles) -> None:
    """Its intervals, its targets and how many regions it may have."""
    controlled(files, 77, operations="vaddr", targets=(4711, 4712))
    (found,) = kernel(files).running()
    assert found == RunningKdamond(
        77,
        "kdamond.0",
        7200,
        number=0,
        operations="vaddr",
        intervals=Intervals(20_000, 400_000, 60_000_000),
        is_exact=True,
        targets=(4711, 4712),
        max_regions=500,
    )


def test_where_the_kernel_tunes_them_the_settings_are_not_those_in_force(
    files: KernelFiles,
) -> None:
    """The files keep what was written, unless somebody has them updated."""
    goal = f"{MONITORING}/intervals/intervals_goal"
    more = {f"{goal}/aggrs": "3\n", f"{goal}/access_bp": "400\n", "contexts/0/addr_unit": "4096\n"}
    controlled(files, 77, more=more)
    (found,) = kernel(files).running()
    assert not found.is_exact
    assert found.unit_bytes == 4096


def test_damon_stat_is_found_where_it_says_its_thread(files: KernelFiles) -> None:
    """Its intervals are those that it has tuned itself to."""
    stat(files, 81, kdamond_pid="81", aggr_interval_us="2000000")
    (found,) = kernel(files).running()
    assert (found.module, found.which, found.is_exact) == ("damon_stat", "damon_stat", True)
    assert found.intervals == Intervals(100_000, 2_000_000, 60_000_000)
    assert str(found) == ("kdamond.0 (pid 81) of DAMON_STAT, paddr, an aggregation every 2s")


def test_damon_stat_is_found_where_it_does_not(files: KernelFiles) -> None:
    """Nothing else can run beside it. Its intervals are only those that it began with."""
    stat(files, 81)
    (found,) = kernel(files).running()
    assert (found.module, found.is_exact) == ("damon_stat", False)
    assert found.intervals == Intervals(5_000, 100_000, 60_000_000)


@pytest.mark.parametrize("module", ["damon_reclaim", "damon_lru_sort"])
def test_other_modules_have_intervals_among_their_parameters(
    files: KernelFiles, module: str
) -> None:
    """And the greatest number of regions."""
    files.process(81, "kdamond.0", of_kernel=True)
    parameters = {
        "enabled": "Y\n",
        "kdamond_pid": "81\n",
        "sample_interval": "10000\n",
        "aggr_interval": "200000\n",
        "max_nr_regions": "300\n",
    }
    files.write_all(f"sys/module/{module}/parameters", parameters)
    (found,) = kernel(files).running()
    assert (found.which, found.is_exact, found.max_regions) == (module, True, 300)
    assert found.intervals == Intervals(10_000, 200_000, 60_000_000)


def test_a_kdamond_of_nobody_known_is_called_by_its_pid(files: KernelFiles) -> None:
    """Nothing is made up: neither what it monitors nor its intervals."""
    files.process(81, "kdamond.3", of_kernel=True)
    files.process(82, "kdamond.4", of_kernel=False)
    (found,) = kernel(files).running()
    assert (found.which, found.operations, found.intervals) == ("pid:81", "", None)


@pytest.mark.parametrize(
    ("which", "meant"),
    [("all", True), (0, True), ("0", True), ("pid:77", True), ("pid:7", False), (77, False)],
)
def test_one_is_meant_by_its_number_or_pid(
    files: KernelFiles, which: int | str, meant: bool
) -> None:
    """Or with all others."""
    controlled(files, 77)
    (found,) = kernel(files).running()
    assert is_meant(found, which) is meant


@pytest.mark.parametrize("which", ["", "kdamond.0", "pid:", "stat", -1, "damon_stat; rm"])
def test_other_ways_to_name_one_are_refused(which: int | str) -> None:
    """The message says what may be written."""
    with pytest.raises(ValueError, match="must be 'all', a number below kdamonds/"):
        KdamondOptions(which)


def test_one_that_has_ended_is_not_taken_for_another(files: KernelFiles) -> None:
    """A thread with the same pid that was started later."""
    stat(files, 81)
    (found,) = kernel(files).running()
    assert kernel(files).is_running(found)
    files.process(81, "kdamond.0", of_kernel=True, start_ticks=9000)
    assert not kernel(files).is_running(found)


def test_a_kdamond_that_does_not_run_is_an_error_that_says_what_does(files: KernelFiles) -> None:
    """Before anything is monitored."""
    controlled(files, 77)
    with pytest.raises(TargetError, match=r"'damon_stat': it is not running; what runs: '0' is kd"):
        RunningKdamonds("damon_stat", kernel=kernel(files))


def test_its_intervals_are_those_of_the_context(files: KernelFiles) -> None:
    """Updates of this program are others: it looks for changes more often."""
    controlled(files, 77)
    followed = RunningKdamonds(kernel=kernel(files))
    assert followed.given_intervals == Intervals(20_000, 400_000, 1_000_000)


def test_nothing_is_written(files: KernelFiles) -> None:
    """Neither to look for kdamonds nor to report them."""
    controlled(files, 77)
    stat(files, 81, kdamond_pid="81")
    before = {path: path.stat().st_mtime_ns for path in files.root.rglob("*")}
    RunningKdamonds(kernel=kernel(files))
    probe_running(kernel=kernel(files), tracing=(files.root / "tracing",))
    assert {path: path.stat().st_mtime_ns for path in files.root.rglob("*")} == before


def test_doctor_names_what_runs_and_how_to_record_it(files: KernelFiles) -> None:
    """Tracing, which it needs, is a finding of its own."""
    stat(files, 81, kdamond_pid="81", aggr_interval_us="2000000")
    one, traced, numbers = probe_running(kernel=kernel(files), tracing=(files.root,))
    assert one.works
    assert one.detail.endswith("every 2s: damon record --kdamond damon_stat")
    assert not traced.works
    assert "mount -t tracefs" in traced.detail
    assert (numbers.works, numbers.required) == (False, False)


def test_doctor_says_what_damon_stat_has_found(files: KernelFiles) -> None:
    """How long quarters of the memory have been idle, and the bandwidth."""
    idle = ",".join(str(-200 if percent < 30 else 1_000 * percent) for percent in range(101))
    stat(files, 81, estimated_memory_bandwidth="17592186", memory_idle_ms_percentiles=idle)
    *_, numbers = probe_running(kernel=kernel(files), tracing=())
    assert numbers.detail == (
        "idle: 50 % of memory for 50s or longer, 25 % of memory for 1m15s or longer; "
        "16.8 MiB accessed a second"
    )


def test_numbers_of_damon_stat_are_metrics() -> None:
    """Some percentiles, of which negative ones are memory in use."""
    numbers = StatNumbers((-200, *range(1_000, 101_000, 1_000)), 1 << 20, 2_000_000)
    found = {
        (f"damon_{each.name}", each.labels.get("percentile", "")): each.value
        for each in stat_measures(numbers)
    }
    assert found["damon_stat_memory_idle_seconds", "0"] == -0.2
    assert found["damon_stat_memory_idle_seconds", "50"] == 50
    assert found["damon_stat_memory_bandwidth_bytes", ""] == 1 << 20
    assert found["damon_stat_aggregation_interval_seconds", ""] == 2


def test_what_is_lost_is_a_metric(files: KernelFiles) -> None:
    """And nothing of DAMON_STAT, where that isn't followed."""
    controlled(files, 77)
    one = RunningKdamonds(kernel=kernel(files))
    names = {f"damon_{each.name}_total": each.value for each in one.measures(Context(one))}
    assert names == {
        "damon_kdamond_lost_regions_total": 0,
        "damon_kdamond_missed_aggregations_total": 0,
    }


def events(regions: list[tuple[int, int, int]]) -> Events:
    """Return events of an aggregation of regions, each given as target, start and nr_accesses."""
    form = EventFormat.parse(Path(__file__).with_name("data").joinpath("format").read_text())
    table = np.zeros(len(regions), dtype=form.row)
    target, start, nr_accesses = np.array(regions).T
    table["target_id"], table["start"], table["end"] = target, start, start + 1
    table["nr_accesses"], table["nr_regions"] = nr_accesses, np.bincount(target)[target]
    return Events(np.arange(len(regions)), table)


def followed(**known: object) -> Followed:
    """Return a kdamond that is followed, with what is known of it."""
    intervals = Intervals(20_000, 400_000, 60_000_000)
    given = {"intervals": intervals, "is_exact": True, "targets": (None,), **known}
    kdamond = RunningKdamond(77, "kdamond.0", 7200, number=0, **given)  # type: ignore[arg-type]
    return Followed(kdamond, Identities())


def at(found: Events, time_s: float) -> Events:
    """Return events at a time."""
    return Events(np.full(len(found), int(time_s * 1e9)), found.rows)


def test_results_are_those_of_the_kernel() -> None:
    """As they come, in the intervals of the kdamond; addresses in bytes."""
    one = followed(unit_bytes=4096)
    assert not one.fresh
    one.take(at(events([(0, 1, 4), (0, 2, 0)]), 1))
    assert one.fresh
    one.fill(one.intervals)
    regions = one.targets[0].regions
    assert regions.start.tolist() == [4096, 8192]
    assert regions.nr_accesses.tolist() == [4, 0]
    assert regions.idle_us.tolist() == [0, 400_000]
    assert not one.fresh


def test_memory_has_been_idle_for_its_age_when_it_is_first_seen() -> None:
    """The kdamond may have run for days."""
    one = followed()
    found = events([(0, 1, 0), (0, 2, 3)])
    found.rows["age"] = 9
    one.take(at(found, 1))
    one.fill(one.intervals)
    assert one.targets[0].regions.idle_us.tolist() == [10 * 400_000, 0]


def test_counts_are_brought_to_the_checks_of_longer_intervals() -> None:
    """And ages to their aggregations, where the budget has lengthened them."""
    one = followed()
    found = events([(0, 1, 20)])
    found.rows["age"] = 10
    one.take(at(found, 1))
    one.fill(Intervals(100_000, 1_000_000))
    regions = one.targets[0].regions
    assert regions.nr_accesses.tolist() == [10]
    assert regions.age.tolist() == [4]


def test_what_aggregations_take_is_believed_where_nobody_says_it() -> None:
    """If it differs much, and stays so: DAMON_STAT of Linux 6.17 tunes itself in silence."""
    one = followed(is_exact=False)
    for time_s in (1, 3, 5):
        one.take(at(events([(0, 1, 1)]), time_s))
    assert one.intervals == Intervals(100_000, 2_000_000, 2_000_000)


def test_settings_are_believed_where_the_kernel_tunes_nothing() -> None:
    """A busy machine takes longer, but checks no less often in relation to that."""
    one = followed()
    for time_s in (1, 3, 5):
        one.take(at(events([(0, 1, 1)]), time_s))
    assert one.intervals.aggregation_us == 400_000


def test_aggregations_that_are_left_out_are_no_long_ones() -> None:
    """While the budget has lengthened intervals, only some are taken."""
    one = followed(is_exact=False)
    for time_s in (1, 3, 5):
        one.take(at(events([(0, 1, 1)]), time_s))
        one.skip()
    assert one.intervals.aggregation_us == 400_000


def test_memory_has_been_idle_for_its_age_after_a_gap() -> None:
    """What was accessed in between is known by that alone."""
    one = followed()
    found = events([(0, 1, 0)])
    one.take(at(found, 1))
    one.skip()
    found.rows["age"] = 9
    one.take(at(found, 5))
    one.fill(one.intervals)
    assert one.targets[0].regions.idle_us.tolist() == [10 * 400_000]


def test_intervals_follow_the_event_of_their_tuning() -> None:
    """The number of checks stays."""
    one = followed(is_exact=False)
    one.tuned(50_000)
    assert one.intervals == Intervals(50_000, 1_000_000, 1_000_000)


def test_of_several_the_longest_intervals_count() -> None:
    """All of them have results in each such aggregation."""
    slow = followed(intervals=Intervals(500_000, 5_000_000, 60_000_000))
    common = common_intervals([followed(), slow])
    assert common is not None
    assert common.aggregation_us == 5_000_000
    assert common_intervals([]) is None


def test_a_process_is_named_if_it_is_the_one_that_is_monitored() -> None:
    """It was there before the kdamond: here this one, which began after that, isn't known."""
    one = followed(operations="vaddr", targets=(os.getpid(),))
    assert one.targets[0].name == f"pid {os.getpid()}"
    kdamond = RunningKdamond(77, "kdamond.0", 1 << 60, operations="vaddr", targets=(os.getpid(),))
    target = Followed(kdamond, Identities()).targets[0]
    assert target.name.endswith(f"[{os.getpid()}]")
    assert target.labels["comm"] in target.name


def test_targets_of_other_memory_have_the_name_of_their_kdamond() -> None:
    """With their number where there are several."""
    assert [each.name for each in followed().targets.values()] == ["kdamond.0[77]"]
    assert [each.name for each in followed(targets=(None, None)).targets.values()] == [
        "kdamond.0[77] target 0",
        "kdamond.0[77] target 1",
    ]


def test_other_targets_keep_what_is_known_when_settings_change() -> None:
    """New targets are new; the same ones with other intervals go on."""
    one = followed()
    target = one.targets[0]
    one.refresh(RunningKdamond(77, "kdamond.0", 7200, number=0, targets=(None,)))
    assert one.targets[0] is target
    one.refresh(RunningKdamond(77, "kdamond.0", 7200, number=0, targets=(None, None)))
    assert len(one.targets) == 2
