"""What a kind of input is, and what counts as a clear refusal."""

import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from damon_core import ConfigError, DamonError, as_line

T = TypeVar("T")

#: A line that is longer isn't clear.
_MOST_CHARACTERS = 2_000


class Kind:
    """One kind of input: makes inputs, and judges what the product does with them.

    Args:
        folder: An empty folder for files.

    Attributes:
        name: What the command line calls it.
        limit_s: How much CPU time a single case may take.
    """

    name: ClassVar[str]
    limit_s: ClassVar[float] = 5.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, chance: random.Random) -> bytes:
        """Return an input."""
        raise NotImplementedError

    def judge(self, data: bytes) -> bool:
        """Return whether an input was read (True) or clearly refused (False).

        Raises:
            Exception: It is a finding; any exception is.
        """
        raise NotImplementedError


class Fault(Exception):
    """The product did something else than reading an input rightly or refusing it clearly."""


def attempt(call: Callable[[], T], *place: str) -> T | None:
    """Return what a call returns; None if it refuses its input clearly.

    Args:
        call: What reads the input.
        place: Each of these a refusal has to name.

    Raises:
        Fault: The refusal isn't one clear line, or a line of the log isn't.
        Exception: The call raised something else than a `DamonError`.
    """
    log = _Lines()
    root = logging.getLogger()
    root.addHandler(log)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return call()
    except DamonError as error:
        check_refusal(error, *place)
        return None
    finally:
        root.removeHandler(log)
        for line in map(as_line, log.lines):
            check_line(line)


def check_refusal(error: DamonError, *place: str) -> None:
    """Check that an error is clear: a line for each problem, printable, not endless.

    Raises:
        Fault: It isn't.
    """
    lines = error.message.split("\n")
    count = len(error.problems) if isinstance(error, ConfigError) else 1
    if len(lines) != count:
        raise Fault(f"{len(lines)} lines for {count} problems: {error.message!r:.500}")
    for line in lines:
        check_line(line)
        if missing := [each for each in place if each not in line]:
            raise Fault(f"doesn't name {missing}: {line!r:.500}")


def check_line(line: str) -> None:
    """Check that a line for people is one, printable and not endless.

    Raises:
        Fault: It isn't.
    """
    if not line.strip():
        raise Fault("an empty line")
    if not line.isprintable():
        raise Fault(f"not printable: {line!r:.500}")
    if len(line) > _MOST_CHARACTERS:
        raise Fault(f"a line of {len(line)} characters: {line!r:.200}")


class _Lines(logging.Handler):
    """Keeps what is logged from INFO on."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
