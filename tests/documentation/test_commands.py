"""Commands in the documentation are commands of `damon`, with options that there are."""

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from damon_cli.main import main

from tests.documentation.collecting import PAGES, ROOT, blocks, inline_codes

#: What stands for values that readers have to choose.
PLACEHOLDERS = {
    "PID": "1234",
    "N": "3",
    "TIME": "10s",
    "DATE": "2026-11-26",
    "SHARE": "5%",
    "DURATION": "10s",
    "LABEL=PATTERN": "comm=redis*",
    "KEY=VALUE": "seed=3",
    "COMMAND…": "true",
    "[HOST:]PORT": "8000",
    "…": "",
    "...": "",
}


def commands(page: Path) -> Iterator[str]:
    """Yield every command line of `damon` that a page has, without what surrounds it."""
    for block in blocks(page):
        if block.language not in ("", "console", "sh", "text"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if block.language in ("console", "text") and not line.startswith("$ "):
                continue
            yield from _of_line(line.removeprefix("$ "))
    for code in inline_codes(page):
        yield from _of_line(code)


def _of_line(line: str) -> Iterator[str]:
    """Yield the command in a line of a shell, if there is one."""
    match = re.match(r"(?:sudo (?:setpriv \S.*? (?=damon ))?|# )?(damon [^|;&>]*)", line)
    if match is not None:
        yield re.sub(r"\s+#.*", "", match[1]).strip()


def parse(line: str) -> None:
    """Parse a command line as `damon` does, without running anything.

    Raises:
        click.ClickException: It isn't right.
    """
    line = re.sub(r"\[(--[^\]]*)\]", r"\1", line)  # what may be left out
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line)[1:]]
    arguments = [word for word in words if word]
    context = main.make_context("damon", [], resilient_parsing=True)
    if not arguments or arguments[0].startswith("-"):
        main.make_context("damon", arguments, resilient_parsing=True)
        return
    if arguments[0] == "example":
        return  # examples/damon-example-plugin, which tests/test_thirdparty.py installs
    command: click.Command = main
    name, rest = "damon", arguments
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if "NAME" in rest[0]:
            return  # any of them
        found, inner, rest = command.resolve_command(context, rest)
        if inner is None:
            raise click.UsageError(f"no command {found}")
        name, command = found or "", inner
        if isinstance(command, click.Group):
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
    if not rest or rest == ["--help"]:
        return  # What is meant is the command, not a call of it.
    # A page may speak of an option without what else the command needs.
    with contextlib.suppress(click.MissingParameter):
        command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(commands(page))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_commands_can_be_called(page: Path) -> None:
    """Each is parsed as it is written."""
    wrong = []
    for line in commands(page):
        try:
            parse(line)
        except (click.ClickException, ValueError) as error:
            wrong.append(f"{line}: {error}")
    assert wrong == []
