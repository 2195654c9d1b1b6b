"""The primitive that this package registers."""

from collections.abc import Callable, Mapping

from damon_core import Backend, Primitive, hookimpl
from damon_sim.memory import SimulatedMemory
from damon_sim.options import SimOptions


def make(options: SimOptions, _backends: Mapping[str, Backend]) -> SimulatedMemory:
    """Return the primitive; it needs no backend, since the pattern itself gives the accesses."""
    return options.memory()


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register the primitive ``sim``."""
    register(Primitive("sim", make, SimOptions, "Simulated memory with a known access pattern"))
