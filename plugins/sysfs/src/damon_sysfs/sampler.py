"""A kdamond of this program: its settings and its results."""

import errno
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from attrs import define, evolve, field, frozen

from damon_core import Intervals, PluginError, Range, RegionLimits
from damon_sysfs.changes import OBSOLETE, places, region_files, target_files
from damon_sysfs.events import Aggregation
from damon_sysfs.goals import GOAL, NO_GOAL, KernelGoal, tuned_to
from damon_sysfs.ownership import TRACING, Claim, Registry, start_time
from damon_sysfs.replacing import IntColumn, PageFiles, page_ranges
from damon_sysfs.spending import Spending
from damon_sysfs.trace import Trace, find_tracing
from damon_sysfs.tried import STAT_SCHEME, TriedRegions, write_filter

logger = logging.getLogger(__name__)

#: The kernel refuses smaller limits.
MIN_REGIONS = 3
#: The kernel applies changes between two aggregations, newer ones between two checks. The writer
#: waits until then. If that takes longer than this, the kdamond is restarted: it couldn't be
#: stopped meanwhile.
_MAX_WAIT_US = 2_000_000
#: If results are later than this after two aggregation intervals, check whether the kdamond runs.
_LATE_SECONDS = 0.2


@frozen
class KernelTarget:
    """A target of the kernel's DAMON.

    Attributes:
        pid: The process; None for physical memory.
        ranges: The ranges to monitor; empty if the kernel finds them.
    """

    pid: int | None = None
    ranges: tuple[Range, ...] = ()


@frozen
class Cgroup:
    """A memory cgroup.

    Attributes:
        path: Its path in its hierarchy, with a leading slash.
        inode: The inode number of its directory: a new cgroup with the same path has another one.
    """

    path: str
    inode: int


@frozen
class Plan:
    """The settings of a kdamond.

    Attributes:
        operations: ``vaddr``, ``fvaddr`` for fixed ranges of processes, or ``paddr``.
        intervals: The intervals.
        limits: The region limits.
        targets: The targets.
        cgroup: With ``paddr``, the only memory cgroup whose pages are counted; None for all.
        goal: What the kernel is to tune the intervals to, if it can; None leaves them.
    """

    operations: str
    intervals: Intervals
    limits: RegionLimits
    targets: tuple[KernelTarget, ...]
    cgroup: "Cgroup | None" = None
    goal: KernelGoal | None = None

    def attributes(self) -> dict[str, str]:
        """Return the files of intervals and limits, and their values."""
        min_regions = max(MIN_REGIONS, self.limits.min_regions)
        values = {
            "intervals/sample_us": self.intervals.sampling_us,
            "intervals/aggr_us": self.intervals.aggregation_us,
            "intervals/update_us": self.intervals.update_us,
            "nr_regions/min": min_regions,
            "nr_regions/max": max(min_regions, self.limits.max_regions),
        }
        return {f"contexts/0/monitoring_attrs/{name}": str(values[name]) for name in values}

    def files(self) -> dict[str, str]:
        """Return all files except those of regions, in the order to write them."""
        files = {"contexts/nr_contexts": "1", "contexts/0/operations": self.operations}
        files |= self.attributes()
        files["contexts/0/targets/nr_targets"] = str(len(self.targets))
        for number, target in enumerate(self.targets):
            if target.pid is not None:
                files[f"contexts/0/targets/{number}/pid_target"] = str(target.pid)
        return files


@define(eq=False)
class Sampler:
    """Controls one kdamond, from the first targets to `close`.

    Args:
        registry: The kdamonds of all programs.
        tracing: The directories where tracefs may be mounted; without any, results are read from
            `tried_regions`.
    """

    registry: Registry = field(factory=Registry)
    tracing: tuple[Path, ...] = TRACING
    _plan: Plan | None = field(default=None, init=False)
    _claim: Claim | None = field(default=None, init=False)
    _results: Trace | TriedRegions | None = field(default=None, init=False)
    _spending: Spending = field(factory=Spending, init=False)
    _tunes: bool = field(default=False, init=False)
    _pages: PageFiles | None = field(default=None, init=False)

    def apply(
        self,
        plan: Plan,
        initial: Mapping[int, Sequence[Range]],
        added: Mapping[int, Sequence[Range]] = MappingProxyType({}),
    ) -> None:
        """Apply settings to the kdamond; without targets it is switched off.

        Args:
            plan: The settings.
            initial: Initial regions of targets after a restart, by the number of the target.
            added: Those of targets that are added while it runs.

        Raises:
            ProcessLookupError: The process of a target has ended.
            PluginError: DAMON isn't free, or this kernel lacks a feature.
        """
        if plan == self._plan:
            return
        before, self._plan = self._plan, None
        self._tunes = False
        self._close_pages()
        try:
            if not plan.targets:
                self._pause()
            elif not (before is not None and before.targets and self._commit(before, plan, added)):
                self._restart(plan, initial)
        except PermissionError as error:
            raise PluginError("kernel", f"{error.strerror}: run as root") from error
        except OSError as error:
            raise self._error_for(plan, error) from error
        self._plan = plan

    def claim(self) -> None:
        """Claim a kdamond for `check_pages`, ahead of the first targets.

        Raises:
            PluginError: DAMON isn't free, or tracing can't be used.
        """
        try:
            _, results = self._take(filtered=False)
        except PermissionError as error:
            raise PluginError("kernel", f"{error.strerror}: run as root") from error
        except OSError as error:
            raise PluginError("kernel", f"the kernel refuses: {error}") from error
        if not isinstance(results, Trace):
            reason = "checks of pages need tracing: mount tracefs at /sys/kernel/tracing"
            raise PluginError("kernel", reason)

    def check_pages(self, plan: Plan, pages: Sequence[IntColumn]) -> None:
        """Let the kdamond check single pages, others than before.

        As long as nothing else changes, only that is written and committed. The kernel takes it in
        at the end of an aggregation, whose counts are then gone: those of the next are right. If
        the kdamond has ended, `collect` says so.

        Args:
            plan: The settings, with operations ``fvaddr`` and targets without ranges.
            pages: The pages of each target, of which none is beside another.

        Raises:
            ProcessLookupError: The process of a target has ended.
            PluginError: DAMON isn't free, or this kernel lacks a feature.
        """
        try:
            self._check_pages(plan, pages)
        except PluginError:
            claim = self._claim
            if claim is None or claim.kdamond is None or self.registry.is_running(claim):
                raise

    def _check_pages(self, plan: Plan, pages: Sequence[IntColumn]) -> None:
        files, claim, before = self._pages, self._claim, self._plan
        if plan == before and claim is not None and files is not None and files.fits(pages):
            self._plan = None
            try:
                files.write(pages)
                files.commit()
            except OSError as error:
                raise self._error_for(plan, error) from error
            self._plan = plan
            return
        is_same = before is not None and before.targets == plan.targets
        if is_same and plan.targets and claim is not None and not self.registry.is_running(claim):
            self._plan = None  # as `collect` is to say
            return
        targets = tuple(
            evolve(target, ranges=page_ranges(column))
            for target, column in zip(plan.targets, pages, strict=True)
        )
        self.apply(evolve(plan, targets=targets), {})
        self._plan = None
        if self._claim is not None and targets:
            try:
                self._pages = PageFiles(self.registry.tree.root / self._claim.folder, pages)
            except OSError as error:
                raise self._error_for(plan, error) from error
        self._plan = plan

    def _close_pages(self) -> None:
        if self._pages is not None:
            self._pages.close()
        self._pages = None

    @property
    def tuned_intervals(self) -> Intervals | None:
        """The intervals that the kernel has chosen for the goal; None if it doesn't tune."""
        return self._plan.intervals if self._tunes and self._plan is not None else None

    def collect(self) -> list[Aggregation]:
        """Return the aggregations since the last call; wait if there is none yet.

        Returns:
            The aggregations; empty if the kdamond no longer runs.

        Raises:
            PluginError: The kdamond runs, but reports no results.
        """
        plan, results, claim = self._plan, self._results, self._claim
        if plan is None or not plan.targets or results is None or claim is None:
            return []
        interval = plan.intervals.aggregation_us / 1e6
        # The kernel sleeps longer than requested, by a greater factor the shorter the interval is.
        until = time.monotonic() + 20 * (interval + _LATE_SECONDS)
        while time.monotonic() < until:
            try:
                if found := results.take(2 * interval + _LATE_SECONDS):
                    if self._tunes and (sampling_us := results.tuned_us) is not None:
                        self._plan = evolve(plan, intervals=tuned_to(plan.intervals, sampling_us))
                    return found
                if not self.registry.is_running(claim):
                    return []
            except OSError:
                if not self.registry.is_running(claim):
                    return []
                raise
        raise PluginError("kernel", "the kdamond runs, but reports no results")

    @property
    def kdamond(self) -> int | None:
        """The thread id of the kdamond; None if it doesn't run."""
        return self._claim.kdamond if self._claim is not None else None

    @property
    def cpu_us(self) -> int:
        """CPU time of all kdamonds so far, in microseconds; nearly all of that of ended ones."""
        return self._spending.total_us(self.kdamond)

    @property
    def lost_events(self) -> int:
        """Number of regions lost because the trace buffer wasn't read in time."""
        return self._results.lost if self._results is not None else 0

    @property
    def missed_aggregations(self) -> int:
        """Number of aggregations left out because some of their regions were lost."""
        return self._results.missed if self._results is not None else 0

    def close(self) -> None:
        """Switch the kdamond off and release everything.

        Raises:
            OSError: The kernel refuses.
        """
        self._spending.close()
        self._close_pages()
        claim, self._claim, self._plan = self._claim, None, None
        results, self._results = self._results, None
        if results is not None and (results.lost or results.missed):
            logger.warning(
                "%d regions of the kernel's results were lost, %d aggregations were left out",
                results.lost,
                results.missed,
            )
        try:
            if claim is not None:
                self.registry.stop(claim)
        finally:
            if results is not None:
                results.close()
            if claim is not None:
                self.registry.release(claim)

    def _pause(self) -> None:
        if self._claim is not None:
            self.registry.stop(self._claim)

    def _take(self, *, filtered: bool) -> "tuple[Claim, Trace | TriedRegions]":
        """Return the claim and what reads its results, which are made at the first call."""
        if self._claim is None:
            self._claim = self.registry.take()
        if self._results is None:
            self._results = self._open(self._claim, filtered)
        return self._claim, self._results

    def _restart(self, plan: Plan, initial: Mapping[int, Sequence[Range]]) -> None:
        tree = self.registry.tree
        claim, results = self._take(filtered=plan.cgroup is not None)
        self.registry.clear(claim)
        files = plan.files()
        if isinstance(results, TriedRegions):
            if len(plan.targets) > 1:
                raise PluginError(
                    "kernel",
                    "without tracing only one process can be monitored:"
                    " mount tracefs at /sys/kernel/tracing",
                )
            files |= STAT_SCHEME
        tree.write_all(files, claim.folder)
        self._tune(claim, plan)
        if plan.cgroup is not None:
            write_filter(tree, claim.folder, plan.cgroup.path)
        for number, target in enumerate(plan.targets):
            ranges = target.ranges or initial.get(number, ())
            tree.write_all(region_files(number, ranges), claim.folder)
        self.registry.start(claim, files)
        assert claim.kdamond is not None
        results.follow(claim.kdamond, len(plan.targets), plan.limits.max_regions)
        for number, target in enumerate(plan.targets):
            if not target.ranges:
                # A commit would reset the regions to these files; without any it keeps them.
                tree.write_all(region_files(number, ()), claim.folder)

    def _tune(self, claim: Claim, plan: Plan) -> None:
        """Write the goal, if the kernel has it and says what it chooses."""
        tree, results = self.registry.tree, self._results
        can_tune = isinstance(results, Trace) and results.says_what_is_tuned
        if can_tune and tree.has(claim.folder + GOAL):
            self._tunes = plan.goal is not None
            sampling_us = plan.intervals.sampling_us
            files = NO_GOAL if plan.goal is None else plan.goal.files(sampling_us)
            tree.write_all(files, claim.folder)

    def _open(self, claim: Claim, filtered: bool) -> Trace | TriedRegions:
        tracing = find_tracing(self.tracing)
        # Only `tried_regions` reports how much passes a filter.
        if tracing is not None and not filtered:
            try:
                return Trace(tracing, claim.instance)
            except (OSError, ValueError) as error:
                logger.warning("tracing can't be used: %s", error)
        return TriedRegions(self.registry.tree, claim.folder, filtered)

    def _commit(self, before: Plan, plan: Plan, added: Mapping[int, Sequence[Range]]) -> bool:
        """Change the settings of the running kdamond; return whether that worked."""
        tree, claim, results = self.registry.tree, self._claim, self._results
        # Kernels that can mark targets apply changes between two checks.
        can_mark = claim is not None and tree.has(claim.folder + OBSOLETE)
        wait_us = before.intervals.sampling_us if can_mark else before.intervals.aggregation_us
        if claim is None or results is None or wait_us > _MAX_WAIT_US:
            return False
        pids = [target.pid for target in plan.targets]
        same = [target.pid for target in before.targets] == pids
        if same:
            files = {
                path: value
                for number, target in enumerate(plan.targets)
                if target != before.targets[number]
                for path, value in region_files(number, target.ranges).items()
            }
        elif plan.operations == "fvaddr":
            return False
        else:
            found = places(before.targets, plan.targets, can_mark=can_mark)
            if found is None or not isinstance(results, Trace):
                return False
            moved = {found.index(plan.targets[number]): each for number, each in added.items()}
            files = target_files([None if each is None else each.pid for each in found], moved)
        tree.write_all(plan.attributes(), claim.folder)
        self._tune(claim, plan)
        tree.write_all(files, claim.folder)
        try:
            tree.write(claim.folder + "state", "commit")
        except OSError as error:
            if error.errno != errno.EINVAL:  # Linux 5.18, or the kdamond has ended
                raise
            return False
        # An error during the commit ends the kdamond.
        if not self.registry.is_running(claim):
            return False
        assert claim.kdamond is not None
        if same:
            results.follow(claim.kdamond, len(plan.targets), plan.limits.max_regions)
        else:
            # Up to now results had other numbers of targets.
            results.follow(
                claim.kdamond,
                len(plan.targets),
                plan.limits.max_regions,
                since_ns=time.monotonic_ns(),
            )
            # Without regions, which the next commit would begin with, and what was marked.
            tree.write_all(target_files(pids, {}), claim.folder)
        return True

    def _error_for(self, plan: Plan, error: OSError) -> Exception:
        """Return the error to raise for one of the kernel."""
        for target in plan.targets:
            if target.pid is not None and start_time(target.pid) is None:
                return ProcessLookupError(target.pid)
        claim, tree = self._claim, self.registry.tree
        if claim is not None and error.errno == errno.EINVAL:
            path = claim.folder + "contexts/0/avail_operations"
            if tree.has(path) and plan.operations not in tree.read(path).split():
                return PluginError("kernel", f"this kernel's DAMON has no '{plan.operations}'")
        if plan.cgroup is not None and error.errno == errno.EINVAL:
            reason = f"the kernel doesn't find the memory cgroup '{plan.cgroup.path}'"
            return PluginError("kernel", reason)
        if error.errno == errno.EBUSY:
            return PluginError("kernel", "DAMON is in use by the kernel or another program")
        return PluginError("kernel", f"the kernel refuses: {error}")
