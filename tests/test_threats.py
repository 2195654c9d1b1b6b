"""What docs/threats.md claims and no other test shows: a real `damon run`, seen from outside."""

import csv
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from damon_core.testing import eventually

ROOT = Path(__file__).parents[1]
THREATS = ROOT / "docs/threats.md"
DAMON = Path(sys.executable).parent / "damon"
_CONTEXT = """
[[context]]
name = "seen"
aggregation_interval = "200ms"
[context.primitive]
use = "vaddr"
pid = {pid}
backend = "referenced"
[[context.callback]]
use = "csv"
path = "rows.csv"
[[context.callback]]
use = "parquet"
path = "rows.parquet"
"""
_LISTENER = """
[[context.callback]]
use = "prometheus"
port = 0
"""


class Seen:
    """A `damon run` whose files are made in a folder."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.target = subprocess.Popen(["sleep", "600"])
        (folder / "damon.toml").write_text(text.format(pid=self.target.pid))
        self.process = subprocess.Popen(
            [DAMON, "run", "damon.toml"], cwd=folder, stderr=subprocess.DEVNULL, umask=0o022
        )

    def addresses(self) -> set[int]:
        """Return the addresses of regions, once there are some."""
        path = self.folder / "rows.csv"

        def rows() -> list[dict[str, str]]:
            if not path.exists():
                return []
            with path.open(newline="") as file:
                return list(csv.DictReader(file))[:-1]

        return {int(row[name]) for row in eventually(rows) for name in ("start", "end")}

    def sockets(self) -> list[tuple[str, int]]:
        """Return the addresses and ports of the network that it has open."""
        found = psutil.Process(self.process.pid).net_connections(kind="inet")
        return [(each.laddr.ip, each.laddr.port) for each in found]

    def end(self) -> None:
        """Stop it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.target.kill()
        self.target.wait()


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A run with metrics."""
    seen = Seen(tmp_path_factory.mktemp("listening"), _CONTEXT + _LISTENER)
    yield seen
    seen.end()


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A run without."""
    seen = Seen(tmp_path_factory.mktemp("silent"), _CONTEXT)
    yield seen
    seen.end()


@pytest.mark.slow
def test_only_this_machine_can_ask_for_metrics(listening: Seen) -> None:
    """Unless another address is configured."""
    listening.addresses()
    (socket,) = listening.sockets()
    assert socket[0] == "127.0.0.1"


def test_metrics_have_no_addresses_of_memory(listening: Seen) -> None:
    """Neither as numbers nor in names."""
    addresses = {each for each in listening.addresses() if each > 1 << 20}
    ((host, port),) = listening.sockets()
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    assert "damon_working_set_bytes" in text
    numbers = {int(float(each)) for each in re.findall(r"(?<= )[0-9.e+]+$", text, re.MULTILINE)}
    assert addresses
    assert not addresses & numbers
    assert not [each for each in addresses if f"{each:x}" in text]


@pytest.mark.slow
def test_nothing_listens_and_nothing_is_sent_unasked(silent: Seen) -> None:
    """Without a callback that does."""
    silent.addresses()
    assert silent.sockets() == []


def test_records_are_for_their_owner_alone(silent: Seen) -> None:
    """Whatever the umask."""
    silent.addresses()
    eventually((silent.folder / "rows.parquet").exists)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in silent.folder.glob("rows*")}
    assert set(modes.values()) == {0o600}
    assert {"rows.csv", "rows.parquet"} <= set(modes)


def test_tests_that_are_named_exist() -> None:
    """Each claim has one, and a name that has changed is found."""
    named = set(re.findall(r"`(test_\w+)`", THREATS.read_text(encoding="utf-8")))
    paths = [*ROOT.glob("plugins/*/tests/test_*.py"), *ROOT.glob("tests/**/test_*.py")]
    known = {path.stem for path in paths}
    for path in paths:
        known |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    assert len(named) > 20
    assert named - known == set()
