"""What a deployment is: contexts, each with its parts and attributes, checked but not yet made.

The classes say by their fields how they are written, in TOML or in a mapping alike: see
`damon_core.registry.options`.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

from attrs import field, frozen
from attrs.validators import optional

from damon_core.attributes import (
    DEFAULT_CPU_BUDGET,
    DEFAULT_MAX_SLOWDOWN,
    DEFAULT_MAX_STALL_US,
    DEFAULT_STOP_TIMEOUT_US,
    Intervals,
    IntervalsGoal,
    RegionLimits,
)
from damon_core.contract.registration import Callback, Policy, Primitive
from damon_core.memory.labels import freeze_labels
from damon_core.units import Microseconds
from damon_core.validators import above, between, not_empty, positive, printable, share

PartT = TypeVar("PartT", Primitive, Policy, Callback)


def _check_labels(_instance: object, _attribute: object, value: Mapping[str, str]) -> None:
    freeze_labels(value)


@frozen
class PartConfig(Generic[PartT]):
    """A part that is registered, and its checked options.

    Attributes:
        part: The part.
        options: An instance of the part's options class.
    """

    part: PartT
    options: object


@frozen
class ContextConfig:
    """One context.

    Attributes:
        primitive: What is monitored.
        policy: How regions adapt; None for the default policy.
        callbacks: What is done with results, in the order in which they are called.
        name: What results and messages call the context.
        intervals: Sampling, aggregation and update interval.
        limits: Least and greatest number of regions.
        goal: What intervals are tuned to; None leaves them as they are.
        cpu_budget: The share of one processor that the worker may use.
        max_slowdown: The share of its time that a target may lose.
        max_stall_us: How long a target's memory map may be locked at once, in microseconds.
        max_staleness_us: How old values may get, in microseconds; None for that of the deployment,
            once it was read, or the default.
        stop_timeout_us: How long a single hook may take once the context was asked to stop, in
            microseconds.
        failure_limit: Failures in a row in one hook that switch a callback off.
        labels: What every target is labelled with, besides what is known of it.

    Raises:
        AttributeValueError: A value is out of range.
    """

    primitive: PartConfig[Primitive] = field(metadata={"help": 'a table with use = "…"'})
    policy: PartConfig[Policy] | None = field(
        default=None, metadata={"help": "how regions adapt; the default is evidence"}
    )
    callbacks: tuple[PartConfig[Callback], ...] = field(
        default=(), metadata={"key": "callback", "help": "what is done with results, in this order"}
    )
    name: str = field(
        default="context",
        validator=printable,
        metadata={"help": "its name in results and messages; unique in the file"},
    )
    intervals: Intervals = field(default=Intervals(), metadata={"flat": True})
    limits: RegionLimits = field(default=RegionLimits(), metadata={"flat": True})
    goal: IntervalsGoal | None = field(
        default=None,
        metadata={"key": "intervals_goal", "help": "what intervals are tuned to"},
    )
    cpu_budget: float = field(
        default=DEFAULT_CPU_BUDGET,
        validator=share,
        metadata={"help": "the share of one processor that this context may use"},
    )
    max_slowdown: float = field(
        default=DEFAULT_MAX_SLOWDOWN,
        validator=share,
        metadata={"help": "the share of its time that a target may lose through monitoring"},
    )
    max_stall_us: Microseconds = field(
        default=Microseconds(DEFAULT_MAX_STALL_US),
        validator=positive,
        metadata={
            "key": "max_stall",
            "help": "how long a target's memory map may be locked at once",
        },
    )
    max_staleness_us: Microseconds | None = field(
        default=None,
        validator=optional(positive),
        metadata={
            "key": "max_staleness",
            "help": "how old values may get before targets are looked at in turns; the default "
            "is that of the file",
        },
    )
    stop_timeout_us: Microseconds = field(
        default=Microseconds(DEFAULT_STOP_TIMEOUT_US),
        validator=positive,
        metadata={
            "key": "stop_timeout",
            "help": "how long one hook may take once the context was asked to stop",
        },
    )
    failure_limit: int = field(
        default=10,
        validator=between(1, 1_000_000),
        metadata={"help": "failures in a row in one hook that switch a callback off for a while"},
    )
    labels: dict[str, str] = field(
        factory=dict,
        validator=_check_labels,
        metadata={"help": "what every target is labelled with, besides what is known of it"},
    )


@frozen
class Config:
    """A whole deployment.

    Attributes:
        contexts: Its contexts, with names unique among them.
        cpu_budget: The share of one processor for all contexts together, for `start`; None for
            its default.
        max_staleness_us: How old values may get in contexts that don't say it, in microseconds.
        source: What it was read from, for messages; empty where they need no such prefix.

    Raises:
        AttributeValueError: There is no context, or the budget isn't above 0.
    """

    contexts: tuple[ContextConfig, ...] = field(
        validator=not_empty, metadata={"key": "context", "help": "one or more [[context]] tables"}
    )
    cpu_budget: float | None = field(
        default=None,
        validator=optional(above(0)),
        metadata={
            "help": "the share of one processor that all contexts together may use; the default "
            "is the largest of theirs"
        },
    )
    max_staleness_us: Microseconds | None = field(
        default=None,
        validator=optional(positive),
        metadata={
            "key": "max_staleness",
            "help": "how old values may get in contexts that don't say it; the default is a minute",
        },
    )
    source: str = field(default="", metadata={"key": ""})
