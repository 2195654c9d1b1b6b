"""Every error this project raises on purpose.

`DamonError` is the root. `InputError` and its subclasses are mistakes that the user can correct
(the command line exits with 2); all others are failures (it exits with 1).
"""

import errno
import os
from collections.abc import Iterable, Sequence

from attrs import field, frozen

#: A longer line isn't read; what was found and what is allowed are at its ends.
_MOST_CHARACTERS = 800


def escaped(text: str) -> str:
    """Return a text as one that can be printed: line breaks become ``\\n``, escapes ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def as_line(text: str) -> str:
    """Return a text as one line that can be printed, whatever names and values are in it.

    What isn't printable is `escaped`. Of a very long text the middle is left out.
    """
    text = escaped(text)
    if len(text) > _MOST_CHARACTERS:
        half = _MOST_CHARACTERS // 2
        text = f"{text[:half]}…{text[-half:]}"
    return text


def one_line(error: BaseException) -> str:
    """Return an exception as one line, even if its message can't be printed.

    What was raised on purpose, a `DamonError`, says all by itself; others have their class.
    """
    if isinstance(error, DamonError) and error.message:
        return "; ".join(error.message.splitlines())
    try:
        text = as_line(" ".join(str(error).split()))
    except Exception:
        text = "(an exception without a printable message)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class DamonError(Exception):
    """The root of all errors of damon-core and its first-party plugins.

    Attributes:
        message: What is wrong, where, and what to do: a line for each mistake or failure, which
            can be printed (`as_line`).
    """

    def __init__(self, *lines: str) -> None:
        self.message = "\n".join(map(as_line, lines))
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class InputError(DamonError):
    """What the user gave can't be used as it is: an option, a pid, a path, a file."""


class _ErrnoError(DamonError, OSError):
    """A lifecycle error that is also an OSError, with the errno that the kernel's DAMON uses."""

    def __init__(self, code: int, message: str, contexts: Iterable[str]) -> None:
        super().__init__(message)
        self.errno = code
        self.strerror = os.strerror(code)
        self.contexts = tuple(contexts)


class BusyError(_ErrnoError):
    """EBUSY: a running context prevents this.

    Attributes:
        errno: `errno.EBUSY`.
        contexts: Names of the running contexts that prevent it.
    """

    def __init__(self, message: str, contexts: Iterable[str]) -> None:
        super().__init__(errno.EBUSY, message, contexts)


class NotRunningError(_ErrnoError):
    """EPERM: a context that isn't running was asked to stop.

    Attributes:
        errno: `errno.EPERM`.
        contexts: The name of the context that isn't running.
    """

    def __init__(self, message: str, contexts: Iterable[str]) -> None:
        super().__init__(errno.EPERM, message, contexts)


class PartError(DamonError):
    """A part of a context failed as it shouldn't: it raised, or what it gives is impossible.

    What it raised is the error's ``__cause__``. Errors that parts raise on purpose, `DamonError`,
    aren't replaced by this one.

    Attributes:
        part: The part: "primitive 'vaddr' (backend 'idle')", "policy 'kernel'".
        hook: The hook, or the method of a policy; empty if what the part gives is wrong.
        reason: What is wrong.
    """

    def __init__(self, part: str, hook: str, reason: str) -> None:
        what = f"failed in {hook}" if hook else "gives wrong results"
        super().__init__(f"{part} {what}: {reason}")
        self.part = part
        self.hook = hook
        self.reason = reason


class StopTimeoutError(DamonError):
    """A context was asked to stop, and its worker doesn't come back.

    Attributes:
        context: The name of the context.
        place: Where the worker is.
    """

    def __init__(self, context: str, place: str) -> None:
        super().__init__(f"context '{context}' doesn't stop: {place}")
        self.context = context
        self.place = place


class AttributeValueError(InputError, ValueError):
    """A value of intervals, limits or another attribute is out of range.

    Attributes:
        attribute: The attribute's name.
        found: The value that was given.
        allowed: What is allowed, in words.
    """

    def __init__(self, attribute: str, found: object, allowed: str) -> None:
        super().__init__(f"{attribute} is {found}: {allowed}")
        self.attribute = attribute
        self.found = found
        self.allowed = allowed


class TargetError(InputError):
    """A target doesn't exist, is no longer the same, or may not be read.

    Attributes:
        target: The target as the user named it.
        reason: What is wrong with it.
        may_come: Whether it isn't there yet, and may be later.
    """

    def __init__(self, target: str, reason: str, *, may_come: bool = False) -> None:
        super().__init__(f"{target}: {reason}")
        self.target = target
        self.reason = reason
        self.may_come = may_come


class PluginError(InputError):
    """A plugin can't be used.

    Attributes:
        plugin: The plugin's name.
        reason: Why it can't be used.
    """

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"plugin '{plugin}': {reason}")
        self.plugin = plugin
        self.reason = reason


@frozen
class Problem:
    """One mistake in a configuration.

    Attributes:
        path: Where it is, such as ``context[0].callback[1].path``.
        message: What was found there, and what is allowed.
        error: The error that says so, if a part raised one.
    """

    path: str
    message: str
    error: InputError | None = field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        return as_line(f"{self.path}: {self.message}" if self.path else self.message)


class ConfigError(InputError):
    """A configuration has mistakes; the error lists all of them.

    Attributes:
        source: The file, or whatever else was read; empty where messages need no such prefix.
        problems: All mistakes found.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__(
            *(f"{source}: {problem}" if source else str(problem) for problem in problems)
        )
        self.source = source
        self.problems = tuple(problems)
