"""The plugins of this package: a primitive, a backend for it and a callback."""

from collections.abc import Callable

from damon_core import Backend, Callback, Primitive, hookimpl
from damon_example.tally import Tally, TallyOptions
from damon_example.tick import TickOptions, make_random, make_tick


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register the primitive ``tick``."""
    register(Primitive("tick", make_tick, TickOptions, "Memory whose regions are hot in turn"))


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register the backend ``random`` of the primitive ``tick``."""
    register(Backend("random", make_random, summary="A random region is hot", serves=("tick",)))


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Register the callback ``tally``."""
    register(Callback("tally", Tally, TallyOptions, "A line in a file for each aggregation"))
