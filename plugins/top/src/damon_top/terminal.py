"""The terminal: what it can show, and keeping it for the view alone."""

import contextlib
import curses
import os
import sys
from collections.abc import Generator

from damon_cli.heat import shows_colours
from rich.console import Console


def can_show() -> bool:
    """Return whether there is a terminal to show a view on, or something that stands for one."""
    return is_served() or (sys.stdin.isatty() and sys.stdout.isatty())


def is_served() -> bool:
    """Return whether the view is shown somewhere else, such as in a browser."""
    # Imported where it is needed: `damon --help` imports this module, and Textual takes long.
    from textual import constants  # noqa: PLC0415

    return constants.DRIVER is not None


def has_colours() -> bool:
    """Return whether it shows enough colours, and the characters that go with them."""
    if os.environ.get("NO_COLOR"):
        return False
    if is_served():
        return True
    try:
        curses.setupterm(fd=sys.stdout.fileno())
        few = curses.tigetnum("colors") < 8
    except curses.error:  # a terminal that this machine doesn't know
        few = False
    return not few and shows_colours(Console())


@contextlib.contextmanager
def kept_for_view() -> Generator[None, None, None]:
    """Keep the terminal for the view while inside.

    A command that is watched reads nothing from it, and what it writes goes nowhere: the
    numbers 0 to 2 lead to /dev/null. Python's streams still lead to the terminal.
    """
    names = ("stdin", "stdout", "stderr")
    for name in names:
        getattr(sys, name).flush()
    before = {
        attribute: getattr(sys, attribute) for name in names for attribute in (name, f"__{name}__")
    }
    kept = [os.dup(number) for number in range(len(names))]
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(open(os.devnull, "r+b", buffering=0))
        for number, name in enumerate(names):
            stack.callback(os.close, kept[number])
            stack.callback(os.dup2, kept[number], number)
            stream = stack.enter_context(open(kept[number], "w" if number else "r", closefd=False))
            for attribute in (name, f"__{name}__"):
                setattr(sys, attribute, stream)
                stack.callback(setattr, sys, attribute, before[attribute])
            os.dup2(null.fileno(), number)
        yield
