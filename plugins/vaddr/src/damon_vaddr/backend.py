"""The contract of backends for the primitives of processes, such as `vaddr` and `cgroup`.

A package registers its backend, with the names of the primitives that it serves::

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
    """Detects which memory of processes was accessed. Only the worker calls it.

    The optional attribute `cpu_us` is the CPU time in microseconds that others, such as the kernel,
    have spent on sampling for the backend. It counts as the context's. The optional attribute
    `tuned_intervals` are the intervals to which what samples has tuned itself, for `context.goal`;
    None if it doesn't. What sampling costs the
    processes themselves may be added to the `toll` of targets. The optional attribute
    `follows_mappings` is true where `check` itself lays out targets whose mappings have changed:
    then an update reads the mappings of new processes only. The optional method `read_kinds` is
    called before any target is added, where kinds of memory are wanted: then `check` sets the
    `kinds` of regions, without NUMA nodes. Without it they are estimated from pages. The optional
    attribute `only_writes` is true where accesses are writes alone: then other backends aren't
    recommended instead of it. The optional method `for_context` is for backends that sample in
    several ways: it is called as ``for_context(context, policy, is_single=…)`` when a context is
    made, with the policy that was given, None for the usual one, and whether one process is
    monitored, and never another. It returns the backend that this context uses.
    """

    @property
    def sampling(self) -> SamplingFactory:
        """The way of sampling (see `damon_core.contract.sampling`). It decides what is called.

        `RegionSampling`: `check` adds to the `nr_accesses` of whole regions, at most 1 to each, and
        may set `resident_bytes`.

        `AccumulatingSampling`: as with `RegionSampling`, but `prepare` clears what shows accesses
        only once an aggregation, and for new targets. Only the first `check` after that adds to
        `nr_accesses`; each sets `touched_bytes` to what was accessed since. A `prepare` may leave
        the clearing out, to see what is idle for longer than an aggregation.

        `SpacedSampling`: `prepare` clears the targets whose `epoch` has changed, and each `check`
        looks at all pages. The regions are made by the `layout`, whose `describe` leaves them
        complete, and may set `outdated`.

        `PageSampling`: `prepare` and `check` handle the pages at `samples.addresses`. `check` sets
        `samples.accessed`, and `samples.known` to False for pages without an answer. A page that
        isn't mapped has one: it wasn't accessed. Targets that were added after `prepare` have no
        samples.

        `DelegatedSampling`: `prepare` is called once an aggregation and passes on the intervals
        and limits of the context, which have rarely changed. `check` sets the `regions` of each
        target to those of the completed aggregation, and may wait a little for them. A target
        without results keeps its regions.
        """

    @property
    def layout(self) -> Layout:
        """How regions are made: `Mappings`, `Ranges`, `FirstRanges`, or a way of the backend."""

    @property
    def sees_all_users(self) -> bool:
        """Whether an access to shared memory is detected whichever process makes it.

        If so, files and shared memory that several processes of a context map count once, in the
        first of these processes. Only `Ranges` and `FirstRanges` use it.
        """

    def add(self, target: ProcessTarget) -> None:
        """Add a target, whose regions are already made.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The process may not be read by this user.
            OSError: Another failure, such as too many open files.
        """

    def prepare(
        self, targets: Sequence[ProcessTarget], context: HookContext, /
    ) -> Collection[ProcessTarget]:
        """Prepare the next check.

        Returns:
            The targets whose memory is gone, because the process has ended or executes another
            program. This can happen at any moment and is not an error. `forget` is called for them.
        """

    def check(
        self, targets: Sequence[ProcessTarget], context: HookContext, /
    ) -> Collection[ProcessTarget]:
        """Detect what was accessed since `prepare`; return what `prepare` returns."""

    def forget(self, target: ProcessTarget) -> None:
        """Release everything held for a target; a target that wasn't added is not an error."""

    def close(self) -> None:
        """Release everything; targets may be added again later."""
