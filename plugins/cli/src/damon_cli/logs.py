"""Logging of the command ``damon``: lines on standard error."""

import logging
from collections.abc import Callable

#: The logger of contexts that run.
_LOOP = "damon_core.loop.kdamond"


def log_to_stderr(verbose: bool) -> Callable[[], None]:
    """Log to standard error from now on, and return what ends that.

    Args:
        verbose: Log everything, with tracebacks; otherwise warnings, errors, and why a context
            stops, a line each.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Format(verbose))
    if not verbose:
        handler.addFilter(_is_not_reported_otherwise)
    root = logging.getLogger()
    root.addHandler(handler)
    # Why a context stops is worth a line of a command, though not of every program.
    levels = {root: logging.WARNING, logging.getLogger(_LOOP): logging.INFO}
    before = [(logger, logger.level) for logger in levels]
    for logger, level in levels.items():
        logger.setLevel(logging.DEBUG if verbose else level)

    def end() -> None:
        root.removeHandler(handler)
        for logger, level in before:
            logger.setLevel(level)

    return end


def _is_not_reported_otherwise(record: logging.LogRecord) -> bool:
    """Return False for failures of contexts: the command that runs them reports these, once."""
    return record.name != _LOOP or record.levelno != logging.ERROR


class _Format(logging.Formatter):
    """One line a message; tracebacks only for those who asked for them."""

    def __init__(self, tracebacks: bool) -> None:
        super().__init__("damon: %(levelname)s: %(message)s")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        if not self._tracebacks:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return super().format(record)
