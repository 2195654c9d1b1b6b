"""What packages register: named, described, with options that are checked before use."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from attrs import Attribute, field, frozen, has, validators

from damon_core.contract.forecast import Costs, TargetForecast


@frozen
class NoOptions:
    """The options of a part that has none."""


@frozen
class Finding:
    """One thing that a part needs of the machine, and whether it is there.

    Attributes:
        name: What is needed: a kernel option, a privilege, a file, a program.
        works: Whether it is there.
        detail: What was found, and what to do if that isn't enough.
        required: Whether the part is of no use without it; otherwise it is only limited.
    """

    name: str
    works: bool
    detail: str = ""
    required: bool = True


def _nothing_needed() -> Sequence[Finding]:
    return ()


_NAME = re.compile(r"[A-Za-z0-9_-]+")


def is_name(value: object) -> bool:
    """Return whether a part or a format may be called so."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def check_name(_instance: object, _attribute: "Attribute[str]", value: object) -> None:
    """Validate the name of a part or a format."""
    if not is_name(value):
        raise ValueError(f"a name must be of letters, digits, '_' and '-', not {value!r}")


def _options_class(_instance: object, _attribute: "Attribute[Any]", value: object) -> None:
    if not (isinstance(value, type) and has(value)):
        raise TypeError(f"options must be an attrs class, not {value!r}")


def _names(_instance: object, _attribute: "Attribute[Sequence[str]]", value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise TypeError(f"serves must be a sequence of primitives' names, not {value!r}")


@frozen
class _Part:
    """What all parts have.

    Attributes:
        name: What ``use = "…"`` calls it. Letters, digits, ``_`` and ``-``.
        factory: Makes the object that works, given checked options. It raises `InputError` if
            they can't be used here (a missing process, a port in use), before anything runs.
        options: The attrs class of the options. Its fields' types and validators say what is
            allowed; use `Microseconds` and `Bytes` for durations and sizes.
        summary: One line for listings.
        probe: Shows what of it works on this machine and what is missing, for ``damon doctor``.

    Raises:
        ValueError: The name has other characters.
        TypeError: The options aren't an attrs class, or the factory can't be called.
    """

    name: str = field(validator=check_name)
    factory: Callable[..., object] = field(validator=validators.is_callable())
    options: type = field(default=NoOptions, validator=_options_class)
    summary: str = ""
    probe: Callable[[], Sequence[Finding]] = field(default=_nothing_needed, kw_only=True)


@frozen
class Primitive(_Part):
    """An address space that can be monitored.

    Its factory is called as ``factory(options, backends)``, with all backends registered for it
    by name, the preferred first (`Mapping[str, Backend]`).

    Attributes:
        forecast: Foretells what would be monitored with checked options, without touching it, for
            ``damon doctor``: `TargetForecast` values, or of a subclass with what the backends need
            for theirs. It raises `InputError` as the factory does. None if it can't.
        count: Returns how many targets there are now, at most, for checked options: quickly, as it
            is asked before anything is made. It raises `InputError` as the factory does. None if
            that takes longer.
    """

    forecast: Callable[[Any], Sequence[TargetForecast]] | None = field(default=None, kw_only=True)
    count: Callable[[Any], int] | None = field(default=None, kw_only=True)


@frozen
class Backend(_Part):
    """A way to see accesses in the address space of some primitives.

    Attributes:
        serves: Names of the primitives that it works for, at least one.
        preference: Of the backends that work, the one with the greatest is chosen.
        forecast: Foretells what it costs to monitor what a primitive's `forecast` returned, at
            least one target, without touching it; called where the backend works. None if that
            isn't known.
        target_us: The CPU time that an aggregation takes for each target, however small it is, in
            microseconds, where it looks at all of them: for so many targets that this exceeds the
            budget within `max_staleness`, "auto" takes another backend. 0 where that needn't be.

    Its factory is called as ``factory(options)``; what it returns is agreed with the primitives
    that it serves, which call `make_backend`. Its `probe` may take ``primitive``, the name of the
    primitive that it is asked for, where what is needed depends on that.
    """

    serves: Sequence[str] = field(validator=_names, kw_only=True)
    preference: int = field(default=0, kw_only=True)
    forecast: Callable[[Sequence[Any]], Costs] | None = field(default=None, kw_only=True)
    target_us: float = field(default=0.0, kw_only=True)

    def findings(self, primitive: str) -> Sequence[Finding]:
        """Return what works on this machine of what it needs to serve a primitive: its `probe`."""
        probe: Callable[..., Sequence[Finding]] = self.probe
        if "primitive" in inspect.signature(probe).parameters:
            return probe(primitive=primitive)
        return probe()


@frozen
class Policy(_Part):
    """A way to adjust regions.

    Its factory is called as ``factory(options)``, once for each context, and returns a
    `damon_core.RegionPolicy`.
    """


@frozen
class Callback(_Part):
    """Something that is done with results. Its factory is called as ``factory(options)``."""


def part_name(part: object) -> str:
    """Return what a part is called in logs and counts: its `name`, or its class's."""
    name = getattr(part, "name", None)
    if isinstance(name, str) and name:
        return name
    return part.__name__ if isinstance(part, type) else type(part).__name__
