"""The hook of damon-pagetable: it registers the backends `pagetable` and `written`."""

import logging
import os
from collections.abc import Callable, Sequence

from attrs import evolve
from damon_vaddr import ProcessForecast, reset_us, rivals_finding, walk_costs

from damon_core import (
    PAGE_SIZE_BYTES,
    Backend,
    Costs,
    Finding,
    SpacedSampling,
    Toll,
    hookimpl,
)
from damon_pagetable.backend import PageTable
from damon_pagetable.btf import VMLINUX
from damon_pagetable.errors import BpfError, ObstacleError, VerifierError
from damon_pagetable.machine import Machine
from damon_pagetable.options import PageTableOptions
from damon_pagetable.softdirty import fault_us, has_soft_dirty
from damon_pagetable.system import Map
from damon_pagetable.tables import PageTables
from damon_pagetable.walking import Offsets
from damon_pagetable.written import Written

logger = logging.getLogger(__name__)

#: What a look takes for a page, its tables and what is kept of it, in microseconds; and the end of
#: an aggregation.
_LOOK_PAGE_US = 0.004
_END_PAGE_US = 0.006

#: What an aggregation with a clearing takes for a process, however small: docs/benchmarks.md.
_TARGET_US = 5_000


def probe() -> Sequence[Finding]:
    """Report what is needed, step by step: after a step that fails the next ones aren't tried."""
    findings = [_clear_refs()]
    for name, check in (
        ("page tables of x86-64", _check_machine),
        (str(VMLINUX), _check_types),
        ("bpf(2)", _check_bpf),
        ("page tables through BPF", _check_tables),
    ):
        try:
            check()
        except ObstacleError as error:
            if isinstance(error, VerifierError):
                logger.info("the kernel's verifier: %s", error.log)
            findings.append(Finding(name, False, error.message))
            return findings
        findings.append(Finding(name, True))
    return [*findings, rivals_finding()]


def _clear_refs() -> Finding:
    name = "/proc/PID/clear_refs"
    try:
        os.close(os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return Finding(name, False, f"{error.strerror}: the kernel needs CONFIG_PROC_PAGE_MONITOR")
    return Finding(name, True)


def _check_machine() -> None:
    Machine.here()


def _check_types() -> None:
    Offsets.of_kernel()


def _check_bpf() -> None:
    try:
        Map(PAGE_SIZE_BYTES, "damon_probe", mapped=True).close()
    except OSError as error:
        raise BpfError(f"bpf(2): a map: {error.strerror}", error.errno or 0) from error


def _check_tables() -> None:
    # One table a run: to verify the steps of many takes most of the time, and shows nothing new.
    PageTables(most=1).close()


def forecast(targets: Sequence[ProcessForecast]) -> Costs:
    """Return what the backend would cost: the clearing most of all.

    All of a process is cleared, also if only ranges of it are looked at.
    """
    return _forecast(targets, sum(target.monitored_bytes for target in targets))


def _forecast(targets: Sequence[ProcessForecast], looked_at_bytes: int) -> Costs:
    costs = walk_costs()
    pages = [target.resident_bytes / PAGE_SIZE_BYTES for target in targets]
    looked_at = looked_at_bytes / PAGE_SIZE_BYTES
    clear_us = costs.page_us * sum(pages)
    look_us = _LOOK_PAGE_US * looked_at
    most = max(pages)
    held_us = round(costs.page_us * most)
    maps_us = sum(target.maps_us for target in targets)
    return Costs(
        sampling=SpacedSampling,
        check_us=look_us + _END_PAGE_US * looked_at,
        # With the usual intervals four looks come before the one that each aggregation has.
        opening_us=round(clear_us + 4 * look_us),
        begin_us=maps_us,
        update_us=maps_us,
        toll=Toll(round(most * reset_us()), held_us, held_us),
        facts={"clear_us": round(clear_us), "look_us": round(look_us)},
    )


def probe_written() -> Sequence[Finding]:
    """Report what seeing writes needs."""
    works = has_soft_dirty()
    detail = "" if works else "the kernel needs CONFIG_MEM_SOFT_DIRTY, as Debian's has"
    return (_clear_refs(), Finding("soft-dirty bits", works, detail))


def forecast_written(targets: Sequence[ProcessForecast]) -> Costs:
    """Return what seeing writes would cost if all memory was written in each aggregation.

    Writes are faults wherever they are, and count: so all of a process is looked at.
    """
    costs = _forecast(targets, sum(target.resident_bytes for target in targets))
    most = max(target.resident_bytes / PAGE_SIZE_BYTES for target in targets)
    held_us = costs.toll.held_us
    return evolve(costs, toll=Toll(round(most * fault_us()), held_us, held_us))


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register `pagetable` and `written`."""
    register(
        Backend(
            "pagetable",
            PageTable,
            PageTableOptions,
            summary="page tables through BPF: every page, exactly; needs root and x86-64",
            probe=probe,
            forecast=forecast,
            serves=("vaddr", "cgroup"),
            # After the kernel's DAMON and before idle page tracking: docs/benchmarks.md has why.
            preference=15,
            target_us=_TARGET_US,
        )
    )
    register(
        Backend(
            "written",
            Written,
            summary="soft-dirty bits: writes alone, to every page; without root",
            probe=probe_written,
            forecast=forecast_written,
            serves=("vaddr", "cgroup"),
            # It answers another question, so it is never what is chosen by itself.
            preference=-1,
            target_us=_TARGET_US,
        )
    )
