"""What is said of programs that can't be started."""

import os
import subprocess
from pathlib import Path

import pytest

from damon_core import why_not_a_program


@pytest.mark.parametrize("name", ["sh", "/bin/sh"])
def test_a_program_can_be_started(name: str) -> None:
    """By its name on the PATH or its path."""
    assert why_not_a_program(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "its name is empty"),
        ("no-such-program", "there is no program with this name on the PATH"),
        ("./no-such-program", "there is no such file"),
        ("./folder", "it is a directory, not a program"),
        ("./no-x", "it isn't executable: chmod +x it, or start it with its interpreter"),
        (
            "no-x",
            "there is no program with this name on the PATH: for the one in this directory write "
            "./no-x",
        ),
    ],
)
def test_the_reason_is_said(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "no-x").write_text("echo")
    monkeypatch.chdir(tmp_path)
    assert why_not_a_program(name) == reason


def test_a_file_on_the_path_that_is_not_executable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode is what is wrong, not its name."""
    (tmp_path / "no-x").write_text("echo")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path}")
    reason = why_not_a_program("no-x")
    assert reason is not None
    assert reason.startswith(f"{tmp_path}/no-x: it isn't executable")


@pytest.mark.needs("root")
def test_a_file_system_may_forbid_programs(tmp_path: Path) -> None:
    """With the mount option noexec the mode isn't what is wrong."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", tmp_path], check=True)
    try:
        script = tmp_path / "no-x"
        script.write_text("echo")
        script.chmod(0o755)
        reason = why_not_a_program(str(script))
        assert reason == "it may not be executed by this user, or from this file system"
    finally:
        subprocess.run(["umount", tmp_path], check=True)
