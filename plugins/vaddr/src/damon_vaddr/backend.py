"""How accesses are seen: what a backend of the process primitives has to do.

A package adds a backend of its own by registering it for the primitives by name::

    @hookimpl
    def register_backends(register):
        register(
            Backend(
                "mine", MyBackend, serves=("vaddr", "cgroup"), preference=5, probe=what_is_missing
            )
        )

Its factory is called as ``factory(options)`` and returns a `ProcessBackend`, or a
`ProcessSampler` where somebody else samples, such as the kernel.
"""

from collections.abc import Collection, Sequence
from typing import Literal, Protocol, runtime_checkable

from attrs import define, field

from damon_core import Intervals, Range, RegionLimits, Target
from damon_vaddr.mappings import Mapped
from damon_vaddr.processes import Process


@define(eq=False)
class ProcessTarget(Target):
    """A process's address space as a monitoring target.

    Attributes:
        process: The process.
        made_from: What its regions were last made from: `/proc/PID/maps`, how many regions it
            could have, and which ranges were left to another target.
        mapped: For layout ``"ranges"`` and samplers: what of its regions is mapped, may be
            accessed and wasn't left to another target.
    """

    process: Process = field(kw_only=True)
    made_from: tuple[bytes, int, tuple[Range, ...]] = field(
        default=(b"", 0, ()), kw_only=True, repr=False
    )
    mapped: Mapped = field(factory=Mapped, kw_only=True, repr=False)


class ProcessBackend(Protocol):
    """A way to see which memory of processes was accessed. Only the worker calls it."""

    @property
    def layout(self) -> Literal["mappings", "ranges"]:
        """What the regions of targets are, and so how the backend is asked.

        ``"mappings"``: one region a mapping, several joined where there are more than the
        limits allow. The backend looks at whole regions and adds to their `nr_accesses`.

        ``"ranges"``: pieces of the three ranges around the two biggest gaps, which needn't be
        mapped all over. They are adaptive: the context's policy splits and merges them, and
        chooses the pages in `target.samples` that the backend looks at.
        """

    @property
    def sees_all_users(self) -> bool:
        """Whether an access to shared memory is seen whichever process makes it.

        Then, for layout ``"ranges"``, what several processes of a context map of a file or of
        shared memory is left to the first of them, so that it counts once.
        """

    def add(self, target: ProcessTarget) -> None:
        """Get ready for a target; its regions are there.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The process may not be read by this user.
            OSError: Something else is in the way, such as too many open files.
        """

    def prepare(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
        """Make the next check possible: of all memory, or of the pages at `samples.addresses`.

        Returns:
            The targets whose memory is gone: the process has ended or executes another program.
            A process may go at any moment, so this is no error. They will be forgotten.
        """

    def check(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
        """Tell what was accessed since `prepare`.

        ``"mappings"``: add to nr_accesses, at most 1 to each region. May set `resident_bytes`.

        ``"ranges"``: set `samples.accessed`, and `samples.known` to False for pages that it
        can't tell of. A page that isn't mapped is known: it wasn't accessed. Every target has
        the samples that it was prepared with.

        Returns as `prepare` does.
        """

    def forget(self, target: ProcessTarget) -> None:
        """Release what is held for a target; one that wasn't added is no error."""

    def close(self) -> None:
        """Release everything; more targets may be added later."""


@runtime_checkable
class ProcessSampler(Protocol):
    """Somebody who samples accesses of processes by himself, and adapts their regions.

    The primitive wakes once an aggregation, and calls it instead of a `ProcessBackend`. Regions
    are pieces of the three ranges around the two biggest gaps, as with layout ``"ranges"``, or
    whatever the sampler takes for the memory of the process.

    An attribute `cpu_us`, if it has one, is the processor time in microseconds that sampling has
    taken others so far: it counts for the context.
    """

    @property
    def sees_all_users(self) -> bool:
        """As `ProcessBackend.sees_all_users`."""

    def add(self, target: ProcessTarget) -> None:
        """As `ProcessBackend.add`."""

    def steer(
        self, targets: Sequence[ProcessTarget], intervals: Intervals, limits: RegionLimits
    ) -> Collection[ProcessTarget]:
        """Have these targets sampled from now on, at these intervals and within these limits.

        Called before each aggregation; mostly nothing has changed.

        Returns:
            As `ProcessBackend.prepare`.
        """

    def collect(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
        """Give each target the `regions` of the aggregation that is complete.

        That is `nr_accesses`, out of ``intervals.checks``, `age` and `idle_us`. May wait for
        results that are a little late. A target that there are none for keeps its regions.

        Returns:
            As `ProcessBackend.prepare`.
        """

    def forget(self, target: ProcessTarget) -> None:
        """As `ProcessBackend.forget`."""

    def close(self) -> None:
        """As `ProcessBackend.close`."""
