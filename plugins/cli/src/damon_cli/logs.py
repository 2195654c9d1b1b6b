"""Logging of the command ``damon``: lines on standard error."""

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime

#: The logger of contexts that run.
_LOOP = "damon_core.loop.kdamond"
#: Those of a service: what begins and ends, and why; ``damon.events`` is for those of packages.
_SERVICE = ("damon_core.deployment.running", "damon_cli.daemon", "damon.events")


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


def log_as_service(form: str) -> None:
    """Log as a service does from now on: with times, and what begins and ends.

    Args:
        form: ``text``, or ``json`` for an object a line.
    """
    for name in _SERVICE:
        logging.getLogger(name).setLevel(logging.INFO)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Format):
            handler.setFormatter(handler.formatter.of_service(form))


def as_lines(message: str) -> list[str]:
    """Return what a command fails with as lines of standard error.

    They begin with the program's name, also in the log of a service, as they say why it ended; in a
    log of objects they are objects, as what reads it understands nothing else.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _JsonFormat):
            return [handler.formatter.line(each) for each in message.splitlines()]
    return [f"damon: {each}" for each in message.splitlines()]


def _is_not_reported_otherwise(record: logging.LogRecord) -> bool:
    """Return False for failures of contexts: the command that runs them reports these, once."""
    return record.name != _LOOP or record.levelno != logging.ERROR


class _Format(logging.Formatter):
    """One line a message; tracebacks only for those who asked for them."""

    def __init__(self, tracebacks: bool, form: str = "damon: %(levelname)s: %(message)s") -> None:
        super().__init__(form)
        self._tracebacks = tracebacks

    def of_service(self, form: str) -> "_Format":
        """Return one with the time in each line."""
        if form == "json":
            return _JsonFormat(self._tracebacks)
        # The journal has times, too.
        time = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
        return _Format(self._tracebacks, f"{time}damon: %(levelname)s: %(message)s")

    def formatTime(  # noqa: N802  # as logging calls it
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """Return when it was, in UTC."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        from damon_core import as_line

        # Names of processes, mappings and cgroups may contain anything, as a terminal's escapes.
        record.message = as_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        if not self._tracebacks:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return super().format(record)


class _JsonFormat(_Format):
    """An object a line."""

    def line(self, message: str) -> str:
        """Return an error that isn't logged as a line of the log."""
        attributes = {"name": "damon", "levelno": logging.ERROR, "levelname": "ERROR"}
        return self.format(logging.makeLogRecord({**attributes, "msg": message}))

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._tracebacks and record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
