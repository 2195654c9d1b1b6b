"""Output other than tables: JSON, lines of text, and files of pictures."""

import errno
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.text import Text

from damon_core import PRIVATE_MODE, DamonError, InputError, output_path
from damon_report.files import IMAGES


def echo_json(report: str, document: dict[str, Any]) -> None:
    """Print the result of a report as JSON; its first key is the name of the report."""
    click.echo(json.dumps({"report": report, **document}, indent=2))


def check_picture(path: Path) -> None:
    """Check whether a picture can be drawn to a file, before long work.

    Raises:
        InputError: The file has another ending, or its directory doesn't exist.
    """
    if path.suffix not in IMAGES:
        raise InputError(f"'{path}' must end in {' or '.join(IMAGES)} for a picture")
    if not path.parent.is_dir():
        raise InputError(f"'{path}': there is no directory '{path.parent}': create it")


@contextmanager
def picture_file(path: Path) -> Generator[IO[bytes], None, None]:
    """Open a file for a picture, and close it at the end.

    A new one is for its owner alone, as records are: a picture has addresses and names, too. One
    that is there is replaced, and keeps its rights.

    Raises:
        InputError: The file can't be written, or `output_path` refuses it.
        DamonError: The disk is full, or fails.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(output_path(path), flags, PRIVATE_MODE), "wb") as file:
            yield file
    except OSError as error:
        message = f"can't write '{path}': {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise DamonError(message) from error
        raise InputError(message) from error


def heading(console: Console, text: str) -> None:
    """Print a line above a table; if the output isn't a terminal, as a comment."""
    console.print(Text(text, "bold") if console.is_terminal else Text(f"# {text}"))


def note(console: Console, text: str) -> None:
    """Print a line below a table; if the output isn't a terminal, as a comment."""
    console.print(Text(text, "dim") if console.is_terminal else Text(f"# {text}"))
