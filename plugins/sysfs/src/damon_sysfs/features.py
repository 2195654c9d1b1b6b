"""The probe: the features of this machine's kernel DAMON, found without writing anything."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from damon_core import Finding, format_duration, format_size
from damon_sysfs.ownership import TRACING, Registry, find_rivals
from damon_sysfs.running import Kernel
from damon_sysfs.trace import find_tracing
from damon_sysfs.tree import NUMBER

_NEEDS = "the kernel needs CONFIG_DAMON_SYSFS, Linux 5.18 or later"
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

    Features that can't be found without making directories are derived from the kernel's version.
    The code that uses a feature looks for the feature itself.
    """
    registry = registry or Registry()
    tree = registry.tree
    name = f"{tree.root} (Linux 5.18)"
    if not tree.root.is_dir():
        return (Finding(name, False, f"it doesn't exist: {_NEEDS}"),)
    if not os.access(tree.root / "kdamonds/nr_kdamonds", os.R_OK | os.W_OK):
        return (Finding(name, False, "this user may not write to it: run as root"),)
    version = _version(proc)
    return (
        Finding(name, True),
        _free(registry, proc),
        *_operations(registry, proc, primitive),
        *_results(version, tracing),
        Finding(
            "changes while it runs (Linux 5.19)",
            version >= (5, 19),
            "" if version >= (5, 19) else "a change restarts the kdamond, which resets ages",
            required=False,
        ),
        *_filter(version, primitive),
    )


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
    if not any(each.module == "damon_stat" for each in kernel.running()):
        return ()
    name, numbers = "numbers of DAMON_STAT", kernel.stat_numbers()
    if numbers is None:
        detail = "they are for root only, and come some seconds after it was switched on"
        return (Finding(name, False, detail, required=False),)
    idle = ", ".join(
        f"{percent} % of memory {_idle(numbers.idle_ms[percent])}"
        for percent in (25, 50, 75)
        if percent < len(numbers.idle_ms)
    )
    bandwidth = f"{format_size(numbers.bandwidth_bytes_per_s)} accessed in a second"
    return (Finding(name, True, f"at most idle: {idle}; {bandwidth}"),)


def _idle(idle_ms: int) -> str:
    return "in use" if idle_ms < 0 else format_duration(idle_ms * 1_000, 2)


def _version(proc: Path) -> tuple[int, ...]:
    try:
        release = (proc / "sys/kernel/osrelease").read_text(encoding="ascii")
    except OSError:
        release = os.uname().release
    return tuple(map(int, re.findall(r"\d+", release)[:2]))


def _free(registry: Registry, proc: Path) -> Finding:
    record = registry.read()
    rivals = find_rivals(registry.tree, record, proc)
    if not rivals and record.before is None and (number := registry.tree.number()):
        # They are off, but their owner may be about to switch them on.
        path = registry.tree.root / NUMBER
        rivals = [f"another program has made {number} kdamonds, which are off: write 0 to {path}"]
    elif rivals:
        rivals.append("what they find: damon record --kdamond all")
    detail = "; ".join(rivals)
    if not rivals and record.claims:
        pids = sorted({claim.pid for claim in record.claims})
        detail = f"shared with {', '.join(f'pid {pid}' for pid in pids)}"
    return Finding("DAMON for this program", not rivals, detail)


def _operations(registry: Registry, proc: Path, primitive: str) -> Sequence[Finding]:
    """Report whether the operations exist: by a context's directory, or the kernel's symbols."""
    if primitive not in _OPERATIONS:
        return ()
    name, meaning = _OPERATIONS[primitive]
    for path in sorted(registry.tree.root.glob("kdamonds/*/contexts/0/avail_operations")):
        works = name in path.read_text(encoding="ascii").split()
        break
    else:
        try:
            symbols = (proc / "kallsyms").read_bytes()
        except OSError:
            return ()
        works = f" damon_{name[0]}a_".encode("ascii") in symbols
    detail = "" if works else f"the kernel needs CONFIG_DAMON_{name.upper()}"
    return (Finding(f"operations '{name}', for {meaning} (Linux 5.18)", works, detail),)


def _results(version: tuple[int, ...], tracing: tuple[Path, ...]) -> Sequence[Finding]:
    mount = find_tracing(tracing)
    tried = version >= (6, 2)
    traced = f"in {mount}"
    if mount is None:
        traced = "mount tracefs at /sys/kernel/tracing"
        if tried:
            traced = f"without it only one process, at a higher cost: {traced}"
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


def _filter(version: tuple[int, ...], primitive: str) -> Sequence[Finding]:
    if primitive != "paddr":
        return ()
    works = version >= (6, 14)
    detail = "" if works else "this kernel's filters don't report how much passes them"
    return (Finding("option cgroup: one cgroup's memory (Linux 6.14)", works, detail, False),)
