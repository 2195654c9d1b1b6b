"""Output other than tables: JSON, and lines of text."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from damon_core import InputError
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


def heading(console: Console, text: str) -> None:
    """Print a line above a table; if the output isn't a terminal, as a comment."""
    console.print(Text(text, "bold") if console.is_terminal else Text(f"# {text}"))


def note(console: Console, text: str) -> None:
    """Print a line below a table; if the output isn't a terminal, as a comment."""
    console.print(Text(text, "dim") if console.is_terminal else Text(f"# {text}"))
