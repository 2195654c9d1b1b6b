"""How far a record is read, shown on a terminal."""

import contextlib
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["reading_progress"]

#: What is done sooner needs no display.
_PATIENCE_SECONDS = 1.0


@contextlib.contextmanager
def reading_progress(
    what: str, span_us: tuple[int, int] | None
) -> Generator[Callable[[int], None], None, None]:
    """Show on the terminal of stderr how far a record is read while inside; elsewhere nothing.

    It comes after a second, and is removed at the end.

    Args:
        what: What is being done, such as "converting".
        span_us: When the time that is read begins and ends, Unix microseconds; None: unknown.

    Yields:
        A function to call with the time of each aggregation.
    """
    if span_us is None:
        yield lambda _time_us: None
        return
    begin_us, end_us = span_us
    due = time.monotonic() + _PATIENCE_SECONDS
    shown: tuple[Progress, TaskID] | None = None

    def advance(time_us: int) -> None:
        nonlocal shown
        if shown is None:
            if time.monotonic() < due:
                return
            shown = _begun(what, max(end_us - begin_us, 1))
        progress, task = shown
        progress.update(task, completed=time_us - begin_us)

    try:
        yield advance
    finally:
        if shown is not None and shown[0].live.is_started:
            shown[0].stop()


def _begun(what: str, total: int) -> "tuple[Progress, TaskID]":
    """Return a display and its only task; it is shown if somebody may look."""
    # Imported here: short records are read in less time than this takes.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    progress = Progress(*columns, console=console, transient=True)
    task = progress.add_task("", total=total)
    if console.is_interactive:
        progress.start()
    return progress, task
