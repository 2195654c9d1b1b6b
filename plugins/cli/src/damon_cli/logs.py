"""Logging of the command ``damon``: lines on standard error."""

import functools
import logging
from collections.abc import Callable


def log_to_stderr(verbose: bool) -> Callable[[], None]:
    """Log to standard error from now on, and return what ends that.

    Args:
        verbose: Log everything, with tracebacks; otherwise warnings and errors, a line each.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Format(verbose))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.WARNING)
    if not verbose:
        # Failures of contexts are reported by the command that runs them, once.
        logging.getLogger("damon_core.loop.kdamond").setLevel(logging.CRITICAL)
    return functools.partial(root.removeHandler, handler)


class _Format(logging.Formatter):
    """One line a message; tracebacks only for those who asked for them."""

    def __init__(self, tracebacks: bool) -> None:
        super().__init__("damon: %(levelname)s: %(message)s")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        if not self._tracebacks:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return super().format(record)
