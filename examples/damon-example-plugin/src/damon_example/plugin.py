"""What this package offers: a primitive, a backend of it, a callback and a command."""

from collections.abc import Callable

import click

from damon_core import Backend, Callback, Primitive, hookimpl
from damon_example.command import tick
from damon_example.tally import Tally, TallyOptions
from damon_example.tick import TickOptions, make_random, make_tick


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Offer ``use = "tick"`` for primitives."""
    register(Primitive("tick", make_tick, TickOptions, "Memory of which pages are hot in turn"))


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Offer ``backend = "random"`` for the primitive ``tick``."""
    register(Backend("random", make_random, summary="Hot pages at random", serves=("tick",)))


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Offer ``use = "tally"`` for callbacks."""
    register(Callback("tally", Tally, TallyOptions, "A line in a file for each aggregation"))


@hookimpl
def register_commands(register: Callable[[click.Command], None]) -> None:
    """Offer ``damon tick``."""
    register(tick)
