"""The owners of kdamonds: on files with the kernel's layout, and with real processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from damon_sysfs.features import probe
from damon_sysfs.ownership import Claim, Record, Registry, find_rivals, start_time
from damon_sysfs.sampler import Sampler
from damon_sysfs.spending import Spending
from damon_sysfs.tree import Tree
from damon_sysfs.tried import write_filter

from damon_core import Finding, PluginError
from damon_core.testing import KernelFiles, eventually


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return directories like the kernel's, with two kdamonds that are off."""
    for number in range(2):
        folder = tmp_path / f"admin/kdamonds/{number}"
        (folder / "contexts").mkdir(parents=True)
        (folder / "state").write_text("off\n")
        (folder / "pid").write_text("-1\n")
        (folder / "contexts/nr_contexts").write_text("0\n")
    (tmp_path / "admin/kdamonds/nr_kdamonds").write_text("2\n")
    return Tree(tmp_path / "admin")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a /proc without any kdamond."""
    thread(tmp_path / "proc", 1, "init", of_kernel=False)
    return tmp_path / "proc"


def thread(
    proc: Path, pid: int | str, name: str, *, of_kernel: bool = True, state: str = "S"
) -> None:
    """Add a thread to a /proc."""
    KernelFiles(proc.parent).process(pid, name, of_kernel=of_kernel, state=state)


def switch_on(tree: Tree, slot: int, pid: int) -> None:
    """Write the files of a running kdamond."""
    (tree.root / f"kdamonds/{slot}/state").write_text("on\n")
    (tree.root / f"kdamonds/{slot}/pid").write_text(f"{pid}\n")


def claim(slot: int, kdamond: int | None) -> Claim:
    """Return a claim of this process."""
    pid = os.getpid()
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return Claim(slot, pid, start_time(pid), namespace, "damon-x", kdamond, None, {})


def test_without_a_kdamond_there_is_no_rival(tree: Tree, proc: Path) -> None:
    """Directories alone are not rivals."""
    assert find_rivals(tree, Record(), proc) == []


def test_a_kdamond_without_a_claim_is_a_rival(tree: Tree, proc: Path) -> None:
    """It is named by its directory and pid."""
    switch_on(tree, 1, 4711)
    assert find_rivals(tree, Record({}, [claim(0, 4710)]), proc) == [
        "kdamonds/1 is on (pid 4711), started by another program"
    ]


def test_a_claimed_kdamond_is_not_a_rival(tree: Tree, proc: Path) -> None:
    """Neither its directory nor its thread is reported."""
    switch_on(tree, 1, 4711)
    thread(proc, 4711, "kdamond.0")
    assert find_rivals(tree, Record({}, [claim(1, 4711)]), proc) == []


def test_a_kdamond_of_the_kernel_is_named(tree: Tree, proc: Path, tmp_path: Path) -> None:
    """DAMON_RECLAIM and others have no directory."""
    thread(proc, 81, "kdamond.0")
    assert find_rivals(tree, Record(), proc, tmp_path) == [
        "kdamond.0 (pid 81) is running, started by the kernel"
    ]


def test_a_process_of_a_user_is_no_rival(tree: Tree, proc: Path, tmp_path: Path) -> None:
    """Whatever it calls itself: any user could take the backend away."""
    thread(proc, 81, "kdamond.7", of_kernel=False)
    assert find_rivals(tree, Record(), proc, tmp_path) == []


def test_the_message_says_how_to_end_damon_stat(tree: Tree, proc: Path, tmp_path: Path) -> None:
    """Newer kernels start DAMON_STAT at boot."""
    thread(proc, 51, "kdamond.0")
    for name, enabled in {"damon_stat": "Y", "damon_reclaim": "N"}.items():
        (tmp_path / f"modules/{name}/parameters").mkdir(parents=True)
        (tmp_path / f"modules/{name}/parameters/enabled").write_text(f"{enabled}\n")
    (rival,) = find_rivals(tree, Record(), proc, tmp_path / "modules")
    switch = tmp_path / "modules/damon_stat/parameters/enabled"
    assert rival.endswith(f"; DAMON_STAT is on: write N to {switch} to switch it off")


def test_the_probe_reports_rivals_and_writes_nothing(
    tree: Tree, proc: Path, tmp_path: Path
) -> None:
    """A kdamond of another program makes the backend unusable; no file changes."""
    switch_on(tree, 0, 4711)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in files}
    findings = probe(
        registry=Registry(tree, tmp_path / "run"), tracing=(tmp_path / "tracing",), proc=proc
    )
    (free,) = [finding for finding in findings if finding.name == "DAMON for this program"]
    assert (free.works, free.required) == (False, True)
    assert "pid 4711" in free.detail
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert {path: path.stat().st_mtime_ns for path in files} == times


@pytest.mark.parametrize("traced", [False, True])
def test_a_rival_may_be_watched_where_there_is_tracing(
    tree: Tree, proc: Path, tmp_path: Path, traced: bool
) -> None:
    """By which the results of a running kdamond come."""
    switch_on(tree, 0, 4711)
    if traced:
        (tmp_path / "tracing/instances").mkdir(parents=True)
        (tmp_path / "tracing/events/damon/damon_aggregated").mkdir(parents=True)
        (tmp_path / "tracing/events/damon/damon_aggregated/format").touch()
    findings = probe(
        registry=Registry(tree, tmp_path / "run"), tracing=(tmp_path / "tracing",), proc=proc
    )
    (free,) = [finding for finding in findings if finding.name == "DAMON for this program"]
    assert ("damon record --kdamond all" in free.detail) is traced


def test_directories_of_others_make_it_unusable(tree: Tree, proc: Path, tmp_path: Path) -> None:
    """The program that made them may switch them on at any time."""
    findings = probe(registry=Registry(tree, tmp_path / "run"), proc=proc)
    (free,) = [finding for finding in findings if finding.name == "DAMON for this program"]
    assert not free.works
    assert "another program has made 2 kdamonds, which are off" in free.detail


def test_a_kernel_without_damon(tmp_path: Path) -> None:
    """The only finding says what is missing."""
    (finding,) = probe(registry=Registry(Tree(tmp_path / "admin"), tmp_path / "run"))
    assert not finding.works
    assert "CONFIG_DAMON_SYSFS" in finding.detail


#: What kernels have whose kdamonds drop targets without a restart.
ENDING = "processes that end while it runs"
TUNING = "the kernel's tuning of intervals"
PAGES = "option checks: pages that the policy chooses"


@pytest.fixture
def found(tree: Tree, proc: Path, tmp_path: Path) -> Callable[[str, str], dict[str, Finding]]:
    """Return a function that probes a kernel of a given version for a primitive.

    The kernel has the operations for processes, and tracing isn't mounted.
    """

    def find(release: str, primitive: str) -> dict[str, Finding]:
        shutil.rmtree(tree.root / "kdamonds")
        (tree.root / "kdamonds").mkdir()
        (tree.root / "kdamonds/nr_kdamonds").write_text("0\n")
        (proc / "sys/kernel").mkdir(parents=True)
        (proc / "sys/kernel/osrelease").write_text(release)
        (proc / "kallsyms").write_text("0 t damon_va_young\n")
        findings = probe(
            primitive,
            registry=Registry(tree, tmp_path / "run"),
            tracing=(tmp_path / "tracing",),
            proc=proc,
        )
        return {finding.name.partition(" (Linux")[0]: finding for finding in findings}

    return find


def usable(findings: dict[str, Finding]) -> bool:
    """Return whether the backend is usable with these findings."""
    return all(finding.works or not finding.required for finding in findings.values())


def test_only_operations_that_a_primitive_needs_are_probed(
    found: Callable[[str, str], dict[str, Finding]],
) -> None:
    """The operations for physical memory aren't probed for processes."""
    findings = found("6.12.107+deb13-amd64", "cgroup")
    assert findings["operations 'vaddr', for processes"].works
    assert usable(findings)
    assert not any("paddr" in name for name in findings)


def test_missing_operations(found: Callable[[str, str], dict[str, Finding]]) -> None:
    """The backend isn't usable for a primitive that needs them."""
    findings = found("6.12.107+deb13-amd64", "paddr")
    assert not findings["operations 'paddr', for physical memory"].works
    assert not usable(findings)


@pytest.mark.parametrize(
    ("release", "missing"),
    [
        ("5.18.0", {"changes while it runs", "results from tried_regions", ENDING}),
        ("6.1.0-50-amd64", {"results from tried_regions", ENDING}),
        ("6.12.107+deb13-amd64", {ENDING}),
        ("7.3.4", set()),
    ],
)
def test_features_are_reported_one_by_one(
    found: Callable[[str, str], dict[str, Finding]], release: str, missing: set[str]
) -> None:
    """Without optional features the backend is still usable."""
    findings = found(release, "vaddr")
    tracing = "results from the tracepoint damon_aggregated"
    # What is tuned is said by tracing, too, and counts of pages come by it.
    missing = missing | {tracing, TUNING, PAGES}
    assert {name for name in findings if not findings[name].works} == missing
    # Without tracing, results are only in tried_regions.
    assert usable(findings) is ("results from tried_regions" not in missing)


@pytest.mark.parametrize(
    ("primitive", "less"),
    [("vaddr", "only one process, at a higher cost"), ("paddr", "at a higher")],
)
def test_what_lacks_without_tracing_is_that_of_the_primitive(
    found: Callable[[str, str], dict[str, Finding]], primitive: str, less: str
) -> None:
    """Physical memory is one target, whatever its size."""
    traced = found("6.12.107+deb13-amd64", primitive)[
        "results from the tracepoint damon_aggregated"
    ]
    assert traced.detail.startswith(f"without it {less}")


def test_the_kernel_tunes_where_an_event_says_so(tree: Tree, proc: Path, tmp_path: Path) -> None:
    """Its file is looked for."""
    tracing = tmp_path / "tracing"
    (tracing / "instances").mkdir(parents=True)
    for event in ("damon_aggregated", "damon_monitor_intervals_tune"):
        (tracing / "events/damon" / event).mkdir(parents=True)
        (tracing / "events/damon" / event / "format").touch()
    findings = probe(registry=Registry(tree, tmp_path / "run"), tracing=(tracing,), proc=proc)
    assert [each.works for each in findings if each.name.startswith(TUNING)] == [True]


@pytest.mark.parametrize(("release", "slow"), [("6.12.107", True), ("6.19.0", False)])
def test_it_is_said_when_pages_are_chosen(
    tree: Tree, proc: Path, tmp_path: Path, release: str, slow: bool
) -> None:
    """And where each choice takes long, if they are used all the same."""
    (tmp_path / "tracing/instances").mkdir(parents=True)
    (tmp_path / "tracing/events/damon/damon_aggregated").mkdir(parents=True)
    (tmp_path / "tracing/events/damon/damon_aggregated/format").touch()
    (proc / "sys/kernel").mkdir(parents=True)
    (proc / "sys/kernel/osrelease").write_text(release)
    registry = Registry(tree, tmp_path / "run")
    findings = probe(registry=registry, tracing=(tmp_path / "tracing",), proc=proc)
    (pages,) = [each for each in findings if each.name.startswith(PAGES)]
    assert pages.detail.startswith("chosen for one process")
    assert ("takes a tenth of a second" in pages.detail) is slow


@pytest.mark.parametrize(("release", "works"), [("6.12.107", False), ("6.14.0", True)])
def test_the_filter_for_one_cgroup(
    found: Callable[[str, str], dict[str, Finding]], release: str, works: bool
) -> None:
    """Linux 6.14 and later have it."""
    findings = found(release, "paddr")
    assert findings["option cgroup: one cgroup's memory"].works is works


def test_functions_of_the_kernel_count_more_than_its_version(tree: Tree, proc: Path) -> None:
    """Distributions have features of later versions, or leave some out."""
    registry = Registry(tree, proc.parent / "run")
    (proc / "kallsyms").write_text(
        "0 t damon_va_young\n0 t damon_sysfs_init\n0 t obsolete_target_store\n"
    )
    (proc / "sys/kernel").mkdir(parents=True)
    (proc / "sys/kernel/osrelease").write_text("6.12.0")
    findings = {
        each.name.partition(" (Linux")[0]: each for each in probe(registry=registry, proc=proc)
    }
    assert findings[ENDING].works
    assert not findings["results from tried_regions"].works


def test_functions_of_the_kernel_are_listed_once(tree: Tree, proc: Path) -> None:
    """That takes the kernel longer than all else, and `damon doctor` asks for three primitives."""
    registry = Registry(tree, proc.parent / "run")
    (proc / "kallsyms").write_text("0 t damon_va_young\n0 t damon_sysfs_init\n")
    first = probe(registry=registry, proc=proc)
    (proc / "kallsyms").unlink()
    assert probe(registry=registry, proc=proc) == first


def test_settings_are_saved_and_restored(tree: Tree) -> None:
    """Even in directories of kdamonds that are off."""
    name = "kdamonds/0/contexts/nr_contexts"
    tree.write(name, 1)
    saved = tree.save()
    tree.write(name, 0)
    tree.restore(saved)
    assert tree.read(name) == "1"


def test_a_missing_file_is_not_made(tree: Tree) -> None:
    """Writing to it is an error."""
    with pytest.raises(FileNotFoundError):
        tree.write("kdamonds/0/no_such_file", 1)
    assert not tree.has("kdamonds/0/no_such_file")


def test_a_filter_needs_linux_6_14(tree: Tree) -> None:
    """Earlier kernels accept a filter, but also count pages that it rejects."""
    with pytest.raises(PluginError, match=r"can't monitor the memory of one cgroup: Linux 6\.14"):
        write_filter(tree, "kdamonds/0/", "/some.slice")


def test_cpu_time_is_read_in_ticks_without_schedstat(tmp_path: Path) -> None:
    """That of a thread that doesn't exist is 0."""
    folder = tmp_path / "81"
    folder.mkdir()
    (folder / "stat").write_text("81 (kdamond.0 ) R) S 2 0 0 0 -1 0 0 0 0 0 3 4 0 0 20 0 1 0 9\n")
    assert Spending(tmp_path).total_us(81) == 7_000_000 // os.sysconf("SC_CLK_TCK")
    (folder / "schedstat").write_text("4212073 7392972 4\n")
    assert Spending(tmp_path).total_us(81) == 4212
    assert Spending(tmp_path).total_us(82) == 0


def test_the_cpu_time_of_an_ended_kdamond_is_kept(tree: Tree, tmp_path: Path) -> None:
    """CPU time only grows, whichever kdamond runs: here this process and its parent."""
    sampler = Sampler(Registry(tree, tmp_path / "run"))
    assert sampler.cpu_us == 0
    sampler._claim = claim(0, os.getpid())  # noqa: SLF001  # as if the kernel ran it
    own = sampler.cpu_us
    assert own > 0
    sampler._claim = claim(0, None)  # noqa: SLF001  # as if the kernel ran it
    assert sampler.cpu_us == own
    other = Spending().total_us(os.getppid())
    sampler._claim = claim(0, os.getppid())  # noqa: SLF001  # as if the kernel ran it
    assert sampler.cpu_us >= own + other


def test_a_program_whose_first_thread_has_exited_has_not_ended(proc: Path) -> None:
    """Other threads go on; its claim is still held."""
    thread(proc, 4711, "monitor", of_kernel=False, state="Z")
    thread(proc, "4711/task/4711", "monitor", of_kernel=False, state="Z")
    assert start_time(4711, proc) is None
    thread(proc, "4711/task/4712", "monitor", of_kernel=False)
    assert start_time(4711, proc) == 7200


def test_a_zombie_has_ended() -> None:
    """A killed program has no claims, even before its parent has waited for it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert start_time(process.pid) is not None
        process.kill()
        eventually(lambda: start_time(process.pid) is None)
