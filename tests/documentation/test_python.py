"""Python of the documentation runs as it is printed, and prints what stands below it."""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from damon_cgroup import hierarchies

from damon_core import Context, stop
from damon_core.testing import eventually, free_port
from tests.documentation.collecting import PAGES, ROOT, Block, blocks, shows
from tests.workers import Worker

#: What examples have where readers put what is theirs.
_PID, _CGROUP, _PORT = r"\b1234\b", "system.slice/redis-server.service", r"\b9464\b"


def _is_tried(block: Block) -> bool:
    return block.language == "python" and block.runs


def _pages() -> list[Any]:
    """Return the pages that have Python, with what it needs."""
    found = []
    for page in PAGES:
        tried = [block for block in blocks(page) if _is_tried(block)]
        needs = {need for block in tried for need in block.needs}
        if tried:
            marks: list[Any] = [pytest.mark.needs(*sorted(needs))] if needs else []
            if needs:  # where it is emulated, everything is imported slowly
                marks.append(pytest.mark.slow_in_lab)
            found.append(pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks))
    return found


@pytest.mark.parametrize("page", _pages())
def test_python_runs(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Block by block, in a folder with files that the page speaks of."""
    monkeypatch.chdir(folder)
    outputs = {each.follows: each for each in blocks(page) if each.language == "text"}
    with contextlib.ExitStack() as stack:
        for block in filter(_is_tried, blocks(page)):
            code = _as_of_a_reader(block.text, stack, request)
            names = {"__name__": "documentation", "wait_for_a_result": _wait_for_a_result}
            exec(compile(block.marks.get("before", ""), f"{block} (before)", "exec"), names)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), _ended(names):
                exec(compile("\n" * (block.line - 1) + code, str(page), "exec"), names)
            if block in outputs:
                assert shows(outputs[block].text, printed.getvalue()), printed.getvalue()


def _as_of_a_reader(code: str, stack: contextlib.ExitStack, request: pytest.FixtureRequest) -> str:
    """Return an example with what readers have to choose, and without long waits."""
    code = re.sub(r"(\w+)\.wait\(\d+\)", r"wait_for_a_result(\1)", code)
    if re.search(_PORT, code):
        code = re.sub(_PORT, str(free_port()), code)
    if re.search(_PID, code) or _CGROUP in code:
        process: Worker = request.getfixturevalue("process")
        code = re.sub(_PID, str(process.pid), code)
        if _CGROUP in code:
            code = code.replace(_CGROUP, str(stack.enter_context(_cgroup_of(process.pid))))
    return code


@contextlib.contextmanager
def _cgroup_of(pid: int) -> Iterator[Path]:
    """Put a process into a cgroup of its own for a while."""
    mount = next(each.mount for each in hierarchies() if os.access(each.mount, os.W_OK))
    folder = mount / f"damon-documentation-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "cgroup.procs").write_text(str(pid))
        yield folder
    finally:
        (mount / "cgroup.procs").write_text(str(pid))
        folder.rmdir()


def _wait_for_a_result(context: Context) -> None:
    """Wait until a context has its first aggregation, or has ended."""
    eventually(lambda: context.snapshot is not None or not context.running)


@contextlib.contextmanager
def _ended(names: Mapping[str, Any]) -> Iterator[None]:
    """End what an example leaves running, once it has had a result."""
    try:
        yield
    finally:
        contexts = [each for each in names.values() if isinstance(each, Context)]
        for context in contexts:
            if context.running:
                _wait_for_a_result(context)
                stop(context)
        for context in contexts:
            context.close()
    assert [context.error for context in contexts if context.error] == []
