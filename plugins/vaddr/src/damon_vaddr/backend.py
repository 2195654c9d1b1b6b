"""How accesses are seen: what a backend of the process primitives has to do.

A package adds a backend by registering it for the primitives by name::

    @hookimpl
    def register_backends(register):
        register(
            Backend(
                "mine", MyBackend, serves=("vaddr", "cgroup"), preference=5, probe=what_is_missing
            )
        )

Its factory is called as ``factory(options)`` and returns a `ProcessBackend`.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from damon_core import HookContext, SamplingFactory
from damon_vaddr.layouts import Layout
from damon_vaddr.target import ProcessTarget


class ProcessBackend(Protocol):
    """A way to see which memory of processes was accessed. Only the worker calls it.

    An attribute `cpu_us`, if it has one, is the CPU time in microseconds that others, such as the
    kernel, have spent on sampling for it: it counts as the context's.
    """

    @property
    def sampling(self) -> SamplingFactory:
        """The way of sampling (see `damon_core.contract.sampling`); it says how it is asked.

        `RegionSampling`: `check` looks at whole regions and adds to their `nr_accesses`, at most 1
        to each. It may set `resident_bytes`.

        `PageSampling`: `prepare` and `check` look at the pages at `samples.addresses`. `check`
        sets `samples.accessed`, and `samples.known` to False for pages that it can't answer for.
        A page that isn't mapped is known: it wasn't accessed. Targets that were added after
        `prepare` have no samples.

        `DelegatedSampling`: `prepare` passes on the intervals and limits of the context, once an
        aggregation; mostly nothing has changed. `check` gives each target the `regions` of the
        aggregation that is complete, and may wait for them a little. A target without results
        keeps its regions.
        """

    @property
    def layout(self) -> Layout:
        """What the regions of targets are: `Mappings`, `Ranges` or `FirstRanges`."""

    @property
    def sees_all_users(self) -> bool:
        """Whether an access to shared memory is seen whichever process makes it.

        Then what several processes of a context map of a file or of shared memory is left to the
        first of them, so that it counts once; for `Ranges`.
        """

    def add(self, target: ProcessTarget) -> None:
        """Get ready for a target; its regions are there.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The process may not be read by this user.
            OSError: Something else is in the way, such as too many open files.
        """

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext, /
    ) -> Collection[ProcessTarget]:
        """Make the next check possible.

        Returns:
            The targets whose memory is gone: the process has ended or executes another program.
            A process may go at any moment, so this is not an error. They will be forgotten.
        """

    def check(
        self, targets: Sequence[ProcessTarget], context: HookContext, /
    ) -> Collection[ProcessTarget]:
        """Find what was accessed since `prepare`; returns as `prepare` does."""

    def forget(self, target: ProcessTarget) -> None:
        """Release what is held for a target; one that wasn't added is not an error."""

    def close(self) -> None:
        """Release everything; more targets may be added later."""
