"""One kdamond of ours: told what to do, and asked for what it found."""

import errno
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field, frozen

from damon_core import Intervals, PluginError, Range, RegionLimits
from damon_sysfs.events import Aggregation
from damon_sysfs.ownership import TRACING, Claim, Registry, start_time
from damon_sysfs.spending import Spending
from damon_sysfs.trace import Trace, find_tracing
from damon_sysfs.tried import STAT_SCHEME, TriedRegions, write_filter

logger = logging.getLogger(__name__)

#: The kernel refuses less.
LEAST_REGIONS = 3
#: The kernel takes changes in between two aggregations, and lets the writer wait for that. With
#: longer intervals than this a kdamond is switched off and on instead, or it couldn't be stopped.
_LONGEST_WAIT_US = 2_000_000
#: How late results may be, beside two aggregation intervals, before the kdamond is looked for.
_LATE_SECONDS = 0.2


@frozen
class KernelTarget:
    """A target as the kernel takes it.

    Attributes:
        pid: The process; None for physical memory.
        ranges: What is monitored, where the kernel doesn't find that out itself.
    """

    pid: int | None = None
    ranges: tuple[Range, ...] = ()


@frozen
class Cgroup:
    """A memory cgroup.

    Attributes:
        path: Below the root of its hierarchy.
        inode: Of its directory: another one by the same name is another cgroup.
    """

    path: str
    inode: int


@frozen
class Plan:
    """What a kdamond is to do.

    Attributes:
        operations: ``vaddr`` or ``paddr``.
        intervals: The intervals.
        limits: The region limits.
        targets: The targets.
        cgroup: Of physical memory, count what this memory cgroup has alone.
    """

    operations: str
    intervals: Intervals
    limits: RegionLimits
    targets: tuple[KernelTarget, ...]
    cgroup: "Cgroup | None" = None

    def attributes(self) -> dict[str, str]:
        """Return the files of intervals and limits, and their values."""
        least = max(LEAST_REGIONS, self.limits.min_regions)
        values = {
            "intervals/sample_us": self.intervals.sampling_us,
            "intervals/aggr_us": self.intervals.aggregation_us,
            "intervals/update_us": self.intervals.update_us,
            "nr_regions/min": least,
            "nr_regions/max": max(least, self.limits.max_regions),
        }
        return {f"contexts/0/monitoring_attrs/{name}": str(values[name]) for name in values}

    def files(self) -> dict[str, str]:
        """Return all files but those of regions, in the order to write them."""
        files = {"contexts/nr_contexts": "1", "contexts/0/operations": self.operations}
        files |= self.attributes()
        files["contexts/0/targets/nr_targets"] = str(len(self.targets))
        for number, target in enumerate(self.targets):
            if target.pid is not None:
                files[f"contexts/0/targets/{number}/pid_target"] = str(target.pid)
        return files


def region_files(number: int, ranges: Sequence[Range]) -> dict[str, str]:
    """Return the files of the initial regions of a target, in the order to write them."""
    folder = f"contexts/0/targets/{number}/regions/"
    files = {folder + "nr_regions": str(len(ranges))}
    for region, (start, end) in enumerate(ranges):
        files[f"{folder}{region}/start"] = str(start)
        files[f"{folder}{region}/end"] = str(end)
    return files


@define(eq=False)
class Sampler:
    """One kdamond, from the first targets to `close`.

    Args:
        registry: Who else has kdamonds.
        tracing: Where tracefs may be mounted; nowhere takes results from tried regions.
    """

    registry: Registry = field(factory=Registry)
    tracing: tuple[Path, ...] = TRACING
    _plan: Plan | None = field(default=None, init=False)
    _claim: Claim | None = field(default=None, init=False)
    _results: Trace | TriedRegions | None = field(default=None, init=False)
    _spending: Spending = field(factory=Spending, init=False)

    def steer(self, plan: Plan, known: Mapping[int, Sequence[Range]]) -> None:
        """Have the kdamond do this from now on; without targets it is switched off.

        Args:
            plan: What to do.
            known: By the number of the target, regions to begin with.

        Raises:
            ProcessLookupError: The process of a target has ended.
            PluginError: DAMON isn't free, or this kernel can't do it.
        """
        if plan == self._plan:
            return
        before, self._plan = self._plan, None
        try:
            if not plan.targets:
                self._pause()
            elif not (before is not None and before.targets and self._commit(before, plan)):
                self._restart(plan, known)
        except PermissionError as error:
            raise PluginError("kernel", f"{error.strerror}: run as root") from error
        except OSError as error:
            raise self._refused(plan, error) from error
        self._plan = plan

    def collect(self) -> list[Aggregation]:
        """Return the aggregations since the last call, waiting for one if need be.

        Returns:
            None of them if the kdamond doesn't run any more.

        Raises:
            PluginError: It runs, but nothing comes.
        """
        plan, results, claim = self._plan, self._results, self._claim
        if plan is None or not plan.targets or results is None or claim is None:
            return []
        interval = plan.intervals.aggregation_us / 1e6
        # The kernel's sleeps are longer than it was asked for, the more so the shorter they are.
        until = time.monotonic() + 20 * (interval + _LATE_SECONDS)
        while time.monotonic() < until:
            try:
                if found := results.take(2 * interval + _LATE_SECONDS):
                    return found
                if not self.registry.is_running(claim):
                    return []
            except OSError:
                if not self.registry.is_running(claim):
                    return []
                raise
        raise PluginError("kernel", "kdamond runs, but doesn't tell any results")

    @property
    def kdamond(self) -> int | None:
        """The thread id of the kdamond; None while there is none."""
        return self._claim.kdamond if self._claim is not None else None

    @property
    def cpu_us(self) -> int:
        """The processor time of the kdamonds so far, in microseconds; of ended ones nearly all."""
        return self._spending.up_to_now_us(self.kdamond)

    @property
    def lost_events(self) -> int:
        """How many regions were lost on their way, because nobody read them in time."""
        return self._results.lost if self._results is not None else 0

    @property
    def missed_aggregations(self) -> int:
        """How many aggregations were left out, as regions of them were lost."""
        return self._results.missed if self._results is not None else 0

    def close(self) -> None:
        """Switch the kdamond off and give everything back.

        Raises:
            OSError: The kernel doesn't let us.
        """
        self._spending.close()
        claim, self._claim, self._plan = self._claim, None, None
        results, self._results = self._results, None
        if results is not None and (results.lost or results.missed):
            logger.warning(
                "%d regions of the kernel's results were lost, and %d aggregations left out",
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

    def _restart(self, plan: Plan, known: Mapping[int, Sequence[Range]]) -> None:
        tree = self.registry.tree
        if self._claim is None:
            self._claim = self.registry.take()
        claim = self._claim
        self.registry.clear(claim)
        files = plan.files()
        results = self._results = self._results or self._open(claim, plan.cgroup is not None)
        if isinstance(results, TriedRegions):
            if len(plan.targets) > 1:
                raise PluginError(
                    "kernel",
                    "without tracing only one process at a time can be told from others:"
                    " mount tracefs at /sys/kernel/tracing",
                )
            files |= STAT_SCHEME
        tree.write_all(files, claim.folder)
        if plan.cgroup is not None:
            write_filter(tree, claim.folder, plan.cgroup.path)
        for number, target in enumerate(plan.targets):
            ranges = target.ranges or known.get(number, ())
            tree.write_all(region_files(number, ranges), claim.folder)
        self.registry.start(claim, files)
        assert claim.kdamond is not None
        results.follow(claim.kdamond, len(plan.targets), plan.limits.max_regions)
        for number, target in enumerate(plan.targets):
            if not target.ranges:
                # A commit would set them again; without any it leaves what has become of them.
                tree.write_all(region_files(number, ()), claim.folder)

    def _open(self, claim: Claim, filtered: bool) -> Trace | TriedRegions:
        tracing = find_tracing(self.tracing)
        # What passes a filter is told by tried regions alone.
        if tracing is not None and not filtered:
            try:
                return Trace(tracing, claim.instance)
            except (OSError, ValueError) as error:
                logger.warning("the kernel's tracing can't be used: %s", error)
        return TriedRegions(self.registry.tree, claim.folder, filtered)

    def _commit(self, before: Plan, plan: Plan) -> bool:
        """Change a running kdamond; return whether that worked."""
        tree, claim, results = self.registry.tree, self._claim, self._results
        same = [target.pid for target in before.targets] == [t.pid for t in plan.targets]
        waiting = before.intervals.aggregation_us <= _LONGEST_WAIT_US
        if not (same and waiting and claim is not None and results is not None):
            return False
        tree.write_all(plan.attributes(), claim.folder)
        for number, target in enumerate(plan.targets):
            if target != before.targets[number]:
                tree.write_all(region_files(number, target.ranges), claim.folder)
        try:
            tree.write(claim.folder + "state", "commit")
        except OSError as error:
            if error.errno != errno.EINVAL:  # Linux 5.18, or the kdamond has ended
                raise
            return False
        # An error that is found while committing ends the kdamond.
        if not self.registry.is_running(claim):
            return False
        assert claim.kdamond is not None
        results.follow(claim.kdamond, len(plan.targets), plan.limits.max_regions)
        return True

    def _refused(self, plan: Plan, error: OSError) -> Exception:
        """Return what to tell of an error of the kernel."""
        for target in plan.targets:
            if target.pid is not None and start_time(target.pid) is None:
                return ProcessLookupError(target.pid)
        claim, tree = self._claim, self.registry.tree
        if claim is not None and error.errno == errno.EINVAL:
            path = claim.folder + "contexts/0/avail_operations"
            if tree.has(path) and plan.operations not in tree.read(path).split():
                return PluginError("kernel", f"this kernel's DAMON has no '{plan.operations}'")
        if plan.cgroup is not None and error.errno == errno.EINVAL:
            reason = f"the kernel finds no memory cgroup '{plan.cgroup.path}'"
            return PluginError("kernel", reason)
        if error.errno == errno.EBUSY:
            return PluginError("kernel", "DAMON is in use by the kernel or another program")
        return PluginError("kernel", f"the kernel refuses: {error}")
