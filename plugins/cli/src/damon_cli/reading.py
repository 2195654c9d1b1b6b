"""How far a record is read, shown on a terminal."""

import contextlib
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

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
    console = Console(stderr=True)
    if span_us is None or not console.is_interactive:
        yield lambda _time_us: None
        return
    begin_us, end_us = span_us
    columns = TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    progress = Progress(*columns, console=console, transient=True)
    task = progress.add_task("", total=max(end_us - begin_us, 1))
    due = time.monotonic() + _PATIENCE_SECONDS

    def advance(time_us: int) -> None:
        if not progress.live.is_started:
            if time.monotonic() < due:
                return
            progress.start()
        progress.update(task, completed=time_us - begin_us)

    try:
        yield advance
    finally:
        if progress.live.is_started:
            progress.stop()
