"""``damon record`` as people call it, on real processes."""

import contextlib
import csv
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from damon_cli.main import main
from damon_record.recording import _why_nothing

from damon_core.testing import eventually

DAMON = Path(sys.executable).with_name("damon")
#: A program with a MiB that it reads all the time.
BUSY = "import time\ndata = bytearray(1 << 20)\nwhile True:\n    data[::4096]\n    time.sleep(0.01)"
#: With the backend named: the automatic choice may take the kernel's DAMON, which changes state of
#: the whole machine. Without limits: a busy machine would have messages of these.
RECORD = [str(DAMON), "record", "--backend", "referenced", "--cpu-budget", "100%"]
RECORD += ["--max-slowdown", "100%", "--max-stall", "1h"]


def damon(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``damon record`` to its end."""
    return subprocess.run(
        [*RECORD, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def mistaken(*arguments: str) -> Result:
    """Run ``damon record`` in this process: for what is refused before anything starts."""
    return CliRunner().invoke(main, [*RECORD[1:], *arguments])


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def wait_for_rows(path: Path) -> None:
    """Wait until a recording has written something."""
    eventually(lambda: has_rows(path))


def has_rows(path: Path) -> bool:
    """Return whether a recording has written something."""
    return path.exists() and len(path.read_bytes().splitlines()) > 1


@contextmanager
def recording(pid: int, output: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start ``damon record`` of a process; it doesn't outlive the test."""
    recorder = subprocess.Popen(
        [*RECORD, "--pid", str(pid), "-o", str(output)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield recorder
    finally:
        recorder.kill()
        recorder.communicate()


@pytest.fixture
def busy() -> Generator[int, None, None]:
    """A process that uses memory; its pid."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def cgroup() -> Generator[Path, None, None]:
    """An empty cgroup of this machine."""
    mounts = (line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    mount = next((place for place, kind in mounts if kind == "cgroup2"), None)
    if mount is None:
        pytest.skip("no cgroup v2 hierarchy is mounted on this machine")
    path = Path(mount, f"damon-record-{os.getpid()}")
    path.mkdir()
    yield path
    path.rmdir()


@pytest.mark.slow
class TestRecording:
    def test_by_pid(self, busy: int, tmp_path: Path) -> None:
        """The accesses of a running process are written, row by row."""
        output = tmp_path / "out.csv"
        done = damon("--pid", str(busy), "--for", "1s", "-o", str(output))
        assert done.returncode == 0, done.stderr
        rows = read(output)
        assert list(rows[0])[:5] == ["time_us", "context", "target", "start", "end"]
        assert {row["target"].endswith(f"[{busy}]") for row in rows} == {True}
        assert any(float(row["nr_accesses"]) > 0 for row in rows)

    def test_summary(self, busy: int, tmp_path: Path) -> None:
        """At the end it says what came of it and where it is."""
        output = tmp_path / "out.csv"
        done = damon("--pid", str(busy), "--for", "1s", "-o", str(output))
        assert "working set: min" in done.stdout
        assert f"{len(read(output))} rows went to {output}" in done.stdout
        assert "slowed its target down by " in done.stdout
        assert len(done.stdout.splitlines()) == 6

    def test_the_next_command_works(self, busy: int, tmp_path: Path) -> None:
        """What the summary says to type shows the record."""
        output = tmp_path / "it's.parquet"
        done = damon("--pid", str(busy), "--for", "1s", "-o", str(output))
        next_command = done.stdout.splitlines()[-1].removeprefix("look at them with: ")
        program, *arguments = shlex.split(next_command)
        assert program == "damon"
        assert arguments[-1] == str(output)
        shown = subprocess.run(
            [DAMON, *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout

    def test_parquet_is_what_is_written(self, busy: int, tmp_path: Path) -> None:
        """Without -o it goes to damon.parquet, never over another; it says how it was made."""
        for _ in range(2):
            done = subprocess.run(
                [*RECORD, "--cpu-budget", "5%", "--pid", str(busy), "--for", "1s"],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                cwd=tmp_path,
            )
            assert done.returncode == 0, done.stderr
        assert len(list(tmp_path.glob("damon.*.parquet"))) == 1
        assert "was there already" in done.stderr
        metadata = pq.read_table(tmp_path / "damon.parquet").schema.metadata
        made = json.loads(metadata[b"damon"])
        assert made["command"].endswith(f"--pid {busy} --for 1s")
        assert made["contexts"][0]["primitive"] == "vaddr"
        assert made["contexts"][0]["cpu_budget"] == 0.05

    def test_command(self, tmp_path: Path) -> None:
        """A command is started, watched to its end, and its own exit code isn't ours."""
        output = tmp_path / "out.csv"
        script = BUSY.replace("while True", "for _ in range(200)") + "\nraise SystemExit(3)"
        done = damon("-o", str(output), "--", sys.executable, "-c", script)
        assert done.returncode == 0, done.stderr
        assert read(output)

    def test_command_ends_with_the_recording(self, tmp_path: Path) -> None:
        """A command that would go on is ended when the time is over."""
        pid_file = tmp_path / "pid"
        script = f"import os; open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n{BUSY}"
        output = tmp_path / "out.csv"
        done = damon("-o", str(output), "--for", "1s", "--", sys.executable, "-c", script)
        assert done.returncode == 0, done.stderr
        assert not Path(f"/proc/{pid_file.read_text()}").exists()

    def test_options_of_the_command_are_its_own(self, tmp_path: Path) -> None:
        """What follows -- isn't taken for options of damon record."""
        output = tmp_path / "out.csv"
        done = damon("-o", str(output), "--", "sleep", "--help")
        assert "Usage: sleep" in done.stdout

    def test_until_the_target_ends(self, busy: int, tmp_path: Path) -> None:
        """Without a time it goes on until the process has ended."""
        output = tmp_path / "out.csv"
        with recording(busy, output) as recorder:
            wait_for_rows(output)
            os.kill(busy, signal.SIGKILL)
            assert recorder.wait(60) == 0

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_in_order(
        self, number: signal.Signals, busy: int, tmp_path: Path
    ) -> None:
        """SIGINT and SIGTERM end the recording; the summary comes and the file is whole."""
        output = tmp_path / "out.csv"
        with recording(busy, output) as recorder:
            wait_for_rows(output)
            recorder.send_signal(number)
            shown, _ = recorder.communicate(timeout=60)
        assert recorder.returncode == 0
        assert f"{len(read(output))} rows" in shown

    def test_no_display_away_from_a_terminal(self, busy: int, tmp_path: Path) -> None:
        """Standard error has the log alone, and nothing has control codes."""
        done = damon("--pid", str(busy), "--for", "1s", "-o", str(tmp_path / "out.csv"))
        assert all(line.startswith("damon: ") for line in done.stderr.splitlines())
        assert "\x1b" not in done.stdout + done.stderr

    def test_display_on_a_terminal(
        self, busy: int, tmp_path: Path, in_terminal: Callable[..., str]
    ) -> None:
        """On a terminal the display shows the working set and the interval in force."""
        options = ["--pid", busy, "--for", "1s", "-o", tmp_path / "out.csv"]
        shown = in_terminal([*RECORD, *options], stdout=subprocess.DEVNULL)
        for heading in (
            *("working set", "idle", "interval", "missed", "CPU", "slowdown"),
            "of 1 s",
        ):
            assert heading in shown


class TestMistakes:
    @pytest.mark.parametrize(
        "what",
        [[], ["--pid", "1", "--cgroup", "/"], ["--pid", "1", "true"], ["--paddr", "true"]],
    )
    def test_exactly_one_target(self, what: list[str], tmp_path: Path) -> None:
        """None or two of pid, cgroup, paddr and command are refused."""
        done = mistaken("-o", str(tmp_path / "out.csv"), *what)
        assert done.exit_code == 2
        assert (
            "exactly one of --pid, --cgroup, --match, --paddr, --kdamond and a COMMAND"
            in done.stderr
        )

    def test_the_machine_has_no_descendants(self, tmp_path: Path) -> None:
        """--descendants with --paddr is refused, not passed over."""
        done = mistaken("-o", str(tmp_path / "out.csv"), "--paddr", "--descendants")
        assert done.exit_code == 2
        assert "--descendants means nothing with --paddr" in done.stderr

    def test_the_machine_is_watched_by_the_primitive_for_it(self, tmp_path: Path) -> None:
        """--paddr chooses among the backends of physical memory."""
        done = mistaken("-o", str(tmp_path / "out.csv"), "--paddr", "--backend", "nonsense")
        assert done.exit_code == 2
        assert "there is no backend 'nonsense'; known: auto, idle, kernel" in done.stderr

    def test_unknown_ending(self, tmp_path: Path) -> None:
        """A file whose ending is of no format is refused with the possible ones."""
        done = mistaken("-o", str(tmp_path / "out.txt"), "true")
        assert done.exit_code == 2
        assert ".csv" in done.stderr.partition("possible: ")[2]
        assert ".parquet" in done.stderr.partition("possible: ")[2]

    def test_no_such_process(self, tmp_path: Path) -> None:
        """A pid without a process is reported in one line."""
        done = mistaken("--pid", "4194304", "-o", str(tmp_path / "out.csv"))
        assert done.exit_code == 2
        assert "4194304" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_a_command_that_is_not_there(self, tmp_path: Path) -> None:
        """A misspelt command is reported in one line."""
        done = mistaken("-o", str(tmp_path / "out.csv"), "--", "no-such-program")
        assert done.exit_code == 2
        assert "no-such-program" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_a_command_that_may_not_be_executed(self, tmp_path: Path) -> None:
        """It isn't said to be missing."""
        done = mistaken("-o", str(tmp_path / "out.csv"), "--", str(tmp_path))
        assert done.exit_code == 2
        assert done.stderr.endswith(f"command '{tmp_path}': it is a directory, not a program\n")

    @pytest.mark.needs("root")
    def test_an_empty_cgroup_is_a_failure(self, cgroup: Path, tmp_path: Path) -> None:
        """No row was written: the exit code says so, and the messages why."""
        output = tmp_path / "out.csv"
        done = damon("--cgroup", str(cgroup), "--for", "1s", "-o", str(output))
        assert done.returncode == 1
        assert f"cgroup '{cgroup}' has no processes now" in done.stderr
        assert "nothing was recorded: in none of" in done.stderr

    def test_a_mistake_moves_no_record_aside(self, tmp_path: Path) -> None:
        """What was recorded before stays where it is if there is nothing to watch."""
        output = tmp_path / "out.parquet"
        output.write_bytes(b"a record")
        mistaken("--pid", "4194304", "-o", str(output))
        assert [each.name for each in tmp_path.iterdir()] == ["out.parquet"]

    def test_nothing_starts_without_an_output(self, tmp_path: Path) -> None:
        """A command isn't started if the file can't be written."""
        started = tmp_path / "started"
        done = mistaken("-o", str(tmp_path / "none" / "out.csv"), "--", "touch", str(started))
        assert done.exit_code == 2
        assert not started.exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--sampling", "1s", "--aggregation", "100ms"], "shorter than the sampling interval"),
            (["--min-regions", "20", "--max-regions", "10"], "must not be below min_regions"),
            (["--sampling", "5"], "write a duration"),
            (["--for", "0s"], "'0s' is not above 0"),
            (["--cgroup", ""], "--cgroup is empty"),
            (["--cpu-budget", "5 cores"], "'5 cores' is not a share above 0%, up to 100%"),
            (["--backend", "nonsense"], "nonsense"),
        ],
    )
    def test_bad_attributes(self, options: list[str], message: str, tmp_path: Path) -> None:
        """Impossible intervals, limits and backends are reported."""
        done = mistaken("-o", str(tmp_path / "out.csv"), *options, "--", "true")
        assert done.exit_code == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.slow
    def test_nothing_recorded_is_a_failure(self, tmp_path: Path) -> None:
        """A command that ends before the first aggregation leaves exit code 1 and the reason."""
        done = damon("-o", str(tmp_path / "out.csv"), "--aggregation", "1m", "--", "sleep", "1")
        assert done.returncode == 1
        assert done.stderr.endswith(
            "before the first aggregation was complete: one takes 1m; a shorter --aggregation "
            "helps\n"
        )

    @pytest.mark.slow
    def test_that_nothing_may_be_recorded_is_said_at_once(self, tmp_path: Path) -> None:
        """Who records a kernel's DAMON with long intervals needn't wait to learn it."""
        options = ["--aggregation", "1m", "--for", "1s"]
        done = damon("-o", str(tmp_path / "out.csv"), *options, "--", "sleep", "60")
        assert "one aggregation takes 1m, longer than --for 1s: there may be" in done.stderr

    def test_nothing_recorded_because_of_the_budget(self) -> None:
        """The interval in force is named, and what would change it."""
        said = _why_nothing(86_000_000, 100_000)
        assert "one takes 1m26s instead of 100ms, to keep within --cpu-budget; " in said

    def test_nothing_recorded_of_a_running_kdamond(self) -> None:
        """Its intervals are the kernel's: only waiting helps."""
        said = _why_nothing(43_200_000, 43_200_000, "a longer --for")
        assert said.endswith("one takes 43.2s; a longer --for helps")

    @pytest.mark.slow
    def test_a_full_disk_ends_the_recording(self, busy: int, tmp_path: Path) -> None:
        """When rows can't be written any more it ends by itself, with exit code 1."""
        output = tmp_path / "out.csv"
        # 16 KiB: more than the first rows of an interpreter with many libraries take. Older Pythons
        # would leave compiled code cut there, which can't be read (python/cpython#126606).
        limit = 'ulimit -f 32; export PYTHONDONTWRITEBYTECODE=1; exec "$@"'
        limited = ["sh", "-c", limit, "sh", *RECORD]
        done = subprocess.run(
            [*limited, "--pid", str(busy), "-o", str(output)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"damon: {output} is not complete")
        assert read(output)


class Terminal:
    """A program in a terminal of its own, into which a test types.

    Attributes:
        shown: What it has shown so far.
    """

    def __init__(self, *command: str) -> None:
        self.shown = ""
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.execv(command[0], command)

    def until_shown(self, text: str) -> None:
        """Wait until the program has shown a text."""
        self.until(lambda: text in self.shown)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has happened, and show what the program shows meanwhile."""

        def happened() -> bool:
            if select.select([self._terminal], [], [], 0)[0]:
                self.shown += os.read(self._terminal, 4096).decode(errors="replace")
            return condition()

        eventually(happened)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._terminal, text.encode())

    def until_ended(self) -> int:
        """Wait until the program has ended; return its exit code."""
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while part := os.read(self._terminal, 4096):
                self.shown += part.decode(errors="replace")
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


CTRL_C = "\x03"
#: Saves its work when it is interrupted, as servers do, and in another way when it is terminated.
SAVING = (
    "trap 'echo sav''ing; read -t 1; echo sav''ed; exit' INT; trap 'echo termi''nated; exit' TERM;"
    "echo rea''dy; while :; do read -t 0.1; done"
)
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: print("ignored", flush=True))
signal.signal(signal.SIGTERM, lambda *_: (print("termi" + "nated", flush=True), sys.exit()))
print("rea" + "dy", flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.mark.slow
class TestCtrlC:
    def test_a_command_ends_by_itself(self, tmp_path: Path) -> None:
        """Ctrl-C reaches it as well: it gets the time that it needs, and the summary comes."""
        output = tmp_path / "a.csv"
        terminal = Terminal(*RECORD, "-o", str(output), "--", "bash", "-c", SAVING)
        terminal.until_shown("ready")
        terminal.until(lambda: has_rows(output))
        terminal.type(CTRL_C)
        assert terminal.until_ended() == 0, terminal.shown
        assert "saved" in terminal.shown
        assert "terminated" not in terminal.shown
        assert "rows went to" in terminal.shown

    def test_a_second_one_ends_a_command(self, tmp_path: Path) -> None:
        """It is sent SIGTERM."""
        output = tmp_path / "a.csv"
        terminal = Terminal(*RECORD, "-o", str(output), "--", sys.executable, "-c", STUBBORN)
        terminal.until_shown("ready")
        terminal.until(lambda: has_rows(output))
        terminal.type(CTRL_C)
        terminal.until_shown("waiting for the command to end; Ctrl-C again ends it")
        assert "terminated" not in terminal.shown
        terminal.type(CTRL_C)
        assert terminal.until_ended() == 0, terminal.shown
        assert "terminated" in terminal.shown


def test_help_has_examples() -> None:
    """The help shows how it is called."""
    assert "damon record --pid 1234 --for 30s\n" in damon("--help").stdout


def test_pages_in_a_format_that_keeps_none(tmp_path: Path, busy: int) -> None:
    """It is refused before anything is watched, with what would do."""
    done = damon("--pid", str(busy), "--pages", "-o", str(tmp_path / "out.csv"))
    assert done.returncode == 2
    assert "can't keep every page in the format csv; possible: .parquet" in done.stderr


@pytest.mark.slow
def test_pages_of_a_backend_that_knows_none(tmp_path: Path, busy: int) -> None:
    """The record is made, and why it has none is said."""
    output = str(tmp_path / "out.parquet")
    done = damon("--pid", str(busy), "--pages", "-o", output, "--for", "1s")
    assert done.returncode == 0
    assert "no page is in it: the backend referenced doesn't know every page" in done.stdout


@pytest.mark.needs("root", "page-tables")
def test_pages_are_recorded(tmp_path: Path, busy: int) -> None:
    """The MiB that the program uses is in them, to the page."""
    output = tmp_path / "out.parquet"
    done = damon(
        *("--pid", str(busy), "--pages", "-o", str(output), "--for", "3s"),
        *("--backend", "pagetable", "--aggregation", "500ms", "--sampling", "100ms"),
    )
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(output, columns=["pages"]).column("pages").drop_null().to_pylist()
    longest, runs = rows[-1]["longest"], rows[-1]["runs"]
    assert sum(run["pages"] for run in runs if run["period"] <= longest) >= 256
