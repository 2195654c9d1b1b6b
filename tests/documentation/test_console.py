"""Sessions in a terminal that the documentation shows are what happens."""

import contextlib
import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation.collecting import PAGES, ROOT, Block, blocks

_CHECKER = doctest.OutputChecker()
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: The first line of a block that is a file: its name.
_FILE = re.compile(r"# (\w+\.(?:py|toml))\n")


def _runs(block: Block) -> bool:
    return block.language == "console" and not block.not_run


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(map(_runs, blocks(page)))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_sessions_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    """Commands run one after the other, beside the files of the page; `...` is any text."""
    wrong = []
    for block in blocks(page):
        if (name := _FILE.match(block.text)) and block.language in ("python", "toml"):
            (tmp_path / name[1]).write_text(block.text)
        if not _runs(block):
            continue
        for session in re.split(r"(?m)^\$ ", block.text)[1:]:
            command, _, expected = session.partition("\n")
            found = _run(command, tmp_path)
            if not _CHECKER.check_output(expected, found, _FLAGS):
                wrong.append(f"{block}\n$ {command}\n{found}")
    assert not wrong, "\n".join(wrong)


def _run(command: str, directory: Path) -> str:
    """Return what a command prints, in a terminal of 80 columns that has no colours."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(directory), "COLUMNS": "80", "TERM": "dumb"}
    ours, its = os.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        program = subprocess.Popen(
            ["bash", "-c", command], cwd=directory, env=environment,
            stdin=subprocess.DEVNULL, stdout=its, stderr=its,
        )  # fmt: skip
        os.close(its)
        printed = b""
        # Reading ends with an error once all programs have closed the terminal.
        with contextlib.suppress(OSError):
            while part := terminal.read(4096):
                printed += part
        program.wait(60)
    return printed.decode().replace("\r\n", "\n")
