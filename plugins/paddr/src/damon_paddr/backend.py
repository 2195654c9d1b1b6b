"""The contract of backends for the primitive `paddr`.

A package registers its backend, with the name of the primitive::

    @hookimpl
    def register_backends(register):
        register(Backend("mine", MyBackend, serves=("paddr",), preference=5, probe=what_is_missing))

Its factory is called as ``factory(options)`` and returns a `PhysicalBackend`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from damon_core import HookContext, SamplingFactory, Target


class PhysicalBackend(Protocol):
    """Detects which physical memory was accessed. Only the worker calls it.

    Addresses are physical; the frame of a page is its address divided by 4096. They may lie in
    holes, in memory of devices, or in memory that has just been removed: such a page is unknown,
    which is not an error.

    The optional attribute `cpu_us` is the CPU time in microseconds that others, such as the kernel,
    have spent on sampling for the backend. It counts as the context's. The optional attribute
    `tuned_intervals` are the intervals to which what samples has tuned itself, for `context.goal`;
    None if it doesn't.
    """

    @property
    def sampling(self) -> SamplingFactory:
        """The way of sampling (see `damon_core.contract.sampling`). It decides what is called.

        `PageSampling`: `prepare` and `check` handle the pages at `samples.addresses` of each
        target. `check` sets `samples.accessed`, and `samples.known` to False for pages without an
        answer: free pages, the kernel's, reserved ones, and those that don't exist.

        `DelegatedSampling`: the memory to monitor is covered by the `regions` of the targets.
        `prepare` is called once an aggregation and passes this on, with the intervals and limits
        of the context, which have rarely changed. `check` sets the `regions` of each target to
        those of the completed aggregation, and may wait a little for them. It may set `samples`,
        results for some pages, from which resident bytes and owners are estimated; without any,
        the `resident_bytes` of the regions stay.
        """

    def prepare(self, targets: Sequence[Target], context: HookContext, /) -> None:
        """Prepare the next check."""

    def check(self, targets: Sequence[Target], context: HookContext, /) -> None:
        """Detect what was accessed since `prepare`, for the same targets."""

    def close(self) -> None:
        """Release everything; `prepare` may be called again later."""


@runtime_checkable
class CgroupBackend(PhysicalBackend, Protocol):
    """A backend that can monitor the memory of a single cgroup."""

    def watch_cgroup(self, path: str, directory: Path) -> None:
        """Monitor only the memory of one cgroup, from the next `prepare` on.

        The `resident_bytes` of regions are the bytes charged to this cgroup, without the cgroups
        below it, and there are no `samples`.

        Args:
            path: The path of the cgroup in its hierarchy, with a leading slash.
            directory: Its directory.
        """
