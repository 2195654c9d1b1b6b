"""Processes are identified, and error messages say why one can't be monitored."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from damon_vaddr import (
    CommandSource,
    PidSource,
    Process,
    ProcessTable,
    descendants_of,
    processes,
)
from damon_vaddr.processes import open_named, reopen_named
from damon_vaddr.procfs import read_stat

from damon_core import TargetError
from damon_core.testing import eventually

StartProgram = Callable[..., "subprocess.Popen[str]"]
_FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}])
print(child.pid, flush=True)
sys.stdin.readline()
"""
_SLEEP = "import time; time.sleep(600)"


def _line(program: "subprocess.Popen[str]") -> str:
    assert program.stdout is not None
    return program.stdout.readline()


def _no_pidfd(pid: int) -> int:
    raise OSError(38, os.strerror(38))


def _unused_pid() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_an_unused_pid_is_an_error() -> None:
    """The error is one line that names the pid."""
    pid = _unused_pid()
    with pytest.raises(TargetError) as caught:
        PidSource([pid])
    assert str(caught.value) == f"pid {pid}: there is no such process"


def test_a_number_too_great_for_a_pid_is_an_error() -> None:
    """The message is that of an unused pid."""
    with pytest.raises(TargetError, match="pid 99999999999: there is no such process"):
        PidSource([99_999_999_999])


def test_a_kernel_thread_has_no_memory() -> None:
    """A kernel thread can't be monitored."""
    threads = [p.pid for p in psutil.process_iter() if p.ppid() == 2]
    if not threads:
        pytest.skip("no kernel thread is visible here: run outside of a container")
    with pytest.raises(TargetError, match=r"kernel thread|may not be read"):
        open_named(threads[0])


def test_a_zombie_has_ended(start_program: StartProgram) -> None:
    """The error of a zombie says that it is one."""
    program = start_program("")
    eventually(lambda: psutil.Process(program.pid).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(TargetError, match="zombie"):
        open_named(program.pid)


@pytest.mark.needs("root")
def test_a_process_of_another_user_needs_permission(sleeper: "subprocess.Popen[str]") -> None:
    """The error says what to do."""
    code = textwrap.dedent(f"""
        import os, sys
        sys.path[:] = {sys.path!r}
        from damon_core import TargetError
        from damon_vaddr import PidSource
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        try:
            PidSource([{sleeper.pid}])
        except TargetError as error:
            print(error)
    """)
    message = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout
    assert message.startswith(f"pid {sleeper.pid}: its memory may not be read by this user: ")
    assert message.endswith("as root, or with CAP_SYS_PTRACE and CAP_DAC_OVERRIDE\n")


def test_what_no_capability_helps_against(
    sleeper: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has them isn't sent to look for them."""
    monkeypatch.setattr(processes, "may_read_others", lambda: True)
    reason = processes.why_unreadable(sleeper.pid)
    assert "in spite of CAP_SYS_PTRACE and CAP_DAC_OVERRIDE: a security module" in reason
    assert "run as" not in reason


def test_a_named_process_that_ended_before_the_start(sleeper: "subprocess.Popen[str]") -> None:
    """The start fails with an error."""
    source = PidSource([sleeper.pid])
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(TargetError, match="has ended"):
        source.start()


@pytest.mark.needs("root")
def test_another_process_with_the_same_pid_is_not_the_same(start_program: StartProgram) -> None:
    """The error says that the pid belongs to another process now."""
    last_pid = Path("/proc/sys/kernel/ns_last_pid")
    if not last_pid.exists():
        pytest.skip("needs a kernel with CONFIG_CHECKPOINT_RESTORE")
    first = start_program(_SLEEP)
    started = read_stat(first.pid).started
    first.kill()
    first.wait()
    time.sleep(0.05)  # start times count in hundredths of a second
    for _ in range(100):  # other programs may take the pid first
        last_pid.write_text(str(first.pid - 1))
        second = start_program(_SLEEP)
        if second.pid == first.pid:
            break
    else:
        pytest.skip("other programs took the pid: run on a quieter machine")
    with pytest.raises(TargetError, match="another one"):
        reopen_named(first.pid, started)


def _run(code: str, *unshared: str) -> str:
    """Return what a Python program prints in namespaces of its own."""
    program = ["unshare", *unshared, "--fork", sys.executable, "-c", code]
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return done.stdout


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize("source", ["PidSource([os.getpid()])", "CommandSource(['true'])"])
def test_the_proc_of_another_pid_namespace_is_refused(source: str) -> None:
    """Pids mean other processes there."""
    code = textwrap.dedent(f"""
        import os, sys
        sys.path[:] = {sys.path!r}
        from damon_core import TargetError
        from damon_vaddr import CommandSource, PidSource
        try:
            {source}
        except TargetError as error:
            print(error)
    """)
    assert _run(code, "--pid").startswith("/proc: it belongs to another pid namespace")
    assert _run(code, "--pid", "--mount-proc") == ""


_HIDDEN = textwrap.dedent(f"""
    import logging, os, subprocess, sys
    subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"], check=True)
    sleeper = subprocess.Popen(["sleep", "600"])
    sys.path[:] = {sys.path!r}
    from damon_core import TargetError
    from damon_vaddr import PidSource, ProcessTable
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    try:
        PidSource([sleeper.pid])
    except TargetError as error:
        print(error)
    table = ProcessTable()
    table.add_all([sleeper.pid])
    print(sleeper.pid)
    print(dict(table.left_out))
""")


@pytest.mark.needs("root", "unshare")
def test_a_hidden_process_is_not_said_to_be_missing() -> None:
    """/proc may be mounted with hidepid; as a named process and as one of several."""
    named, member, pid, count = _run(_HIDDEN, "--pid", "--mount-proc").splitlines()
    reason = "/proc doesn't show it to this user (mount option hidepid): run as root"
    assert named == f"pid {pid}: {reason}"
    assert member == f"pid {pid} is not monitored: {reason}"
    assert count == "{'hidden': 1}"


def test_the_id_of_a_thread_is_refused(without_first_thread: "subprocess.Popen[str]") -> None:
    """The error names its process."""
    pid = without_first_thread.pid
    thread = max(map(int, os.listdir(f"/proc/{pid}/task")))
    with pytest.raises(TargetError, match=f"pid {thread}: it is a thread of process {pid}"):
        PidSource([thread])


def test_the_same_process_can_be_opened_again(sleeper: "subprocess.Popen[str]") -> None:
    """As a restart of a context does."""
    process = reopen_named(sleeper.pid, read_stat(sleeper.pid).started)
    assert process.pid == sleeper.pid
    process.close()


def test_a_table_returns_ended_processes_once(start_program: StartProgram) -> None:
    """Even if they are zombies; the other processes stay."""
    one, other = start_program(_SLEEP), start_program(_SLEEP)
    table = ProcessTable()
    table.add(one.pid)
    table.add(other.pid)
    assert table.take_ended() == []
    one.kill()
    ended: list[Process] = []

    def one_ended() -> bool:
        ended.extend(table.take_ended())
        return bool(ended)

    eventually(one_ended)
    assert [process.pid for process in ended] == [one.pid]
    assert [process.pid for process in table] == [other.pid]
    assert table.take_ended() == []
    table.close()


@pytest.fixture
def forked() -> Iterator[Callable[[], None]]:
    """Return a function that forks this process; the child has its descriptors until the end."""
    children: list[int] = []

    def fork() -> None:
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(0)
        children.append(child)

    yield fork
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_process_that_ended_before_a_fork_is_not_reported_again(
    forked: Callable[[], None], start_program: StartProgram
) -> None:
    """Its pidfd lives on in the child, as that of multiprocessing or of an alert's program."""
    program = start_program(_SLEEP)
    table = ProcessTable()
    table.add(program.pid)
    forked()
    program.kill()
    eventually(table.take_ended)
    assert table.take_ended() == []
    table.close()


def test_a_process_whose_pidfd_has_the_number_of_an_ended_one_lives(
    forked: Callable[[], None], start_program: StartProgram
) -> None:
    """Even while a forked child has the one that ended."""
    one, other = start_program(_SLEEP), start_program(_SLEEP)
    table = ProcessTable()
    table.add(one.pid)
    (number,) = (process.pidfd for process in table)
    forked()
    one.kill()
    eventually(table.take_ended)
    table.add(other.pid)
    (process,) = table
    assert (process.pidfd, table.take_ended()) == (number, [])
    table.close()


def test_without_pidfds_the_end_of_a_process_is_found(
    sleeper: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start time is used instead."""
    monkeypatch.setattr(os, "pidfd_open", _no_pidfd)
    table = ProcessTable()
    table.add(sleeper.pid)
    assert table.take_ended() == []
    sleeper.kill()
    sleeper.wait()
    assert [process.pid for process in table.take_ended()] == [sleeper.pid]
    table.close()


def test_a_process_whose_first_thread_has_exited_has_its_memory(
    without_first_thread: "subprocess.Popen[str]",
) -> None:
    """The files in its /proc/PID are empty; those of another thread are read."""
    process = open_named(without_first_thread.pid)
    assert not Path(f"/proc/{process.pid}/maps").read_bytes()
    assert process.mappings()
    process.close()


def test_a_process_whose_first_thread_has_exited_ends_with_the_others(
    without_first_thread: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't a zombie before, even where there are no pidfds to ask."""
    monkeypatch.setattr(os, "pidfd_open", _no_pidfd)
    table = ProcessTable()
    table.add(without_first_thread.pid)
    assert (len(table), table.take_ended()) == (1, [])
    without_first_thread.kill()
    eventually(table.take_ended)
    table.close()


def test_the_thread_that_shows_the_memory_may_exit(
    without_first_thread: "subprocess.Popen[str]",
) -> None:
    """The first thread shows it while it lives; then the oldest of the others."""
    process = Process.open(without_first_thread.pid)
    (other,) = set(map(int, os.listdir(f"/proc/{process.pid}/task"))) - {process.pid}
    assert process.thread() == other
    process.close()


_LIMITED = f"""
import logging, os, resource, subprocess, sys
sys.path[:] = {sys.path!r}
from damon_vaddr import Process, ProcessTable
logging.basicConfig(stream=sys.stdout, format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))
sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(40)]
table = ProcessTable()
for _ in range(2):
    table.add_all(sleeper.pid for sleeper in sleepers)
kept = [process.open_kept("maps") for process in table]
print(len(table))
print(len([os.open("/dev/null", os.O_RDONLY) for _ in range(10)]))
for sleeper in sleepers:
    sleeper.kill()
    sleeper.wait()
"""


def _limited(hard: int) -> list[str]:
    """Return what a program prints that follows 40 processes with a soft limit of 64 files."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(hard)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_processes_beyond_the_limit_of_open_files_are_left_out() -> None:
    """One warning says how many; a reserve is left to others."""
    warning, count, opened = _limited(64)
    assert warning.startswith(f"{40 - int(count)} processes (pid ")
    assert "this program may open 64 files, of which each process needs two" in warning
    assert 15 < int(count) < 24
    assert opened == "10"


def test_the_soft_limit_of_open_files_is_raised() -> None:
    """As far as the hard one allows."""
    assert _limited(256) == ["40", "10"]


def test_a_label_is_printable(start_program: StartProgram) -> None:
    """Whatever bytes the name of the program consists of."""
    program = start_program(
        "open('/proc/self/comm', 'wb').write(b'a\\xff\\nb'); print('ready');" + _SLEEP
    )
    _line(program)
    process = Process.open(program.pid)
    assert process.label() == f"a??b[{program.pid}]"
    process.close()


def test_descendants_are_found(start_program: StartProgram) -> None:
    """Children and grandchildren are descendants; the process and its parent aren't."""
    program = start_program(_FAMILY.format(child=_FAMILY.format(child=_SLEEP)))
    child = int(_line(program))
    grandchild = int(_line(program))
    assert {child, grandchild} <= descendants_of({program.pid})
    assert program.pid not in descendants_of({program.pid})
    assert os.getpid() not in descendants_of({program.pid})
    os.kill(grandchild, 9)
    os.kill(child, 9)


def test_a_child_is_followed_when_its_parent_has_ended(start_program: StartProgram) -> None:
    """A process that was once found as a descendant stays one."""
    program = start_program(_FAMILY.format(child=_SLEEP))
    child = int(_line(program))
    source = PidSource([program.pid], descendants=True)
    source.start()
    assert {process.pid for process in source.processes()} == {program.pid, child}
    program.kill()
    eventually(source.take_ended)
    assert [process.pid for process in source.processes()] == [child]
    assert not source.finished()
    os.kill(child, 9)
    eventually(source.take_ended)
    assert source.finished()
    source.close()


def test_a_missing_command_is_an_error() -> None:
    """The error names it, before anything runs."""
    with pytest.raises(TargetError, match="no-such-program"):
        CommandSource(["no-such-program"])


def test_a_command_that_cannot_be_executed_is_an_error(tmp_path: Path) -> None:
    """The start fails with the kernel's reason."""
    path = tmp_path / "broken"
    path.write_bytes(b"\x7fELF but not really")
    path.chmod(0o755)
    with pytest.raises(TargetError, match=r"broken.*Exec format error"):
        CommandSource([str(path)]).start()


def test_a_command_is_ended_with_the_monitoring() -> None:
    """The command is sent SIGTERM and can be started again."""
    source = CommandSource(["sleep", "600"])
    for _ in range(2):
        source.start()
        assert len(source.processes()) == 1
        source.close()
        assert source.exit_status == -15


def test_a_command_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """It is sent SIGKILL after the grace period."""
    ready = tmp_path / "ready"
    source = CommandSource(
        ["sh", "-c", f"trap '' TERM; : > {ready}; while :; do sleep 0.1; done"], grace=0.2
    )
    source.start()
    eventually(ready.exists)
    source.close()
    assert source.exit_status == -9


def test_the_exit_status_of_a_command_is_kept() -> None:
    """If it ends by itself."""
    source = CommandSource(["sh", "-c", "exit 3"])
    source.start()
    eventually(lambda: source.take_ended() or source.finished())
    assert source.finished()
    source.close()
    assert source.exit_status == 3
