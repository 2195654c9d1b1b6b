"""Reading the configuration again by `/-/reload`, and what metrics say of it."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest
from attrs import frozen

from damon_core.testing import eventually

DAMON = Path(sys.executable).parent / "damon"
CONTEXT = """
[[context]]
name = "{name}"
sampling_interval = "5ms"
aggregation_interval = "20ms"
{key}
[context.primitive]
use = "sim"
size = "1MiB"
uniform = {{ rate = 0.5 }}
"""
METRICS = """
[[context.callback]]
use = "prometheus"
port = 0
reload = {reload}
"""


@frozen
class Service:
    """A `damon run` that serves metrics.

    Attributes:
        process: The process.
        file: Its configuration.
        url: Where it listens.
        log: Its log.
    """

    process: "subprocess.Popen[bytes]"
    file: Path
    url: str
    log: Path

    def configure(self, *names: str, key: str = "") -> None:
        """Add contexts, or one with a wrong key, to the one that serves."""
        first = self.file.read_text().partition("# more\n")[0]
        more = "".join(CONTEXT.format(name=name, key=key) for name in names)
        self.file.write_text(f"{first}# more\n{more}")

    def ask(self, method: str = "POST", **headers: str) -> tuple[int, str]:
        """Return what is answered at ``/-/reload``."""
        request = urllib.request.Request(f"{self.url}/-/reload", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """Return the value of the only series of a metric."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        (value,) = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
        return float(value)


Start = Callable[[str], Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts `damon run`, with or without reloads by clients."""
    started = []

    def port(pid: int) -> int | None:
        """Return where a process listens."""
        inodes = set()
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(os.readlink(each).removeprefix("socket:[").removesuffix("]"))
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                return int(words[1].partition(":")[2], 16)
        return None

    def begin(reload: str) -> Service:
        file, log = tmp_path / "damon.toml", tmp_path / "log"
        file.write_text(CONTEXT.format(name="a", key="") + METRICS.format(reload=reload))
        with open(log, "w") as stream:
            process = subprocess.Popen([DAMON, "run", file], stderr=stream)
        started.append(process)
        eventually(lambda: "started, with 1 context" in log.read_text())
        return Service(process, file, f"http://127.0.0.1:{port(process.pid)}", log)

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_a_client_has_the_configuration_read_again(start: Start) -> None:
    """The answer comes when it is in force."""
    service = start("true")
    service.configure("b")
    assert service.ask() == (200, "the configuration was read again, and is in force\n")
    assert "context 'b' begins" in service.log.read_text()


def test_a_client_learns_what_is_wrong(start: Start) -> None:
    """And the metric has it until a configuration is in force again."""
    service = start("true")
    service.configure("b", key="nam = 1")
    status, text = service.ask()
    assert status == 500
    assert "context[1].nam: unknown key; did you mean 'name'?" in text
    assert service.metric("damon_config_last_reload_successful") == 0
    service.configure("b")
    assert service.ask()[0] == 200
    assert service.metric("damon_config_last_reload_successful") == 1


def test_it_has_to_be_enabled(start: Start) -> None:
    """By default nobody can have it read."""
    service = start("false")
    service.configure("b")
    assert service.ask()[0] == 403
    assert "context 'b' begins" not in service.log.read_text()


def test_only_post_has_an_effect(start: Start) -> None:
    """What browsers and crawlers do to every address has none."""
    assert start("true").ask("GET") == (405, "405 Method Not Allowed: use POST\n")


def test_pages_of_other_sites_have_no_effect(start: Start) -> None:
    """A browser says where a request comes from."""
    assert start("true").ask(Origin="http://example.org")[0] == 403


def test_the_time_is_that_of_what_is_in_force(start: Start) -> None:
    """A broken file doesn't change it, a right one does; SIGHUP counts as well."""
    service = start("true")
    name = "damon_config_last_reload_timestamp_seconds"
    before = service.metric(name)
    service.configure("b", key="nam = 1")
    service.ask()
    assert service.metric(name) == before
    service.configure()
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.metric(name) > before)
