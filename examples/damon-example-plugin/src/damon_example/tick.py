"""The primitive: an address space without memory, in which one region is hot at a time."""

import random
from collections.abc import Callable, Mapping

from attrs import field, frozen

from damon_core import (
    Backend,
    Bytes,
    Context,
    InputError,
    Range,
    Regions,
    Target,
    hookimpl,
    validators,
)

#: What a backend's factory returns: a function of the number of the check and the number of
#: regions that returns the hot region. Each primitive defines this contract with its backends.
Choose = Callable[[int, int], int]


@frozen
class TickOptions:
    """The options of ``tick``, as keys of its table in a configuration file.

    Types and validators say what is allowed; `damon check` reports mistakes.
    """

    size: Bytes = field(
        default=Bytes(64 << 20),
        validator=validators.at_least(1 << 20),
        metadata={"help": "size of the address space, such as 64MiB"},
    )
    backend: str = field(
        default="",
        metadata={"help": "chooses the hot region; none: one after the other"},
    )


def make_tick(options: TickOptions, backends: Mapping[str, Backend]) -> "Tick":
    """Return the primitive; the factory that ``tick`` is registered with.

    Raises:
        InputError: There is no such backend. Raised here, it ends `damon run` before the start.
    """
    if not options.backend:
        return Tick(options)
    if options.backend not in backends:
        raise InputError(f"there is no backend '{options.backend}'; known: {', '.join(backends)}")
    choose = backends[options.backend].factory()
    assert callable(choose)
    return Tick(options, choose)


def make_random() -> Choose:
    """Return the backend, which chooses a random region."""
    return lambda number, count: random.randrange(count)


def _in_turn(number: int, count: int) -> int:
    return number % count


class Tick:
    """The primitive: an object whose methods, marked with `hookimpl`, have the names of hooks."""

    name = "tick"

    def __init__(self, options: TickOptions | None = None, choose: Choose = _in_turn) -> None:
        self._options = options or TickOptions()
        self._choose = choose
        self._number = 0

    @hookimpl
    def init(self, context: Context) -> None:
        """Make the targets: here one, cut evenly into `min_regions` regions."""
        space = Range(0, self._options.size)
        context.targets.append(Target("tick", Regions.evenly([space], context.limits)))

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        """Add the accesses of this check, at most 1 for each region."""
        regions = context.targets[0].regions
        regions.nr_accesses[self._choose(self._number, len(regions))] += 1
        self._number += 1
