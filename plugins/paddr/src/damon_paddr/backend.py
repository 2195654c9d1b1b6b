"""How accesses to physical memory are seen: what a backend of the primitive `paddr` has to do.

A package adds one by registering it for the primitive by name::

    @hookimpl
    def register_backends(register):
        register(Backend("mine", MyBackend, serves=("paddr",), preference=5, probe=what_is_missing))

Its factory is called as ``factory(options)`` and returns a `PhysicalBackend`.
"""

from collections.abc import Sequence
from typing import Protocol

from damon_core import Target


class PhysicalBackend(Protocol):
    """A way to see which pages of physical memory were accessed. Only the worker calls it.

    Addresses are physical; the frame of a page is its address divided by 4096. They may lie in
    holes, in memory of devices, or in memory that was just taken away: that is no error, such a
    page is unknown.
    """

    def prepare(self, targets: Sequence[Target]) -> None:
        """Make the next check possible: of the pages at `samples.addresses` of each target."""

    def check(self, targets: Sequence[Target]) -> None:
        """Tell what was accessed since `prepare`, of the same targets with the same samples.

        Set `samples.accessed`, and `samples.known` to False for pages that can't be told of: what
        is free, the kernel's own, reserved or not there.
        """

    def close(self) -> None:
        """Release everything; more checks may follow."""
