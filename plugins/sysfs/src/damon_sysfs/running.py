"""Which kdamonds run now, whoever started them, and what can be read of each without writing.

A kdamond of a program has a directory in the kernel's tree, where its settings stand as they were
written. One of a module of the kernel, such as DAMON_STAT, has no directory, but the module has
parameters; older ones don't say which thread is theirs.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen
from damon_vaddr import kernel_threads, read_stat

from damon_core import AttributeValueError, Intervals, Reported, format_duration
from damon_sysfs.tree import Tree

PROC = Path("/proc")
MODULES = Path("/sys/module")
THREADS = r"kdamond\.\d+"
#: The module that monitors the machine, and says what it finds.
STAT = "damon_stat"
#: What a kdamond does that nobody has told otherwise: DAMON_STAT begins with it, too.
_SAMPLING_US, _AGGREGATION_US, _UPDATE_US = 5_000, 100_000, 60_000_000
#: DAMON_STAT has this many checks in an aggregation, however its intervals are tuned.
STAT_CHECKS = _AGGREGATION_US // _SAMPLING_US
#: From the 0th to the 100th.
_PERCENTILES = 101
_CONTEXT = "contexts/0/"
_ATTRIBUTES = _CONTEXT + "monitoring_attrs/"


@frozen
class RunningKdamond:
    """A kdamond that runs, and what can be read of it.

    Attributes:
        pid: The id of its thread.
        thread: The name of its thread, such as ``kdamond.0``.
        started: When the thread was started, in clock ticks since boot; 0 if that isn't known.
        number: Which of the directories below ``kdamonds`` is its; None if it has none.
        module: The module of the kernel that has started it, such as ``damon_stat``; empty if it
            has a directory, or that isn't known.
        operations: What it monitors, such as ``vaddr``; empty if that isn't known.
        intervals: Its intervals, as they were last set; None if they aren't known.
        is_exact: Whether these are those in force: the kernel may tune them without saying so.
        targets: The process of each target, as its settings name it, or None for physical memory;
            empty if they aren't known.
        max_regions: The greatest number of its regions; None if that isn't known.
        unit_bytes: By what its addresses are to be multiplied.
    """

    pid: int
    thread: str
    started: int = 0
    number: int | None = None
    module: str = ""
    operations: str = ""
    intervals: Intervals | None = None
    is_exact: bool = False
    targets: tuple[int | None, ...] = ()
    max_regions: int | None = None
    unit_bytes: int = 1

    @property
    def name(self) -> str:
        """What users know it by: its module, or its thread."""
        return self.module or f"{self.thread}[{self.pid}]"

    @property
    def identity(self) -> tuple[int, int]:
        """What stays the same as long as it runs, and belongs to no other."""
        return self.pid, self.started

    @property
    def which(self) -> str:
        """What ``--kdamond`` calls it."""
        if self.module:
            return self.module
        return f"pid:{self.pid}" if self.number is None else str(self.number)

    def __str__(self) -> str:
        """Return what is known of it, in a few words."""
        by = self.module.upper() if self.module else "the kernel"
        if self.number is not None:
            by = f"kdamonds/{self.number}"
        known = f"{self.thread} (pid {self.pid}) of {by}"
        if self.operations:
            known += f", {self.operations}"
        if self.intervals is not None:
            known += f", an aggregation every {format_duration(self.intervals.aggregation_us, 3)}"
        return known


@frozen
class Kernel:
    """Where the kernel shows its DAMON.

    Attributes:
        tree: The directories of kdamonds.
        proc: The mount of procfs.
        modules: The directories of modules.
    """

    tree: Tree = field(factory=Tree)
    proc: Path = PROC
    modules: Path = MODULES

    def running(self) -> list[RunningKdamond]:
        """Return the kdamonds that run, those with a directory first."""
        threads = kernel_threads(THREADS, self.proc)
        found = []
        with contextlib.suppress(OSError):
            for number, pid in self.tree.running().items():
                # In a container threads of the kernel are hidden.
                thread = threads.pop(pid, f"kdamonds/{number}")
                with contextlib.suppress(OSError, ValueError):
                    found.append(self._with_directory(number, pid, thread))
        modules = self._active_modules()
        for pid, thread in sorted(threads.items()):
            module = _module_of(pid, modules, alone=not found and len(threads) == 1)
            found.append(self._of_kernel(pid, thread, module))
        return found

    def is_running(self, kdamond: RunningKdamond) -> bool:
        """Return whether this very kdamond still runs."""
        started = self._started(kdamond.pid)
        if kdamond.started:
            return started == kdamond.started
        # Its thread is hidden, as in a container.
        folder = f"kdamonds/{kdamond.number}/"
        try:
            is_on = self.tree.read(folder + "state") == "on"
            return is_on and int(self.tree.read(folder + "pid")) == kdamond.pid
        except (OSError, ValueError):
            return False

    def stat_numbers(self) -> "StatNumbers | None":
        """Return the numbers that DAMON_STAT has computed; None if it hasn't, or they are hidden.

        It does so every five seconds.
        """
        if self._text(STAT, "enabled") != "Y":
            return None
        bandwidth = self._number(STAT, "estimated_memory_bandwidth")
        try:
            text = self._text(STAT, "memory_idle_ms_percentiles")
            percentiles = tuple(map(int, text.split(",")))
        except ValueError:
            return None
        if bandwidth is None or len(percentiles) != _PERCENTILES:
            return None
        if not any((bandwidth, *percentiles)):
            return None
        aggregation_us = self._number(STAT, "aggr_interval_us")
        return StatNumbers(percentiles, bandwidth, aggregation_us)

    def _started(self, pid: int) -> int:
        try:
            return read_stat(pid, self.proc).started
        except OSError:
            return 0

    def _with_directory(self, number: int, pid: int, thread: str) -> RunningKdamond:
        """Return what stands in the directory of a kdamond.

        Raises:
            OSError: It is gone.
            ValueError: It isn't what a kernel writes.
        """
        read, folder = self.tree.read, f"kdamonds/{number}/"
        intervals = [
            int(read(f"{folder}{_ATTRIBUTES}intervals/{name}"))
            for name in ("sample_us", "aggr_us", "update_us")
        ]
        goal = f"{folder}{_ATTRIBUTES}intervals/intervals_goal/"
        operations = read(folder + _CONTEXT + "operations")
        targets = f"{folder}{_CONTEXT}targets/"
        pids = [
            int(read(f"{targets}{target}/pid_target"))
            for target in range(int(read(targets + "nr_targets")))
        ]
        unit = folder + _CONTEXT + "addr_unit"
        return RunningKdamond(
            pid,
            thread,
            self._started(pid),
            number=number,
            operations=operations,
            intervals=_intervals(*intervals),
            is_exact=not self.tree.has(goal + "aggrs")
            or not all(int(read(goal + name)) for name in ("aggrs", "access_bp")),
            targets=tuple(None if operations == "paddr" else each for each in pids),
            max_regions=int(read(f"{folder}{_ATTRIBUTES}nr_regions/max")),
            unit_bytes=int(read(unit)) if self.tree.has(unit) else 1,
        )

    def _active_modules(self) -> dict[str, int | None]:
        """Return the modules that have DAMON switched on, with the pid of their thread."""
        found = {}
        for path in sorted(self.modules.glob("damon_*/parameters/enabled")):
            module = path.parts[-3]
            if self._text(module, "enabled") == "Y":
                found[module] = self._number(module, "kdamond_pid")
        return found

    def _of_kernel(self, pid: int, thread: str, module: str) -> RunningKdamond:
        """Return what the parameters of a module say of its kdamond."""
        known = RunningKdamond(pid, thread, self._started(pid), module=module)
        if not module:
            return known
        sampling_us = self._number(module, "sample_interval")
        aggregation_us = self._number(module, "aggr_interval")
        is_exact = self._text(module, "autotune_monitoring_intervals") != "Y"
        if module == STAT:
            # Linux 6.18 and later say it, some seconds after it was switched on.
            aggregation_us = self._number(module, "aggr_interval_us")
            is_exact = bool(aggregation_us)
            aggregation_us = aggregation_us or _AGGREGATION_US
            sampling_us = aggregation_us // STAT_CHECKS
        return RunningKdamond(
            pid,
            thread,
            known.started,
            module=module,
            operations="paddr",
            intervals=_intervals(sampling_us or 0, aggregation_us or 0, _UPDATE_US),
            is_exact=is_exact,
            targets=(None,),
            max_regions=self._number(module, "max_nr_regions") or 1_000,
            unit_bytes=self._number(module, "addr_unit") or 1,
        )

    def _text(self, module: str, parameter: str) -> str:
        """Return a parameter of a module; empty if it doesn't exist, or may not be read."""
        with contextlib.suppress(OSError):
            path = self.modules / module / "parameters" / parameter
            return path.read_text(encoding="ascii").strip()
        return ""

    def _number(self, module: str, parameter: str) -> int | None:
        with contextlib.suppress(ValueError):
            return int(self._text(module, parameter))
        return None


@frozen
class StatNumbers:
    """What DAMON_STAT has computed of the memory of the machine.

    Attributes:
        idle_ms: How long memory has been idle, in milliseconds, from the 0th to the 100th
            percentile: 101 numbers. Linux 6.18 and later have negative ones: memory that is in use,
            for so long.
        bandwidth_bytes_per_s: Its estimate of how much memory is accessed in a second.
        aggregation_us: Its aggregation interval; None where it doesn't say.
    """

    idle_ms: tuple[int, ...]
    bandwidth_bytes_per_s: int
    aggregation_us: int | None = None

    def reported(self) -> Reported:
        """Return what records keep of them."""
        return Reported(tuple(each * 1_000 for each in self.idle_ms), self.bandwidth_bytes_per_s)


def _module_of(pid: int, modules: Mapping[str, int | None], *, alone: bool) -> str:
    """Return the module that has started a kdamond; empty if that isn't known.

    Args:
        pid: Its thread.
        modules: The modules that are on, with the pid of their thread, if they say it.
        alone: Whether it is the only kdamond: modules use DAMON exclusively.
    """
    for module, known in modules.items():
        if known == pid:
            return module
    silent = [module for module, known in modules.items() if known is None]
    return silent[0] if alone and len(silent) == 1 else ""


def _intervals(sampling_us: int, aggregation_us: int, update_us: int) -> Intervals | None:
    """Return intervals; None if they can't be those of a kdamond."""
    try:
        return Intervals(sampling_us, aggregation_us, max(update_us, sampling_us))
    except AttributeValueError:
        return None


def is_meant(kdamond: RunningKdamond, which: int | str) -> bool:
    """Return whether a kdamond is meant by ``all``, its number, ``pid:PID`` or its module."""
    known = ("all", str(kdamond.number), f"pid:{kdamond.pid}", kdamond.module)
    return str(which) in known
