"""What the package registers, what it needs of the machine, and what it foretells."""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from damon_pagetable import LayoutError, PageTable, PageTableOptions, VerifierError
from damon_pagetable import plugin as package
from damon_pagetable.btf import Btf
from damon_pagetable.machine import Machine
from damon_pagetable.walking import Offsets
from damon_vaddr import ProcessForecast
from damon_vaddr import plugin as vaddr

from damon_core import Backend, Finding, Plugins, SpacedSampling

GIB = 1 << 30


@pytest.fixture
def backend() -> Backend:
    """The backend."""
    found: list[Backend] = []
    package.register_backends(found.append)
    return found[0]


def test_order_of_backends_is_that_of_the_measurements() -> None:
    """The kernel's own is cheapest; of those that cost the same the exact one comes first.

    What sees writes alone answers another question: it is the last.
    """
    order = [*Plugins.discover().backends("vaddr")]
    assert order == ["kernel", "pagetable", "idle", "referenced", "written"]


def test_backend_serves_processes_and_comes_before_referenced(backend: Backend) -> None:
    """Where both work."""
    others: list[Backend] = []
    vaddr.register_backends(others.append)
    referenced = next(each for each in others if each.name == "referenced")
    assert set(backend.serves) == {"vaddr", "cgroup"}
    assert backend.preference > referenced.preference
    assert backend.options is PageTableOptions
    assert backend.factory is PageTable


@pytest.mark.needs("root", "page-tables")
def test_all_that_is_needed_is_here(backend: Backend) -> None:
    """Each step is a line of the doctor."""
    findings = backend.findings("vaddr")
    assert all(finding.works for finding in findings if finding.required)
    assert [finding.name for finding in findings] == [
        "/proc/PID/clear_refs",
        "page tables of x86-64",
        "/sys/kernel/btf/vmlinux",
        "bpf(2)",
        "page tables through BPF",
        "accessed bits for this program alone",
    ]


@pytest.mark.needs("root", "page-tables")
def test_types_of_the_kernel_are_read_once(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay while it runs, and going through them takes longer than most of the probe."""
    PageTable().close()
    monkeypatch.delattr(Btf, "of_kernel")
    assert all(finding.works for finding in backend.findings("vaddr") if finding.required)
    PageTable().close()


def last_of(findings: Sequence[Finding]) -> Finding:
    """Return the last step, the only one that doesn't work."""
    assert [finding.works for finding in findings] == [True] * (len(findings) - 1) + [False]
    return findings[-1]


def test_another_architecture_is_the_first_obstacle(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing further is tried."""
    here = Machine.here
    monkeypatch.setattr(Machine, "here", lambda: here(architecture="riscv64"))
    finding = last_of(backend.findings("vaddr"))
    assert finding.name == "page tables of x86-64"
    assert "riscv64" in finding.detail


@pytest.mark.needs("page-tables")
def test_kernel_without_types(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option that it needs is named."""

    def fail() -> Offsets:
        raise LayoutError("the kernel needs CONFIG_DEBUG_INFO_BTF")

    monkeypatch.setattr(Offsets, "of_kernel", fail)
    finding = last_of(backend.findings("vaddr"))
    assert finding == Finding(
        "/sys/kernel/btf/vmlinux", False, "the kernel needs CONFIG_DEBUG_INFO_BTF"
    )


@pytest.mark.needs("root", "page-tables")
def test_verifier_that_says_no(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for everybody; the log for those who ask."""

    def fail(**_: int) -> None:
        raise VerifierError("the kernel's verifier rejects a program", 13, "R0 !read_ok")

    monkeypatch.setattr(package, "PageTables", fail)
    with caplog.at_level("INFO"):
        finding = last_of(backend.findings("vaddr"))
    assert finding.detail == "the kernel's verifier rejects a program"
    assert "R0 !read_ok" in caplog.text


@pytest.mark.slow_in_lab
@pytest.mark.needs("root", "page-tables")
def test_without_privileges_bpf_is_the_obstacle() -> None:
    """And what to give is said."""
    statements = (
        "import ctypes, json, os\n"
        "from damon_pagetable import plugin\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "ctypes.CDLL(None).prctl(4, 1)  # dumpable, as programs of users are\n"
        "print(json.dumps([(each.name, each.works, each.detail) for each in plugin.probe()]))\n"
    )
    command = [sys.executable, "-c", statements]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    finding = last_of([Finding(*each) for each in json.loads(done.stdout)])
    assert finding.name == "bpf(2)"
    assert "CAP_BPF and CAP_PERFMON" in finding.detail


def forecast_of(backend: Backend, *sizes: int) -> float:
    """Return the CPU time of a check that is foretold for processes."""
    assert backend.forecast is not None
    targets = [
        ProcessForecast(f"process[{number}]", number, size, 100, size, 50)
        for number, size in enumerate(sizes)
    ]
    costs = backend.forecast(targets)
    assert costs.sampling is SpacedSampling
    assert costs.check_us is not None
    return costs.check_us


def test_cost_grows_with_the_memory_of_all_processes(backend: Backend) -> None:
    """Not with their number."""
    one = forecast_of(backend, 4 * GIB)
    assert forecast_of(backend, GIB) == pytest.approx(one / 4)
    assert forecast_of(backend, GIB, GIB, GIB, GIB) == pytest.approx(one)


def test_of_ranges_less_is_looked_at_and_as_much_cleared(backend: Backend) -> None:
    """Accessed bits can only be cleared in all of a process."""
    assert backend.forecast is not None
    whole, part = (
        backend.forecast([ProcessForecast("p[1]", 1, GIB, 100, GIB, 50, monitored_bytes=size)])
        for size in (GIB, GIB // 4)
    )
    assert part.facts["look_us"] == pytest.approx(whole.facts["look_us"] / 4, abs=1)
    assert part.facts["clear_us"] == whole.facts["clear_us"]
    assert part.toll == whole.toll
