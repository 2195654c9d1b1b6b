"""The probe: the features of this machine's kernel DAMON, found without writing anything."""

import contextlib
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from damon_core import Finding, format_duration, format_size
from damon_sysfs.ownership import TRACING, Registry, find_rivals
from damon_sysfs.running import PROC, STAT, Kernel
from damon_sysfs.trace import find_tracing, says_what_is_tuned
from damon_sysfs.tree import NUMBER, Tree

#: Kernels that have this function take a commit in between two checks, not at the end of an
#: aggregation, and the writer doesn't wait for longer.
_BETWEEN_CHECKS = "obsolete_target_store", (6, 19)
_TRIED_REGIONS = "damon_sysfs_scheme_regions_release", (6, 2)
_PASSED = "sz_ops_filter_passed_show", (6, 14)
_PAGES_NEED_TRACING = "pages need tracing: mount tracefs at /sys/kernel/tracing"
#: The version since which there are operations ``fvaddr``: no function of the kernel shows it.
_FIXED_RANGES = (5, 19)
_NEEDS = "the kernel needs CONFIG_DAMON_SYSFS, Linux 5.18 or later"
#: How functions of the interface, and those of operations, begin.
_SYSFS = "damon_sysfs_"
_BEGIN = {"vaddr": "damon_va_", "paddr": "damon_pa_"}
#: Functions, and beginnings of functions, that say what a kernel has.
_FUNCTIONS = (_SYSFS, *_BEGIN.values(), _BETWEEN_CHECKS[0], _TRIED_REGIONS[0], _PASSED[0])
#: The operations that each primitive needs, and their targets.
_OPERATIONS = {
    "vaddr": ("vaddr", "processes"),
    "cgroup": ("vaddr", "processes"),
    "paddr": ("paddr", "physical memory"),
}


def probe(
    primitive: str = "vaddr",
    *,
    registry: Registry | None = None,
    tracing: tuple[Path, ...] = TRACING,
    proc: Path = Path("/proc"),
) -> Sequence[Finding]:
    """Report whether the kernel's DAMON exists and is free, and its features for a primitive.

    Directories aren't made for that: where none are there, the names of the kernel's functions show
    which files it would have, or its version if those are hidden. The code that uses a feature
    looks for the feature itself.
    """
    registry = registry or Registry()
    tree = registry.tree
    name = f"{tree.root} (Linux 5.18)"
    if not tree.root.is_dir():
        return (Finding(name, False, f"it doesn't exist: {_NEEDS}"),)
    if not os.access(tree.root / "kdamonds/nr_kdamonds", os.R_OK | os.W_OK):
        return (Finding(name, False, "this user may not write to it: run as root"),)
    kernel = _Features.read(proc)
    return (
        Finding(name, True),
        _free(registry, tracing, proc),
        *_operations(registry, kernel, primitive),
        *_results(kernel, tracing, primitive),
        *_changes(kernel, primitive),
        *_filter(kernel, primitive),
        *_pages(kernel, tracing, primitive),
        _tuning(tracing),
    )


@frozen
class _Features:
    """What a kernel has, without any directory of a kdamond.

    Attributes:
        functions: Which of `_FUNCTIONS` it has; None if it hides its functions.
        version: Its version.
    """

    functions: frozenset[str] | None
    version: tuple[int, ...]

    @classmethod
    def read(cls, proc: Path) -> "_Features":
        """Read them."""
        return cls(_functions(proc), _version(proc))

    def has(self, function: str, since: tuple[int, int]) -> bool:
        """Return whether the kernel has a function, which came with a version."""
        if self.functions is None or _SYSFS not in self.functions:
            return self.version >= since
        return function in self.functions


@functools.cache
def _functions(proc: Path) -> frozenset[str] | None:
    """Return which of `_FUNCTIONS` the kernel has; None if it hides them.

    They stay as long as it runs, as DAMON can't be a module; and it takes some 40 ms to list all of
    its functions.
    """
    try:
        symbols = (proc / "kallsyms").read_bytes()
    except OSError:
        return None
    return frozenset(name for name in _FUNCTIONS if f" {name}".encode("ascii") in symbols)


def _changes(kernel: _Features, primitive: str) -> Sequence[Finding]:
    """Report what can change without a restart of the kdamond."""
    resets = "restarts the kdamond, which resets ages"
    works = kernel.version >= (5, 19)
    found = [
        Finding(
            "changes while it runs (Linux 5.19)",
            works,
            "" if works else f"a change {resets}",
            required=False,
        )
    ]
    if primitive != "paddr":
        works = kernel.has(*_BETWEEN_CHECKS)
        detail = "" if works else f"one that ends {resets}, unless it was the last to come"
        name = "processes that end while it runs (Linux 6.19)"
        found.append(Finding(name, works, detail, required=False))
    return found


def probe_running(
    *, kernel: Kernel | None = None, tracing: tuple[Path, ...] = TRACING
) -> Sequence[Finding]:
    """Report which kdamonds run, and whether what they find can be read."""
    kernel = kernel or Kernel()
    running = kernel.running()
    found = [
        Finding(f"kdamond {each.which}", True, f"{each}: damon record --kdamond {each.which}")
        for each in running
    ]
    if not running:
        found.append(Finding("a kdamond that runs", False, "the kernel's DAMON is not in use"))
    mount = find_tracing(tracing)
    detail = f"in {mount}"
    if mount is None:
        detail = "as root, mount -t tracefs nodev /sys/kernel/tracing"
    found.append(Finding("tracepoint damon_aggregated (Linux 5.17)", mount is not None, detail))
    return (*found, *_stat_finding(kernel))


def _stat_finding(kernel: Kernel) -> Sequence[Finding]:
    """Report what DAMON_STAT says, if it runs."""
    if not any(each.module == STAT for each in kernel.running()):
        return ()
    name, numbers = "numbers of DAMON_STAT", kernel.stat_numbers()
    if numbers is None:
        detail = "they are for root only, and come some seconds after it was switched on"
        return (Finding(name, False, detail, required=False),)
    longest = [(percent, numbers.idle_ms[100 - percent]) for percent in (75, 50, 25)]
    idle = ", ".join(
        f"{percent} % of memory for {format_duration(idle_ms * 1_000, 2)} or longer"
        for percent, idle_ms in longest
        if idle_ms > 0
    )
    bandwidth = f"{format_size(numbers.bandwidth_bytes_per_s)} accessed a second"
    return (Finding(name, True, f"idle: {idle or 'less than 25 % of memory'}; {bandwidth}"),)


def _version(proc: Path) -> tuple[int, ...]:
    try:
        release = (proc / "sys/kernel/osrelease").read_text(encoding="ascii")
    except OSError:
        release = os.uname().release
    return tuple(map(int, re.findall(r"\d+", release)[:2]))


def _free(registry: Registry, tracing: tuple[Path, ...], proc: Path) -> Finding:
    record = registry.read()
    rivals = find_rivals(registry.tree, record, proc)
    if not rivals and record.before is None and (number := registry.tree.number()):
        # They are off, but their owner may be about to switch them on.
        path = registry.tree.root / NUMBER
        rivals = [f"another program has made {number} kdamonds, which are off: write 0 to {path}"]
    elif rivals and find_tracing(tracing) is not None:
        rivals.append("to watch what it finds: damon record --kdamond all")
    detail = "; ".join(rivals)
    if not rivals and record.claims:
        pids = sorted({claim.pid for claim in record.claims})
        detail = f"shared with {', '.join(f'pid {pid}' for pid in pids)}"
    return Finding("DAMON for this program", not rivals, detail)


def _operations(registry: Registry, kernel: _Features, primitive: str) -> Sequence[Finding]:
    """Report whether the operations exist: by a context's directory, or the kernel's symbols."""
    if primitive not in _OPERATIONS:
        return ()
    name, meaning = _OPERATIONS[primitive]
    for path in sorted(registry.tree.root.glob("kdamonds/*/contexts/0/avail_operations")):
        works = name in path.read_text(encoding="ascii").split()
        break
    else:
        if kernel.functions is None:
            return ()
        works = _BEGIN[name] in kernel.functions
    detail = "" if works else f"the kernel needs CONFIG_DAMON_{name.upper()}"
    return (Finding(f"operations '{name}', for {meaning} (Linux 5.18)", works, detail),)


def _results(kernel: _Features, tracing: tuple[Path, ...], primitive: str) -> Sequence[Finding]:
    mount = find_tracing(tracing)
    tried = kernel.has(*_TRIED_REGIONS)
    traced = f"in {mount}"
    if mount is None:
        traced = "mount tracefs at /sys/kernel/tracing"
        if tried:
            less = "" if primitive == "paddr" else "only one process, "
            traced = f"without it {less}at a higher cost: {traced}"
    return (
        Finding(
            "results from the tracepoint damon_aggregated (Linux 5.17)",
            mount is not None,
            traced,
            required=not tried,
        ),
        Finding(
            "results from tried_regions (Linux 6.2)",
            tried,
            "" if tried else "without them tracing is required",
            required=False,
        ),
    )


def lacks_for_pages(tree: Tree, tracing: tuple[Path, ...], proc: Path = PROC) -> str:
    """Return what this kernel lacks to check pages that are replaced; empty if nothing.

    Args:
        tree: The directories of kdamonds.
        tracing: The directories where tracefs may be mounted.
        proc: The mount of procfs.
    """
    if find_tracing(tracing) is None:
        return _PAGES_NEED_TRACING
    has_ranges = _version(proc) >= _FIXED_RANGES
    for path in tree.root.glob("kdamonds/*/contexts/0/avail_operations"):
        with contextlib.suppress(OSError):  # removed in the meantime
            has_ranges = "fvaddr" in path.read_text(encoding="ascii").split()
            break
    return "" if has_ranges else "this kernel has no operations 'fvaddr'"


def _pages(kernel: _Features, tracing: tuple[Path, ...], primitive: str) -> Sequence[Finding]:
    """Report whether the kernel can be given other pages as often as it checks them."""
    if primitive == "paddr":
        return ()
    name = "option checks: pages that the policy chooses (Linux 6.19)"
    if find_tracing(tracing) is None:
        return (Finding(name, False, _PAGES_NEED_TRACING, required=False),)
    works = kernel.has(*_BETWEEN_CHECKS)
    detail = "chosen for one process, rare checks and a CPU budget that allows them"
    if not works:
        detail += "; each choice takes a tenth of a second"
    return (Finding(name, works, detail, required=False),)


def _tuning(tracing: tuple[Path, ...]) -> Finding:
    mount = find_tracing(tracing)
    works = mount is not None and says_what_is_tuned(mount)
    detail = "" if works else "the context tunes them to a goal"
    return Finding("the kernel's tuning of intervals (Linux 6.17)", works, detail, False)


def _filter(kernel: _Features, primitive: str) -> Sequence[Finding]:
    if primitive != "paddr":
        return ()
    works = kernel.has(*_PASSED)
    detail = "" if works else "this kernel's filters don't report how much passes them"
    return (Finding("option cgroup: one cgroup's memory (Linux 6.14)", works, detail, False),)
