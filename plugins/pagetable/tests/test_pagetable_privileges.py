"""Which capabilities a user other than root needs, and which are given up."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from damon_pagetable.privileges import needed_to_load_only

from damon_core.testing import eventually

CAP_DAC_OVERRIDE, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF = 1, 19, 38, 39
ALL = (CAP_DAC_OVERRIDE, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF)

#: By whose process was monitored and what was missing: the bytes seen, the error, and the status of
#: the worker.
Results = dict[tuple[str, tuple[int, ...]], tuple[int, str, str]]

#: Monitors a process for an aggregation with each of several sets of capabilities missing, in a
#: child for each, and prints how many bytes it saw, or the error; and the sets of the worker.
_MONITOR = """
import json, os, sys
from damon_core import Context, DamonError, Intervals, hookimpl
from damon_core.testing import Recorder, StopAfter, run
from damon_pagetable import PageTable
from damon_vaddr import PidSource, ProcessMemory

class Note:
    @hookimpl
    def after_aggregation(self, context):
        self.sets = open("/proc/thread-self/status").read()

def monitored(pid, without):
    giving_up = Recorder()
    giving_up.startup_capabilities = without
    Context(giving_up).drop_startup_capabilities()
    note = Note()
    try:
        memory = ProcessMemory(PidSource([pid]), PageTable())
        intervals = Intervals(50_000, 200_000, 200_000)
        context = Context(memory, [note, StopAfter(1)], intervals=intervals)
        run(context, timeout_s=300)
    except (DamonError, AssertionError) as error:
        return [0, str(error), ""]
    return [context.snapshot.total_bytes, "", note.sets]

# Once with all, so that Python has read its modules, which may be in somebody's home.
monitored(os.getpid(), [])
for pid, without in json.loads(sys.argv[1]):
    if not os.fork():
        print(json.dumps(monitored(pid, without)), flush=True)
        os._exit(0)
    os.wait()
"""


def as_nobody(command: Sequence[object], capabilities: Sequence[int] = ()) -> list[str]:
    """Return the command line of a program that a user runs who has some capabilities."""
    given = ",".join(["-all", *(f"+cap_{number}" for number in capabilities)])
    sets = [f"--inh-caps={given}", f"--ambient-caps={given}"]
    ids = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    return ["setpriv", *ids, *sets, *map(str, command)]


@pytest.fixture(scope="module")
def sleepers() -> Iterator[list[int]]:
    """Processes: one of root, one of the user."""
    command = ["sleep", "1000"]
    with subprocess.Popen(command) as of_root, subprocess.Popen(as_nobody(command)) as own:
        yield [of_root.pid, own.pid]
        of_root.kill()
        own.kill()


@pytest.fixture(scope="module")
def results(sleepers: list[int]) -> Results:
    """What was monitored of whom, without which capabilities."""
    of_root, own = sleepers
    cases: list[tuple[str, tuple[int, ...]]] = [("root's", ())]
    cases += [("root's", (missing,)) for missing in ALL]
    cases += [("own", (CAP_DAC_OVERRIDE, CAP_SYS_PTRACE))]
    asked = json.dumps([(of_root if whose == "root's" else own, less) for whose, less in cases])
    command = as_nobody([sys.executable, "-c", _MONITOR, asked], ALL)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    return dict(zip(cases, answers, strict=True))


pytestmark = pytest.mark.slow_in_lab
needs_tables = pytest.mark.needs("root", "page-tables", "setpriv")


@needs_tables
def test_four_capabilities_are_enough_for_processes_of_others(results: Results) -> None:
    """For a user who isn't root."""
    assert results["root's", ()][0] > 0


@needs_tables
def test_two_are_enough_for_the_user_s_own(results: Results) -> None:
    """Those for loading a program."""
    assert results["own", (CAP_DAC_OVERRIDE, CAP_SYS_PTRACE)][0] > 0


@needs_tables
@pytest.mark.parametrize("missing", [CAP_BPF, CAP_PERFMON])
def test_without_one_for_loading_it_is_named(results: Results, missing: int) -> None:
    """Nothing is monitored."""
    assert "CAP_BPF and CAP_PERFMON" in results["root's", (missing,)][1]


@needs_tables
def test_without_override_files_of_others_aren_t_opened(results: Results) -> None:
    """They belong to their user."""
    assert results["root's", (CAP_DAC_OVERRIDE,)][0] == 0


@needs_tables
def test_without_ptrace_others_are_read_by_newer_kernels_only(results: Results) -> None:
    """Since Linux 6.15 CAP_PERFMON is enough, and so isn't given up without it."""
    version = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    seen, _, sets = results["root's", (CAP_SYS_PTRACE,)]
    assert (seen > 0) == (version >= (6, 15))
    assert not seen or held(sets) == {CAP_DAC_OVERRIDE, CAP_PERFMON}


def held(status: str) -> set[int]:
    """Return the capabilities that a thread may use, by its status."""
    bits = int(re.findall(r"(?m)^CapPrm:\t(.*)$", status)[0], 16)
    return {number for number in range(64) if bits >> number & 1}


@needs_tables
def test_worker_gives_up_what_was_for_loading(results: Results) -> None:
    """What is left is for files of processes."""
    assert held(results["root's", ()][2]) == {CAP_DAC_OVERRIDE, CAP_SYS_PTRACE}


@pytest.mark.slow
@needs_tables
def test_no_thread_of_the_command_keeps_what_was_for_loading(sleepers: list[int]) -> None:
    """Nor do threads that numpy would have started before."""
    damon = Path(sys.executable).with_name("damon")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        output = Path(folder) / "record.csv"
        arguments = ["record", "--pid", sleepers[0], "--for", "5m", "-o", output]
        with subprocess.Popen(as_nobody([damon, *arguments], ALL)) as program:
            tasks = Path(f"/proc/{program.pid}/task")

            def given_up() -> bool:
                threads = [held((task / "status").read_text()) for task in tasks.iterdir()]
                left = {CAP_DAC_OVERRIDE, CAP_SYS_PTRACE}
                return len(threads) > 1 and all(held == left for held in threads)

            eventually(given_up)
            program.terminate()


@pytest.mark.parametrize(
    ("release", "effective", "expected"),
    [
        ("6.12.107+deb13-amd64", "c000080002", (CAP_BPF, CAP_PERFMON)),
        ("6.18.1", "c000000002", (CAP_BPF,)),
        ("5.14.0-503.el9.x86_64", "c000080002", ()),
    ],
)
def test_what_isn_t_needed_any_more(
    tmp_path: Path, release: str, effective: str, expected: tuple[int, ...]
) -> None:
    """Older kernels want CAP_BPF to run a program, too."""
    status = tmp_path / "status"
    status.write_text(f"Name:\tdamon\nCapEff:\t{int(effective, 16):016x}\nCapBnd:\t0\n")
    assert tuple(needed_to_load_only(release, status)) == expected
