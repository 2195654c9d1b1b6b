"""The labels of real processes, and names of pods from the folders of a kubelet."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from damon_vaddr.identity import Identities
from damon_vaddr.pods import PodName, PodNames
from damon_vaddr.processes import Process

UID = "74c13223-5a00-11e9-b385-42010a80018d"
ID = "34dc0b5e626f2c5c4c5170e34b10e7654ce36f0fcd532739f4445baabea03376"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A node's folder of logs, with one pod of two containers."""
    (tmp_path / "pods" / f"shop_web-7f9_{UID}" / "nginx").mkdir(parents=True)
    (tmp_path / "containers").mkdir()
    link = tmp_path / "containers" / f"web-7f9_shop_nginx-{ID}.log"
    link.symlink_to(tmp_path / "pods" / f"shop_web-7f9_{UID}" / "nginx" / "0.log")
    return tmp_path


def test_a_container_is_found_by_its_id(logs: Path) -> None:
    """The link to its log has all its names."""
    assert PodNames(logs).find(UID, ID) == PodName("shop", "web-7f9", "nginx")


def test_a_pod_is_found_by_its_uid(logs: Path) -> None:
    """Where the container isn't known, such as the one that holds a pod's namespaces."""
    assert PodNames(logs).find(UID, ID[::-1]) == PodName("shop", "web-7f9")


def test_a_pod_that_comes_later(logs: Path) -> None:
    """The folder is read again once it has changed."""
    names, other = PodNames(logs), UID[::-1]
    assert names.find(other, "") == PodName()
    (logs / "pods" / f"shop_db-0_{other}").mkdir()
    os.utime(logs / "pods", ns=(1, 1))  # however coarse the clock of the file system is
    assert names.find(other, "") == PodName("shop", "db-0")


def test_a_machine_without_a_kubelet(tmp_path: Path) -> None:
    """Nothing is known, and nothing is wrong."""
    assert PodNames(tmp_path).find(UID, ID) == PodName()


@pytest.fixture
def sleeper() -> Iterator[Process]:
    """A program that sleeps."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        process = Process.open(child.pid)
        yield process
        process.close()
        child.kill()


def test_labels_of_a_process(sleeper: Process) -> None:
    """Its pid, name, program and user."""
    labels = Identities().labels(sleeper)
    assert labels["pid"] == str(sleeper.pid)
    assert labels["exe"] == os.readlink(f"/proc/{sleeper.pid}/exe")
    assert labels["comm"] == Path(f"/proc/{sleeper.pid}/comm").read_text().strip()
    assert labels["user"]


def test_the_cgroup_of_a_process(sleeper: Process) -> None:
    """It is one of those that /proc shows."""
    text = Path(f"/proc/{sleeper.pid}/cgroup").read_text()
    assert f":{Identities().labels(sleeper)['cgroup']}\n" in text


def test_a_process_that_has_ended() -> None:
    """It has no labels any more."""
    with subprocess.Popen(["sleep", "600"]) as child:
        process = Process.open(child.pid)
        child.kill()
        child.wait()
    with pytest.raises(ProcessLookupError):
        Identities().labels(process)
    process.close()
