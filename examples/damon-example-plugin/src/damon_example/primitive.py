"""The primitive: an address space whose regions are accessed one after the other."""

from collections.abc import Mapping
from typing import Protocol, cast

from attrs import field, frozen
from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    Bytes,
    HookContext,
    Range,
    Regions,
    Target,
    hookimpl,
    make_backend,
    validators,
)


@frozen
class ExamplePrimitiveOptions:
    """The options, as keys of the primitive's table in a configuration file.

    Types and validators say what is allowed; `damon check` reports every mistake.
    """

    size: Bytes = field(
        default=Bytes(64 << 20),
        validator=validators.at_least(1 << 20),
        metadata={"help": "size of the address space, such as 64MiB"},
    )
    backend: BackendOption = field(
        default=AUTO,
        metadata={"help": "how accesses are seen; 'auto' is the best backend that works"},
    )


class Watch(Protocol):
    """What the primitive and its backends have agreed on: what a backend's factory returns."""

    def accessed(self, number: int, count: int) -> int:
        """Return which of `count` regions was accessed before the check of this number."""


def make_primitive(
    options: ExamplePrimitiveOptions,
    backends: Mapping[str, Backend],
) -> "ExamplePrimitive":
    """Return the primitive: its factory, which is given options that are checked.

    Of the backends that are installed for it, the preferred first, it takes the one that the
    options name.

    Raises:
        PluginError: There is no such backend, or it doesn't work here.
    """
    watch = cast(Watch, make_backend("example", options.backend, backends))
    return ExamplePrimitive(options, watch)


class ExamplePrimitive:
    """Regions that are accessed in turn, one in each check.

    A hook is a method with the name of one in `damon_core.hookspecs`, marked with `hookimpl`.
    Without an attribute `sampling`, the primitive counts the accesses of whole regions itself.
    """

    name = "example"

    def __init__(self, options: ExamplePrimitiveOptions, watch: Watch) -> None:
        self._options = options
        self._watch = watch
        self._number = 0

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Build the targets: here one, cut evenly into `min_regions` regions."""
        self._number = 0
        space = Range(0, self._options.size)
        context.targets.append(Target(self.name, Regions.evenly([space], context.limits)))

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Count the accesses since the last check: at most 1 for each region."""
        for target in context.targets:
            regions = target.regions
            row = self._watch.accessed(self._number, len(regions))
            regions.nr_accesses[row] += 1
        self._number += 1
