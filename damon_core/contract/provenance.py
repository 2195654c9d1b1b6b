"""What is known of how a record was made: where, by what command, and how contexts monitored."""

import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Self

from attrs import evolve, frozen

from damon_core.attributes import Intervals, RegionLimits
from damon_core.contract.columns import COLUMNS
from damon_core.contract.context import HookContext


@frozen
class ContextInfo:
    """How one context of a record was monitored; what isn't known is empty or None.

    Attributes:
        name: The context's name, as in its snapshots.
        primitive: What was monitored, such as ``vaddr``.
        backend: How accesses were seen, such as ``idle``.
        policy: What adjusted the regions; empty where no policy did.
        intervals: The intervals at the start; each snapshot has those in force.
        limits: The region limits at the start.
        cpu_budget: The share of one processor that the worker could use; None for no limit.
        max_slowdown: The share of its time that a target could lose; None for no limit.
        max_stall_us: How long a target's memory map could be locked at once; None for no limit.
    """

    name: str
    primitive: str = ""
    backend: str = ""
    policy: str = ""
    intervals: Intervals | None = None
    limits: RegionLimits | None = None
    cpu_budget: float | None = None
    max_slowdown: float | None = None
    max_stall_us: int | None = None

    @classmethod
    def of(cls, context: HookContext) -> Self:
        """Return how a context is monitored now."""
        return cls(
            context.name,
            context.primitive_name,
            context.backend_name,
            context.policy_name,
            context.intervals,
            context.limits,
            context.cpu_budget,
            context.max_slowdown,
            context.max_stall_us,
        )


@frozen
class RecordInfo:
    """Where and how a record was made; what its format doesn't keep is empty.

    Attributes:
        host: The name of the machine.
        kernel: Its kernel, such as ``Linux 6.12.107``.
        command: The command line that made the record.
        program: The version of damon-core that made it, or of the other program by name.
        contexts: How each of its contexts was monitored, as far as that is known.
        filled_in: The `COLUMNS` that weren't recorded, or that a primitive doesn't know, so that
            snapshots read from the record have something else there (see `RecordReader`). Formats
            that keep this say so also of a record that was converted.
        pages: Whether it has every page of targets, where the backend knew them
            (`TargetSnapshot.page_map`); a writer whose format can keep them does if this is set.
        every_us: The time whose aggregations were put together to one (`SnapshotMerger`); None if
            they are as they were monitored, or that isn't known.
    """

    host: str = ""
    kernel: str = ""
    command: str = ""
    program: str = ""
    contexts: tuple[ContextInfo, ...] = ()
    filled_in: tuple[str, ...] = ()
    pages: bool = False
    every_us: int | None = None

    @classmethod
    def here(cls, contexts: Sequence[HookContext] = ()) -> Self:
        """Return the information of a record that this process begins now."""
        unknown = {name for context in contexts for name in context.unknown_columns}
        return cls(
            host=platform.node(),
            kernel=f"{platform.system()} {platform.release()}",
            command=shlex.join(sys.argv),
            program=f"damon-core {metadata.version('damon-core')}",
            contexts=tuple(ContextInfo.of(context) for context in contexts),
        ).without(unknown)

    @classmethod
    def of_all(cls, infos: Sequence[Self]) -> Self:
        """Return the information of several records that are read as one.

        It is that of the last one, with the contexts and lacking columns of all. `every_us` is
        None unless it is the same in all.

        Args:
            infos: Of each, in the order of time; at least one.
        """
        contexts = {context.name: context for info in infos for context in info.contexts}
        whole = evolve(
            infos[-1],
            contexts=tuple(contexts.values()),
            pages=any(info.pages for info in infos),
            every_us=infos[-1].every_us if len({info.every_us for info in infos}) == 1 else None,
        )
        return whole.without(name for info in infos for name in info.filled_in)

    def without(self, columns: Iterable[str]) -> Self:
        """Return the information of the same record where these columns are filled in, too."""
        filled_in = {*self.filled_in, *columns}
        return evolve(self, filled_in=tuple(name for name in COLUMNS if name in filled_in))
