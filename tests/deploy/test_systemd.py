"""The unit of systemd: systemd's own judgement of it, and what the service may do."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.documentation.collecting import blocks

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/systemd/damon.service"
DROP_INS = [None, UNIT.parent / "pagetable.conf"]

each_variant = pytest.mark.parametrize("drop_in", DROP_INS, ids=["alone", "pagetable"])


def install(directory: Path, drop_in: Path | None) -> Path:
    """Write the unit as an operator has it, for a command that exists here."""
    unit = directory / UNIT.name
    damon = str(Path(sys.executable).parent / "damon")
    unit.write_text(UNIT.read_text().replace("/usr/bin/damon", damon))
    if drop_in is not None:
        (directory / f"{UNIT.name}.d").mkdir()
        (directory / f"{UNIT.name}.d" / drop_in.name).write_text(drop_in.read_text())
    return unit


def settings(path: Path) -> dict[str, list[str]]:
    """Return the words of all settings, by name."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, words in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
        found[name] += words.split()
    return found


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run systemd-analyze."""
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs("systemd-analyze")
@each_variant
def test_systemd_has_no_complaint(tmp_path: Path, drop_in: Path | None) -> None:
    """`systemd-analyze verify` prints nothing about the unit."""
    done = analyze("verify", install(tmp_path, drop_in))
    # It also loads what the unit stands behind, and complains of that.
    complaints = [line for line in done.stderr.splitlines() if "damon" in line]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.needs("systemd-analyze")
def test_documented_drop_ins_are_right(tmp_path: Path) -> None:
    """Those that docs/deployment.md shows."""
    for block in blocks(ROOT / "docs/deployment.md"):
        if block.language == "ini":
            drop_in = tmp_path / "documented.conf"
            drop_in.write_text(block.text)
            folder = tmp_path / str(block.line)
            folder.mkdir()
            done = analyze("verify", install(folder, drop_in))
            assert (done.returncode, "documented.conf" in done.stderr) == (0, False)


@pytest.mark.needs("systemd-analyze")
def test_a_mistake_would_be_found(tmp_path: Path) -> None:
    """`systemd-analyze verify` complains of a setting that doesn't exist."""
    unit = install(tmp_path, None)
    unit.write_text(unit.read_text().replace("[Service]\n", "[Service]\nProtectSystems=strict\n"))
    assert "ProtectSystems" in analyze("verify", unit).stderr


@pytest.mark.needs("systemd-analyze")
@each_variant
def test_exposure_is_low(tmp_path: Path, drop_in: Path | None) -> None:
    """`systemd-analyze security` calls it at most 2.5."""
    unit = install(tmp_path, drop_in)
    done = analyze("security", "--offline=yes", "--threshold=25", unit)
    assert done.returncode == 0, done.stdout[-200:]
    assert "Overall exposure level" in done.stdout


def test_its_capabilities_are_what_processes_of_others_take() -> None:
    """No more can be had by it than the two that reading and clearing need."""
    unit = settings(UNIT)
    needed = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]
    assert unit["CapabilityBoundingSet"] == needed
    assert unit["AmbientCapabilities"] == needed


def test_page_tables_take_two_more() -> None:
    """The drop-in adds what loading a BPF program needs, and that system call."""
    drop_in = settings(UNIT.parent / "pagetable.conf")
    assert drop_in["CapabilityBoundingSet"] == ["CAP_BPF", "CAP_PERFMON"]
    assert drop_in["AmbientCapabilities"] == ["CAP_BPF", "CAP_PERFMON"]
    assert drop_in["SystemCallFilter"] == ["bpf"]


def test_an_operators_example_is_right() -> None:
    """`damon check` accepts the configuration that is installed with it."""
    damon = Path(sys.executable).parent / "damon"
    command = [str(damon), "check", str(ROOT / "deploy/damon.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
