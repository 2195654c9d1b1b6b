"""Standard output of every kind: other encodings, a full disk, closed, a pipe that nobody reads."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DAMON = str(Path(sys.executable).parent / "damon")


def run(*arguments: str, **others: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command."""
    options = {"text": True, "timeout": 120, "stderr": subprocess.PIPE} | others
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [DAMON, *arguments], check=False, **options
    )
    return done


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["", "unbuffered"])
@pytest.mark.parametrize("command", ["--help", "plugins"])
@pytest.mark.slow
def test_a_full_disk_is_one_line(
    command: str, buffering: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help, too."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with Path("/dev/full").open("w") as full:
        done = run(command, stdout=full, env={**os.environ, **buffering})
    message = "damon: the output can't be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize("command", ["--help", "plugins"])
@pytest.mark.slow
def test_a_closed_output_is_one_line(command: str) -> None:
    """Not exit code 0 in silence."""
    done = run(command, preexec_fn=lambda: os.close(1))
    message = "damon: the output can't be written: it is closed\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize("command", ["--help", "plugins"])
@pytest.mark.slow
def test_a_pipe_that_nobody_reads_is_silent(command: str) -> None:
    """As with other programs."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = run(command, stdout=closed)
    assert (done.returncode, done.stderr) == (1, "")


def test_characters_that_an_encoding_lacks_are_written_otherwise(tmp_path: Path) -> None:
    """They are no reason to fail."""
    path = tmp_path / "a.toml"
    path.write_text(
        '[[context]]\nname = "x…"\n[context.primitive]\nuse = "sim"\nsize = "1GiB"\n'
        "uniform = { rate = 0.5 }\n"
    )
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = run("check", str(path), stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "x\\u2026: sim to nothing" in done.stdout
