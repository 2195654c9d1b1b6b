"""The primitive: an address space that exists only as numbers, one region of it hot at a time."""

import random
from collections.abc import Callable, Mapping

from attrs import field, frozen, validators

from damon_core import (
    Backend,
    Bytes,
    Context,
    InputError,
    Range,
    Regions,
    Target,
    hookimpl,
)

#: What a backend's factory returns: which of so many regions is hot in a check of a number.
#: The agreement between a primitive and its backends is the primitive's own affair.
Choose = Callable[[int, int], int]


@frozen
class TickOptions:
    """The options of ``tick``, as keys of its table in a configuration file.

    Types and validators say what is allowed; `damon check` tells people what isn't.
    """

    size: Bytes = field(
        default=Bytes(64 << 20),
        validator=validators.ge(Bytes(1 << 20)),
        metadata={"help": "bytes of the address space, such as 64MiB"},
    )
    backend: str = field(
        default="",
        metadata={"help": "which region is hot; one after the other where nothing is named"},
    )


def make_tick(options: TickOptions, backends: Mapping[str, Backend]) -> "Tick":
    """Make the primitive: what `Primitive("tick", …)` is registered with.

    Raises:
        InputError: There is no such backend. Raised here it ends `damon run` before it begins.
    """
    if not options.backend:
        return Tick(options)
    if options.backend not in backends:
        raise InputError(f"there is no backend '{options.backend}'; known: {', '.join(backends)}")
    choose = backends[options.backend].factory()
    assert callable(choose)
    return Tick(options, choose)


def make_random() -> Choose:
    """Make the backend: it takes a region at random."""
    return lambda number, count: random.randrange(count)


def _in_turn(number: int, count: int) -> int:
    return number % count


class Tick:
    """The primitive. Any object with `hookimpl` methods of the contract's names is one."""

    name = "tick"

    def __init__(self, options: TickOptions | None = None, choose: Choose = _in_turn) -> None:
        self._options = options or TickOptions()
        self._choose = choose
        self._number = 0

    @hookimpl
    def init(self, context: Context) -> None:
        """Build the targets: here one, cut evenly into as many regions as are wanted at least."""
        space = Range(0, self._options.size)
        context.targets.append(Target("tick", Regions.evenly([space], context.limits)))

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        """Add what was accessed: at most 1 to each region in a check."""
        regions = context.targets[0].regions
        regions.nr_accesses[self._choose(self._number, len(regions))] += 1
        self._number += 1
