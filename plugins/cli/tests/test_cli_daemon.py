"""``damon run`` as a service: another configuration, targets that come later, systemd, JSON."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_cli.notify import Notifier

from damon_core.testing import eventually

DAMON = Path(sys.executable).parent / "damon"
CONTEXT = """
[[context]]
name = "{name}"
sampling_interval = "5ms"
aggregation_interval = "20ms"
{keys}
[context.primitive]
use = "sim"
size = "1MiB"
uniform = {{ rate = 0.5 }}
[[context.callback]]
use = "csv"
path = "{path}"
"""

Start = Callable[..., "subprocess.Popen[str]"]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a configuration, with keys of contexts by their names."""

    def config(**contexts: str) -> Path:
        path = tmp_path / "damon.toml"
        path.write_text(
            "".join(
                CONTEXT.format(name=name, keys=keys, path=tmp_path / f"{name}.csv")
                for name, keys in contexts.items()
            )
        )
        return path

    return config


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts `damon run`, with its log in a file."""
    started = []

    def begin(*args: str | Path, **environment: str) -> "subprocess.Popen[str]":
        with open(tmp_path / "log", "w") as log:
            process = subprocess.Popen(
                [DAMON, "run", *args], stderr=log, text=True, env={**os.environ, **environment}
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def log_has(tmp_path: Path, text: str) -> None:
    """Wait until the log has a text."""
    eventually(lambda: text in (tmp_path / "log").read_text())


def test_a_reload_begins_what_is_new(write: Write, start: Start, tmp_path: Path) -> None:
    """Another context begins, and the one that is there goes on."""
    process = start(write(a=""))
    log_has(tmp_path, "context 'a' begins: sim to csv")
    write(a="", b="")
    process.send_signal(signal.SIGHUP)
    log_has(tmp_path, "context 'b' begins: sim to csv")
    log_has(tmp_path, "the configuration was read again, and is in force")
    process.terminate()
    assert process.wait(60) == 0
    assert (tmp_path / "log").read_text().count("context 'a' begins") == 1


def test_a_broken_file_changes_nothing(write: Write, start: Start, tmp_path: Path) -> None:
    """Its mistakes are logged."""
    process = start(write(a=""))
    log_has(tmp_path, "context 'a' begins")
    write(a="nam = 1")
    process.send_signal(signal.SIGHUP)
    log_has(tmp_path, "context[0].nam: unknown key; did you mean 'name'?")
    process.terminate()
    assert process.wait(60) == 0


def test_a_dead_pid_keeps_no_other_from_running(write: Write, start: Start, tmp_path: Path) -> None:
    """It is left out with a line, and the exit code says that something is missing."""
    path = write(a="")
    path.write_text(
        path.read_text()
        + """[[context]]
name = "dead"
[context.primitive]
use = "vaddr"
pid = 4194305
"""
    )
    process = start(path, "--for", "500ms")
    assert process.wait(60) == 1
    log = (tmp_path / "log").read_text()
    assert "context 'dead' can't begin: pid 4194305: there is no such process" in log
    assert f"started, with 2 contexts in {path}; 1 is left out\n" in log
    assert log.endswith("damon: context 'dead' was left out\n")
    assert (tmp_path / "a.csv").exists()


def test_strict(write: Write, start: Start, tmp_path: Path) -> None:
    """Then nothing runs without all targets."""
    path = write(a="")
    dead = '[[context]]\nname = "dead"\n[context.primitive]\nuse = "vaddr"\npid = 4194305\n'
    path.write_text(path.read_text() + dead)
    process = start(path, "--strict")
    assert process.wait(60) == 2
    assert not (tmp_path / "a.csv").exists()


def test_nothing_can_run(start: Start, tmp_path: Path) -> None:
    """That is the user's mistake."""
    path = tmp_path / "damon.toml"
    path.write_text('[[context]]\n[context.primitive]\nuse = "vaddr"\npid = 4194305\n')
    process = start(path)
    assert process.wait(60) == 2
    assert (tmp_path / "log").read_text().endswith("damon: pid 4194305: there is no such process\n")


def test_a_log_of_objects(write: Write, start: Start, tmp_path: Path) -> None:
    """One a line, with time, level and message."""
    process = start(write(a=""), "--log-format", "json", "--for", "200ms")
    assert process.wait(60) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert "context 'a' begins: sim to csv" in [line["message"] for line in lines]
    assert {frozenset(line) for line in lines} == {
        frozenset({"time", "level", "logger", "message"})
    }


@pytest.mark.parametrize("key", ["", "nam = 1"], ids=["a failure", "a mistake"])
@pytest.mark.slow
def test_why_it_ends_is_an_object_too(write: Write, start: Start, tmp_path: Path, key: str) -> None:
    """What reads the log understands every line of it."""
    path = write(a=key)
    path.write_text(
        path.read_text()
        + '[[context]]\nname = "b"\n[context.primitive]\nuse = "vaddr"\npid = 4194305\n'
    )
    process = start(path, "--log-format", "json", "--for", "100ms")
    assert process.wait(60) == (2 if key else 1)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    last = "unknown key; did you mean 'name'?" if key else "context 'b' was left out"
    assert lines[-1]["level"] == "ERROR"
    assert lines[-1]["message"].endswith(last)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which systemd is told of the state of services."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def heard(systemd: socket.socket, text: str) -> str:
    """Wait for a message that begins with a text, and return it."""
    while not (message := systemd.recv(4096).decode()).startswith(text):
        pass
    return message


def test_systemd_is_told(
    write: Write, start: Start, tmp_path: Path, systemd: socket.socket
) -> None:
    """Ready, what goes on, signs of life, a reload, and the end."""
    process = start(write(a=""), NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000")
    heard(systemd, "READY=1")
    assert heard(systemd, "STATUS=") == "STATUS=monitoring 1 context"
    heard(systemd, "WATCHDOG=1")
    process.send_signal(signal.SIGHUP)
    assert "\nMONOTONIC_USEC=" in heard(systemd, "RELOADING=1")
    heard(systemd, "READY=1")
    process.terminate()
    heard(systemd, "STOPPING=1")
    assert process.wait(60) == 0


def test_an_abstract_socket() -> None:
    """As systemd names it: with @ in front."""
    name = f"damon-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        Notifier(f"@{name}").ready()
        assert listening.recv(4096) == b"READY=1"


def test_a_status_is_sent_once(systemd: socket.socket, tmp_path: Path) -> None:
    """Only what has changed is worth a message."""
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.status("x")
    notifier.status("x")
    notifier.stopping()
    assert [systemd.recv(99), systemd.recv(99)] == [b"STATUS=x", b"STOPPING=1"]


def test_no_systemd() -> None:
    """Nothing happens, and nothing fails."""
    Notifier().ready()
    Notifier("/nonexistent/notify").ready()


def test_the_environment_is_not_left_to_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is monitored is another service's or none."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Notifier.of_environment().watchdog_s == 5
    assert "NOTIFY_SOCKET" not in os.environ


def test_a_watchdog_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't this program's to feed."""
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier.of_environment().watchdog_s == 0


@pytest.mark.slow
def test_a_factory_that_hangs(tmp_path: Path) -> None:
    """A signal ends it, and the line says which part was being made."""
    module = tmp_path / "site" / "hanging.py"
    module.parent.mkdir()
    module.write_text(
        "import time\n"
        "from damon_core import Callback, hookimpl\n"
        "@hookimpl\n"
        "def register_callbacks(register):\n"
        "    register(Callback('x', make))\n"
        "def make(options):\n"
        "    print('hangs', flush=True)\n"
        "    time.sleep(600)\n"
    )
    info = module.parent / "hanging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[damon]\ncallback.x = hanging\n")
    path = tmp_path / "damon.toml"
    path.write_text(
        '[[context]]\n[context.primitive]\nuse = "sim"\nsize = "1MiB"\nuniform = { rate = 0.5 }\n'
        '[[context.callback]]\nuse = "x"\n'
    )
    with subprocess.Popen(
        [DAMON, "run", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(module.parent)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "hangs\n"
        process.terminate()
        assert process.wait(60) == 1
        assert process.stderr.read().endswith(
            "damon: context[0].callback[0]: 'x' was being made when a signal came\n"
        )
