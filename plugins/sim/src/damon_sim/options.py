"""The primitive's options, as written in a configuration."""

import importlib
import operator
from typing import cast

from attrs import field, frozen
from attrs.validators import optional

from damon_core import Bytes, InputError, Microseconds, validators
from damon_sim.memory import SimulatedMemory
from damon_sim.patterns import (
    Moving,
    Pattern,
    RandomPages,
    Stairs,
    Uniform,
    Zigzag,
    Zone,
    Zones,
    whole_pages,
)

_PATTERNS = ("zones", "moving", "stairs", "zigzag", "random_pages", "uniform", "function")


@frozen
class SimOptions:
    """Options of the primitive ``sim``; exactly one pattern must be given.

    Attributes:
        size: The size of the address space in bytes, whole pages.
        seed: Seed of the random accesses.
        ends_after: Microseconds after which monitoring ends. None: never.
        zones: Areas side by side, as `Zones`.
        moving: A hot area that jumps.
        stairs: A hot area that climbs.
        zigzag: A hot area that climbs up and down.
        random_pages: Scattered hot pages.
        uniform: One rate for all memory.
        function: A Python function like `Pattern`, as ``module:name``.
    """

    size: Bytes = field(
        validator=whole_pages, metadata={"help": "size of the address space, like '1GiB'"}
    )
    seed: int = field(
        default=0,
        validator=validators.at_least(0),
        metadata={"help": "the same seed gives the same accesses"},
    )
    ends_after: Microseconds | None = field(
        default=None,
        validator=optional(validators.positive),
        metadata={"help": "end the monitoring after this time"},
    )
    zones: tuple[Zone, ...] = field(
        default=(), metadata={"help": "pattern: areas side by side, each with a size and a rate"}
    )
    moving: Moving | None = field(
        default=None, metadata={"help": "pattern: a hot area that jumps each period"}
    )
    stairs: Stairs | None = field(
        default=None, metadata={"help": "pattern: a hot area that climbs each period"}
    )
    zigzag: Zigzag | None = field(
        default=None, metadata={"help": "pattern: a hot area that climbs up and down"}
    )
    random_pages: RandomPages | None = field(
        default=None, metadata={"help": "pattern: hot pages scattered at random"}
    )
    uniform: Uniform | None = field(
        default=None, metadata={"help": "pattern: one rate for all memory"}
    )
    function: str | None = field(
        default=None, metadata={"help": "pattern: a Python function, as 'module:name'"}
    )

    def __attrs_post_init__(self) -> None:
        given = [name for name in _PATTERNS if getattr(self, name) not in (None, ())]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"found {found}, must be exactly one of {', '.join(_PATTERNS)}")

    def pattern(self) -> Pattern:
        """Return the configured pattern.

        Raises:
            InputError: The function can't be imported.
        """
        if self.function is not None:
            return load_function(self.function)
        made = self.moving or self.stairs or self.zigzag or self.random_pages or self.uniform
        return made or Zones(self.zones)

    def memory(self) -> SimulatedMemory:
        """Return a primitive with these options.

        Raises:
            InputError: The pattern can't be used with this size, or can't be imported.
        """
        return SimulatedMemory(self.size, self.pattern(), self.seed, self.ends_after)


def load_function(location: str) -> Pattern:
    """Import a pattern that is written as ``module:name``.

    Raises:
        InputError: There is no such module or name, or the object isn't callable.
    """
    module, _, name = location.partition(":")
    if not module or not name:
        raise InputError(f"the function '{location}' must be written as 'module:name'")
    try:
        found = operator.attrgetter(name)(importlib.import_module(module))
    except Exception as error:  # importing runs a user's code, which may raise anything
        raise InputError(
            f"the function '{location}' can't be imported: {type(error).__name__}: {error} "
            "(is its directory on PYTHONPATH?)"
        ) from error
    if not callable(found):
        raise InputError(f"the function '{location}' is a {type(found).__name__}, not a function")
    return cast(Pattern, found)
