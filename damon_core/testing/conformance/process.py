"""What a process holds and how it is set up, before and after a part: what is left behind shows."""

import contextlib
import io
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

#: The state of a listening socket in /proc/net/tcp.
_LISTENS = "0A"


def _descriptors() -> set[str]:
    """Return the open file descriptors, each with what it is of."""
    listening = _listening()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("/proc/") and target.endswith("/fd"):
                continue
            port = listening.get(target)
            where = f"a listening port {port}" if port else target
            found.add(f"file descriptor {name} ({where})")
    return found


def _listening() -> dict[str, int]:
    """Return the ports of listening TCP sockets by what /proc calls the socket."""
    ports = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS:
                    ports[f"socket:[{words[9]}]"] = int(words[1].rpartition(":")[2], 16)
    return ports


def _children() -> set[str]:
    """Return the programs that the process has started and that haven't been waited for."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {f"program {pid}" for pid in (task / "children").read_text().split()}
    return found


def holdings() -> set[str]:
    """Return what the process holds: descriptors, threads and programs, each described."""
    threads = {f"thread '{each.name}' ({each.ident})" for each in threading.enumerate()}
    return _descriptors() | threads | _children()


def assert_nothing_left(before: set[str], grace_s: float) -> None:
    """Check that the process holds nothing that it didn't hold before.

    Args:
        before: What it held.
        grace_s: How long threads and programs that are ending may take, in seconds.

    Raises:
        AssertionError: It does; the message says what.
    """
    deadline_s = time.monotonic() + grace_s
    while left := holdings() - before:
        if time.monotonic() > deadline_s:
            raise AssertionError(f"left behind: {', '.join(sorted(left))}")
        time.sleep(0.005)


def _log_setup() -> dict[str, object]:
    """Return how logging is set up, as far as it is the program's."""
    root = logging.getLogger()
    found: dict[str, object] = {
        "the root logger's level": root.level,
        "the root logger's handlers": list(root.handlers),
        "logging.disable": root.manager.disable,
    }
    for name, logger in list(root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            handlers = [
                each for each in logger.handlers if not isinstance(each, logging.NullHandler)
            ]
            if handlers or logger.level:
                found[f"the level and handlers of logger '{name}'"] = (logger.level, handlers)
    return found


def _handlers() -> dict[signal.Signals, object]:
    return {each: signal.getsignal(each) for each in signal.valid_signals() if each in _SIGNALS}


_SIGNALS = frozenset(signal.Signals)


def _setup() -> dict[str, object]:
    """Return what belongs to the program, and no part may change, by what people call it."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        **_log_setup(),
        **{f"the handler of {each.name}": handler for each, handler in _handlers().items()},
        "the working directory": os.getcwd(),
        "the umask": mask,
        "sys.excepthook": sys.excepthook,
        "threading.excepthook": threading.excepthook,
        **{f"the environment variable {key}": value for key, value in os.environ.items()},
    }


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Check that what belongs to the program is the same afterwards.

    Raises:
        AssertionError: Something has changed; the message says what.
    """
    root = logging.getLogger()
    # Nothing but one that has no effect, so that basicConfig would change it.
    kept, root.handlers = root.handlers, []
    try:
        before = _setup()
        yield
        after = _setup()
    finally:
        root.handlers = kept
    changed = [name for name in {**before, **after} if before.get(name, "") != after.get(name, "")]
    if changed:
        raise AssertionError(f"changed: {', '.join(changed)}")


@contextlib.contextmanager
def preserved_process() -> Iterator[None]:
    """Set the process up afterwards as it was, so that no rule sees what an earlier one found."""
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    directory, environment = os.getcwd(), dict(os.environ)
    mask = os.umask(0)
    os.umask(mask)
    signals = _handlers()
    hooks = sys.excepthook, threading.excepthook
    try:
        yield
    finally:
        root.handlers[:], root.level, root.manager.disable = handlers, level, disabled
        os.umask(mask)
        os.chdir(directory)
        for key in set(os.environ) - set(environment):
            del os.environ[key]
        os.environ.update(environment)
        sys.excepthook, threading.excepthook = hooks
        for number, handler in signals.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)  # type: ignore[arg-type]


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Show no log records meanwhile."""
    root = logging.getLogger()
    kept, root.handlers = root.handlers, [logging.NullHandler()]
    try:
        yield
    finally:
        root.handlers = kept


@contextlib.contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Catch what is written to standard output and standard error, by whatever way.

    Yields:
        What returns all of that so far. Log records aren't part of it.
    """
    texts = io.StringIO()
    with unlogged(), tempfile.TemporaryFile("w+b") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        copies = [os.dup(1), os.dup(2)]
        try:
            with contextlib.redirect_stdout(texts), contextlib.redirect_stderr(texts):
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                yield lambda: texts.getvalue() + _content(file)
        finally:
            for number, copy in zip((1, 2), copies, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
