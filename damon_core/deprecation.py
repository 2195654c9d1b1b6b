"""What will go: a warning that names the package which still uses it, and says what to use instead.

How long things stay is in docs/api-promise.md. Each of these ways warns for one kind of use::

    @hookspec
    @deprecated_hook(since="0.2", until="0.4", instead="after_aggregation")
    def after_interval(context): ...

    def take_snapshot(context):
        warn_deprecated("take_snapshot", since="0.2", until="0.4", instead="Context.snapshot")

    def __getattr__(name):  # of a module, for a name that has another one now
        if name == "Old":
            warn_deprecated("damon_core.Old", since="0.2", until="0.4", instead="damon_core.New")
            return New
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from types import CodeType
from typing import TypeVar

from attrs import frozen

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])

#: What `deprecated_hook` leaves on a specification.
_MARK = "damon_deprecated"
#: The groups of entry points of packages with plugins.
_GROUPS = ("damon", "damon.commands")
#: Whose frames aren't those of the user: what calls hooks, and what makes classes.
_BETWEEN = ("damon_core", "pluggy", "attr", "attrs")


class DamonDeprecationWarning(DeprecationWarning):
    """Something of damon-core that a package uses will go.

    Python shows it in tests (pytest does) and with ``-W default``; to make it an error there:
    ``-W error::DeprecationWarning``.
    """


@frozen
class Deprecation:
    """Something that will go.

    Attributes:
        what: What it is, as people write it.
        since: The version from which on it has been deprecated.
        until: The version in which it won't be there any more.
        instead: What to use instead.
    """

    what: str
    since: str
    until: str
    instead: str

    def used_by(self, user: str) -> DamonDeprecationWarning:
        """Return the warning for a package or a part that uses it."""
        return DamonDeprecationWarning(
            f"{user} uses {self.what}, which is deprecated since damon-core {self.since} and goes "
            f"in {self.until}: use {self.instead}"
        )


def warn_deprecated(what: str, *, since: str, until: str, instead: str) -> None:
    """Warn of the use of something that will go, at the place that uses it.

    The place is the nearest caller outside of damon-core; the warning names its distribution.

    Args:
        what: What it is, as people write it.
        since: The version from which on it has been deprecated.
        until: The version in which it won't be there any more.
        instead: What to use instead.
    """
    frame = inspect.currentframe()
    while frame is not None and _package(frame.f_globals.get("__name__")) in _BETWEEN:
        frame = frame.f_back
    if frame is None:  # nobody outside: the core does it for itself
        return
    module = str(frame.f_globals.get("__name__"))
    warnings.warn_explicit(
        Deprecation(what, since, until, instead).used_by(distribution_of(module)),
        DamonDeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module,
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def deprecated_hook(*, since: str, until: str, instead: str) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that marks the specification of a hook which will go.

    Each object that implements it is named by a warning when a context or a package takes it.
    """

    def mark(function: FunctionT) -> FunctionT:
        deprecation = Deprecation(f"the hook '{function.__name__}'", since, until, instead)
        setattr(function, _MARK, deprecation)
        return function

    return mark


def warn_deprecated_hook(specification: object, implementation: object, user: str) -> None:
    """Warn of an implementation of a hook that will go, if it is one, where it is written.

    Those of the core's own parts, such as the ones for tests, are its own business.

    Args:
        specification: The hook's specification.
        implementation: The function that implements it.
        user: What the object is called that has it.
    """
    deprecation: Deprecation | None = getattr(specification, _MARK, None)
    module = str(getattr(implementation, "__module__", ""))
    if deprecation is None or _package(module) in _BETWEEN:
        return
    code: CodeType = implementation.__code__  # type: ignore[attr-defined]
    warnings.warn_explicit(
        deprecation.used_by(f"'{user}' of {distribution_of(module)}"),
        DamonDeprecationWarning,
        code.co_filename,
        code.co_firstlineno,
        module,
    )


def distribution_of(module: str) -> str:
    """Return the distribution that a module is of, if that offers plugins, or else the module."""
    return _distributions().get(_package(module), module)


def _package(module: object) -> str:
    return str(module).partition(".")[0]


@functools.cache
def _distributions() -> Mapping[str, str]:
    """Return the distributions with plugins by their packages; editable ones have entries, too."""
    return {
        _package(entry.module): entry.dist.name
        for group in _GROUPS
        for entry in metadata.entry_points(group=group)
        if entry.dist is not None
    }
