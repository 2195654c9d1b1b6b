"""What of the kernel's DAMON there is on this machine, found without writing anything."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from damon_core import Finding
from damon_sysfs.ownership import TRACING, Registry, find_rivals
from damon_sysfs.trace import find_tracing

_NEEDS = "the kernel needs CONFIG_DAMON_SYSFS, Linux 5.18 or later"
_OPERATIONS = {"vaddr": "processes", "paddr": "physical memory"}


def probe(
    registry: Registry | None = None,
    tracing: tuple[Path, ...] = TRACING,
    proc: Path = Path("/proc"),
) -> Sequence[Finding]:
    """Tell whether kernel DAMON is there, free, and what it can do."""
    registry = registry or Registry()
    tree = registry.tree
    name = str(tree.root)
    if not tree.root.is_dir():
        return (Finding(name, False, f"it isn't there: {_NEEDS}"),)
    if not os.access(tree.root / "kdamonds/nr_kdamonds", os.R_OK | os.W_OK):
        return (Finding(name, False, "it isn't for this user: run as root"),)
    return (
        Finding(name, True),
        _free(registry, proc),
        *_operations(registry, proc),
        _results(registry, tracing),
        _commit(proc),
    )


def _free(registry: Registry, proc: Path) -> Finding:
    record = registry.read()
    rivals = find_rivals(registry.tree, record, proc)
    detail = "; ".join(rivals)
    if not rivals and record.claims:
        pids = sorted({claim.pid for claim in record.claims})
        detail = f"shared with {', '.join(f'pid {pid}' for pid in pids)}"
    return Finding("DAMON for this program", not rivals, detail)


def _operations(registry: Registry, proc: Path) -> Sequence[Finding]:
    """Tell what can be monitored; directories of contexts say it, and else the kernel's symbols."""
    found: set[str] | None = None
    for path in sorted(registry.tree.root.glob("kdamonds/*/contexts/0/avail_operations")):
        found = set(path.read_text(encoding="ascii").split())
        break
    if found is None:
        try:
            symbols = (proc / "kallsyms").read_bytes()
        except OSError:
            return ()
        found = {name for name in _OPERATIONS if f" damon_{name[0]}a_".encode("ascii") in symbols}
    return [
        Finding(
            f"operations '{name}', for {meaning}",
            name in found,
            "" if name in found else f"the kernel needs CONFIG_DAMON_{name.upper()}",
            required=name == "vaddr",
        )
        for name, meaning in _OPERATIONS.items()
    ]


def _results(registry: Registry, tracing: tuple[Path, ...]) -> Finding:
    name = "results from the tracepoint damon_aggregated"
    place = find_tracing(tracing)
    if place is not None:
        return Finding(name, True, f"in {place}")
    detail = "one process at a time, and dearer, without: mount tracefs at /sys/kernel/tracing"
    return Finding(name, False, detail, required=False)


def _commit(proc: Path) -> Finding:
    """Tell whether a running kdamond takes changes; nothing but the version says so."""
    name = "changes while it runs"
    try:
        version = (proc / "sys/kernel/osrelease").read_text(encoding="ascii")
    except OSError:
        version = os.uname().release
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    works = numbers >= (5, 19)
    detail = "" if works else "Linux 5.18 is switched off and on for them: ages begin anew"
    return Finding(name, works, detail, required=False)
