"""A terminal in which commands of the documentation run, without a new interpreter for each.

This module is also the program that it talks to: it has imported everything, and forks for each
command.
"""

import contextlib
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import frozen

from damon_core import Plugins

ROOT = Path(__file__).parents[2]
#: What only a shell does.
_SHELL = re.compile(r"[|&;<>*?$()\n]")


@frozen
class Done:
    """A command that has ended.

    Attributes:
        output: What it printed.
        code: Its exit code.
    """

    output: str
    code: int


class Terminal:
    """Runs commands in a terminal of 80 columns that has no colours."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.documentation.terminal"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, command: str, folder: Path, **variables: str) -> Done:
        """Run a command line in a folder, and return what came of it."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder), "COLUMNS": "80", "TERM": "dumb", **variables,
        }  # fmt: skip
        words = ["bash", "-c", command]
        if command.startswith("damon ") and not _SHELL.search(command):
            words = shlex.split(command)
        request = {"words": words, "folder": str(folder), "environment": environment}
        print(json.dumps(request), file=self._program.stdin, flush=True)
        return Done(**json.loads(self._program.stdout.readline()))

    def close(self) -> None:
        """End the program."""
        self._program.communicate()


def _serve() -> None:
    """Run what is asked for, one command after the other."""
    # What commands import when they run.
    for module in ("damon_cli.main", "damon_report.command", "rich.table", "matplotlib.figure"):
        import_module(module)
    Plugins.discover().infos()
    for line in sys.stdin:
        request = json.loads(line)
        pid, terminal = pty.fork()
        if pid == 0:
            _become(**request)
        printed = b""
        # Reading ends with an error once all programs have closed the terminal.
        with contextlib.suppress(OSError):
            while part := os.read(terminal, 4096):
                printed += part
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        output = printed.decode().replace("\r\n", "\n")
        answer = {"output": output, "code": os.waitstatus_to_exitcode(status)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _become(words: list[str], folder: str, environment: Mapping[str, str]) -> None:
    """Be a command, in a process of its own."""
    os.chdir(folder)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    if words[0] != "damon":
        os.execvpe(words[0], words, environment)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    for number, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8"))
    code: Any = 1
    try:
        from damon_cli.main import main

        main(words[1:], prog_name="damon")
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve()
