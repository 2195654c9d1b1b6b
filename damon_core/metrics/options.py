"""The options that all callbacks which export metrics have."""

import re
from typing import Any, Final

from attrs import Attribute, field, frozen

from damon_core import validators
from damon_core.memory.bounded import TARGET
from damon_core.memory.labels import CADVISOR_NAMES
from damon_core.units import Microseconds, format_duration

_WINDOWS = tuple(Microseconds(seconds * 1_000_000) for seconds in (60, 600, 3_600))
_IDLE_THRESHOLDS = tuple(Microseconds(seconds * 1_000_000) for seconds in (1, 10, 60, 600, 3_600))

#: Labels that series have anyway, and one that a convention reserves.
_TAKEN: Final = frozenset(
    {"context", "above", "at_least", "within", "window", "kind", "owner", "le"}
)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _ascending(
    _instance: object, _attribute: "Attribute[Any]", value: tuple[Microseconds, ...]
) -> None:
    if any(duration < 1 for duration in value) or list(value) != sorted(value):
        raise ValueError("must be durations above 0, the shortest first")
    # Each becomes a label, and no two series may have the same labels.
    if len({format_duration(duration) for duration in value}) < len(value):
        raise ValueError("must be durations that differ by more than rounding")


def _labels(_instance: object, _attribute: "Attribute[Any]", value: object) -> None:
    labels = value if isinstance(value, tuple) else ()
    for label in labels:
        if not isinstance(label, str) or not _LABEL.fullmatch(label) or label.startswith("__"):
            raise ValueError("must be names of labels: letters, digits and _")
        if CADVISOR_NAMES.get(label, label) in _TAKEN:
            raise ValueError(f"can't have '{label}': series have another label of this name")
    if len({CADVISOR_NAMES.get(label, label) for label in labels}) < len(labels):
        raise ValueError("must be labels that differ, also as cAdvisor calls them")


# Without slots, so that a class of options can have this base beside another.
@frozen(slots=False)
class MetricsOptions:
    """What of a context is exported: a base of options.

    Attributes:
        by: The labels by which targets are added up; each combination has series with these
            labels, and so has ``target``, the name of each target, by default. Without any the
            context has one of each.
        max_targets: Number of targets, or groups of them, of a context with their own series:
            those with the largest working sets. All others are added up as ``other``.
        max_owners: Number of owners of a context's memory with their own series: those with the
            largest working sets. All others are added up as ``other``.
        idle_thresholds: Idle times, microseconds, ascending; each gives one series per target,
            with the bytes that have been idle for at least that time.
        windows: Windows, microseconds, ascending; each gives one series per target, with the bytes
            that were accessed within it.
    """

    by: tuple[str, ...] = field(
        default=(TARGET,),
        validator=_labels,
        metadata={"help": "Add up targets by these labels, such as unit; target: its name"},
    )
    max_targets: int = field(
        default=20,
        validator=validators.between(1, 1_000_000),
        metadata={"help": "Number of targets with their own series; the rest is 'other'"},
    )
    max_owners: int = field(
        default=100,
        validator=validators.between(1, 1_000_000),
        metadata={"help": "Number of owners with their own series; the rest is 'other'"},
    )
    idle_thresholds: tuple[Microseconds, ...] = field(
        default=_IDLE_THRESHOLDS,
        validator=_ascending,
        metadata={"help": "Report bytes idle for at least each of these durations"},
    )
    windows: tuple[Microseconds, ...] = field(
        default=_WINDOWS,
        validator=_ascending,
        metadata={"help": "Report bytes accessed within each of these durations"},
    )
