"""``damon top`` as people call it, in a terminal of its own."""

import fcntl
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path

import pytest

from damon_core.testing import eventually, free_port

DAMON = Path(sys.executable).with_name("damon")
#: A program that notes its pid, uses memory, and prints where the view is.
BUSY = """
import os, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
data = bytearray(1 << 20)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    data[::4096]
    print("NOISE", flush=True)
    print("NOISE", file=sys.stderr, flush=True)
    time.sleep(0.01)
"""
#: Makes the terminal that standard input is the controlling one, and becomes the program.
_AT_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A terminal of 80 by 24 characters, with one program in it.

    Attributes:
        process: The program.
        shown: What was written to the terminal so far.
    """

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._controller, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        names = ("NO_COLOR", "COLUMNS", "LINES", "COLORTERM")
        inherited = {key: value for key, value in os.environ.items() if key not in names}
        self.process = subprocess.Popen(
            # The tests themselves may run under nohup, which children would take over.
            [
                "env",
                "--default-signal=HUP",
                *[sys.executable, "-c", _AT_TERMINAL, str(DAMON), "top", *arguments],
            ],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**inherited, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        os.close(terminal)
        self.shown = ""

    def read(self) -> bool:
        """Read what there is; return whether there may be more."""
        if self._controller < 0 or not select.select([self._controller], [], [], 0.1)[0]:
            return self._controller >= 0
        try:
            self.shown += os.read(self._controller, 65536).decode(errors="replace")
        except OSError:  # EIO: nobody has the other side open any more
            self.hang_up()
        return self._controller >= 0

    def wait_for(self, text: str) -> None:
        """Read until a text was written; what is between characters doesn't matter."""
        deadline = time.monotonic() + 120
        while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.shown):
            assert time.monotonic() < deadline, self.shown
            assert self.read(), self.shown

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._controller, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal."""
        if self._controller >= 0:
            os.close(self._controller)
        self._controller = -1

    def end(self) -> int:
        """Read until the program has ended, and return its exit code."""
        deadline = time.monotonic() + 120
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
            self.read()
        while self._controller >= 0 and select.select([self._controller], [], [], 0)[0]:
            self.read()
        return self.process.returncode


@pytest.fixture
def terminals() -> Generator[list[Terminal], None, None]:
    """The terminals of a test, whose programs end with it."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        terminal.hang_up()


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    """Where the watched program notes its pid."""
    return tmp_path / "pid"


def busy(pid_file: Path, seconds: float = 600) -> list[str]:
    """Return the command of a program that uses memory and prints."""
    # With the backend named: the automatic choice may take the kernel's DAMON, which changes
    # state of the whole machine. Without limits: a busy machine would have messages of these.
    return [
        "--backend",
        "referenced",
        *("--cpu-budget", "100%", "--max-slowdown", "100%", "--max-stall", "1h"),
        "--",
        sys.executable,
        "-c",
        BUSY,
        str(pid_file),
        str(seconds),
    ]


def gone(pid_file: Path) -> bool:
    """Return whether the watched program has ended."""
    return not Path(f"/proc/{pid_file.read_text()}").exists()


@pytest.mark.slow
class TestTerminal:
    @pytest.mark.parametrize("key", ["q", "\x03"], ids=["q", "Ctrl-C"])
    def test_a_command_to_the_end(
        self, key: str, terminals: list[Terminal], pid_file: Path
    ) -> None:
        """A command is started and shown; both keys end it and the view, and nothing is left."""
        terminals.append(terminal := Terminal("--refresh", "200ms", *busy(pid_file)))
        terminal.wait_for("python")
        terminal.wait_for("REGION")
        terminal.press(key)
        assert terminal.end() == 0
        assert gone(pid_file)
        assert "NOISE" not in terminal.shown
        # Behind it are only lines of the log, as of a busy machine.
        assert "\x1b[?1049l\x1b[?25h\x1b[?1004l" in terminal.shown

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_signals(
        self, number: signal.Signals, terminals: list[Terminal], pid_file: Path
    ) -> None:
        """A signal ends everything in order and gives the terminal back."""
        terminals.append(terminal := Terminal(*busy(pid_file)))
        terminal.wait_for("python")
        terminal.process.send_signal(number)
        assert terminal.end() == 0
        assert gone(pid_file)
        assert "\x1b[?1049l" in terminal.shown

    def test_a_terminal_that_is_closed(self, terminals: list[Terminal], pid_file: Path) -> None:
        """When ssh breaks off, neither the view nor the command goes on."""
        terminals.append(terminal := Terminal(*busy(pid_file)))
        terminal.wait_for("python")
        terminal.hang_up()
        terminal.end()
        assert gone(pid_file)

    @pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "vt100"}, {"TERM": "dumb"}])
    def test_without_colour(
        self, plain: dict[str, str], terminals: list[Terminal], pid_file: Path
    ) -> None:
        """Where there are no colours none is asked for, and every character is ASCII."""
        terminals.append(terminal := Terminal(*busy(pid_file), **plain))
        terminal.wait_for("python")
        terminal.press("q")
        assert terminal.end() == 0
        codes = re.findall(r"\x1b\[([0-9;]*)m", terminal.shown)
        # Bold, dim, reverse, and the terminal's own colours.
        used = {part for code in codes for part in code.split(";")}
        assert used <= {"0", "1", "2", "7", "39", "49"}
        assert terminal.shown.isascii()

    def test_the_last_picture_stays_until_it_is_left(
        self, terminals: list[Terminal], pid_file: Path
    ) -> None:
        """The end of the target is shown, and isn't the end of the view."""
        terminals.append(terminal := Terminal("--refresh", "200ms", *busy(pid_file, 2)))
        terminal.wait_for("ended")
        assert terminal.process.poll() is None
        terminal.press("q")
        assert terminal.end() == 0

    def test_a_configuration_with_alerts(self, terminals: list[Terminal], tmp_path: Path) -> None:
        """Contexts of a file run with their callbacks, and alerts that fire are shown."""
        config = tmp_path / "damon.toml"
        config.write_text(CONFIG.format(rows=tmp_path / "rows.csv"))
        terminals.append(terminal := Terminal(str(config)))
        terminal.wait_for("ALERT large (critical): working set of simulated")
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.shown.count("damon: CRITICAL: alert large (critical) is firing") == 1
        assert len((tmp_path / "rows.csv").read_text().splitlines()) > 1

    def test_a_failure(self, terminals: list[Terminal], tmp_path: Path) -> None:
        """The error of a primitive is on the screen, and afterwards in the terminal."""
        (tmp_path / "pattern.py").write_text(PATTERN)
        config = tmp_path / "damon.toml"
        config.write_text(
            "[[context]]\n[context.primitive]\n"
            "use = 'sim'\nsize = '1GiB'\nfunction = 'pattern:rates'\n"
        )
        terminals.append(terminal := Terminal(str(config), PYTHONPATH=str(tmp_path)))
        terminal.wait_for("failed: the pattern rates failed: RuntimeError: no more")
        terminal.press("q")
        assert terminal.end() == 1
        reported = terminal.shown.splitlines()[-1]
        assert reported.endswith("damon: the pattern rates failed: RuntimeError: no more")


CONFIG = """
[[context]]
name = "simulated"
[context.primitive]
use = "sim"
size = "1GiB"
uniform = {{ rate = 1.0 }}
[[context.callback]]
use = "csv"
path = "{rows}"
[[context.callback]]
use = "alert"
[[context.callback.rule]]
name = "large"
when = "working_set"
above = "64MiB"
severity = "critical"
"""

PATTERN = """
import numpy
def rates(addresses, time_us):
    if time_us > 1_000_000:
        raise RuntimeError("no more")
    return numpy.ones(len(addresses))
"""


def damon(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``damon top`` away from a terminal."""
    return subprocess.run(
        [DAMON, "top", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class TestMistakes:
    def test_no_terminal(self, pid_file: Path) -> None:
        """Without a terminal one line says so, and nothing is started."""
        done = damon(*busy(pid_file))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("damon: damon top needs a terminal")
        assert len(done.stderr.splitlines()) == 1
        assert not pid_file.exists()

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            ([], "give exactly one of --pid, --cgroup, --match, --paddr, --kdamond and a COMMAND"),
            (["--sampling", "1ms", "x.toml"], "--sampling means nothing with a configuration file"),
            (["x.toml"], "x.toml: can't be read: No such file or directory"),
            (["--", "no-such-program"], "no-such-program"),
            (["--refresh", "1ms", "true"], "must be at least 100ms"),
            (["--serve", "x", "true"], "'x' is not [HOST:]PORT"),
        ],
    )
    def test_told_before_the_screen(
        self, arguments: list[str], line: str, terminals: list[Terminal]
    ) -> None:
        """What can't be watched is reported in the terminal as it is, with exit code 2."""
        terminals.append(terminal := Terminal(*arguments))
        assert terminal.end() == 2
        assert line in terminal.shown
        assert "\x1b[?1049h" not in terminal.shown


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
class TestBrowser:
    @pytest.fixture
    def port(self) -> Generator[int, None, None]:
        """The port of a server."""
        port = free_port()
        command = [
            str(DAMON),
            "top",
            "--serve",
            str(port),
            "--backend",
            "referenced",
            "sleep",
            "60",
        ]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert f"http://127.0.0.1:{port}" in server.stdout.readline()
        eventually(lambda: _listens(port))
        yield port
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)

    def test_a_page(self, port: int) -> None:
        """There is a page with the view."""
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read().decode()
        assert f"ws://127.0.0.1:{port}/ws" in page

    @pytest.mark.parametrize("origin", ["http://elsewhere.example", None])
    def test_other_pages_may_not_watch(self, origin: str | None, port: int) -> None:
        """Only the page itself may connect: others in the same browser are refused."""
        request = urllib.request.Request(f"http://127.0.0.1:{port}/ws")
        if origin is not None:
            request.add_header("Origin", origin)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=60)
        assert caught.value.code == 403
        caught.value.close()


def test_help_has_examples() -> None:
    """The help shows how it is called."""
    assert "damon top -- make -j2" in damon("--help").stdout
