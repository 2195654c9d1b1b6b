"""Bounded numbers of targets and owners: the largest, and all others added up.

Outputs that keep a series for each, such as metrics, stay small with it.
"""

from collections.abc import Sequence
from typing import Any, Final

from damon_core.memory.idle import IdleAges
from damon_core.memory.snapshot import TargetSnapshot, join_columns
from damon_core.memory.spectrum import Spectrum
from damon_core.memory.target import Owner

#: The name of all targets, or owners, beyond the greatest number.
OTHER: Final = "other"
#: What stands for the name of a target among its labels.
TARGET: Final = "target"


def largest_owners(targets: Sequence[TargetSnapshot], max_owners: int) -> set[tuple[str, str]]:
    """Return kind and name of the owners with the largest working sets over all targets."""
    owners = bounded_owners([owner for target in targets for owner in target.owners])
    owners.sort(key=lambda owner: (-owner.working_set_bytes, -owner.total_bytes))
    return {(owner.kind, owner.name) for owner in owners[:max_owners]}


def bounded_owners(
    owners: Sequence[Owner], named: set[tuple[str, str]] | None = None
) -> list[Owner]:
    """Return one owner for each kind and name; those not in `named` are added up for each kind.

    Args:
        owners: The owners.
        named: Kind and name of the owners to keep separate; None keeps all.
    """
    groups: dict[tuple[str, str], list[Owner]] = {}
    for owner in owners:
        key = (owner.kind, owner.name)
        groups.setdefault(key if named is None or key in named else (owner.kind, OTHER), []).append(
            owner
        )
    return [
        Owner(
            kind,
            name,
            sum(owner.total_bytes for owner in group),
            sum(owner.working_set_bytes for owner in group),
            sum(owner.accessed_bytes for owner in group),
        )
        for (kind, name), group in groups.items()
    ]


def label_of(target: TargetSnapshot, label: str) -> str:
    """Return the value of a target's label, empty if it has none; of ``target`` its name."""
    return target.name if label == TARGET else target.labels.get(label, "")


def common_labels(targets: Sequence[TargetSnapshot]) -> dict[str, str]:
    """Return the labels that targets have in common."""
    first, *others = targets
    return {
        name: value
        for name, value in first.labels.items()
        if all(other.labels.get(name) == value for other in others)
    }


def grouped_targets(targets: Sequence[TargetSnapshot], by: Sequence[str]) -> list[TargetSnapshot]:
    """Return one target for those whose labels have the same values, and so for each.

    It has the labels that all of them have, and is called by the values, separated by blanks; by
    nothing where none has such a label.

    Args:
        targets: The targets.
        by: Names of labels, as `label_of` takes them.
    """
    groups: dict[tuple[str, ...], list[TargetSnapshot]] = {}
    for target in targets:
        groups.setdefault(tuple(label_of(target, label) for label in by), []).append(target)
    return [_together(" ".join(filter(None, key)), group) for key, group in groups.items()]


def bounded_targets(targets: Sequence[TargetSnapshot], max_targets: int) -> list[TargetSnapshot]:
    """Return the `max_targets` targets with the largest working sets, and one for all others.

    Targets with the same name become one.
    """
    if len(targets) > max_targets:
        targets = sorted(targets, key=lambda target: target.working_set_bytes(), reverse=True)
    groups: dict[str, list[TargetSnapshot]] = {}
    for position, target in enumerate(targets):
        groups.setdefault(target.name if position < max_targets else OTHER, []).append(target)
    return [_together(name, group) for name, group in groups.items()]


def _together(name: str, targets: Sequence[TargetSnapshot]) -> TargetSnapshot:
    if len(targets) == 1 and targets[0].name == name:
        return targets[0]
    columns: dict[str, Any] = join_columns([target.columns() for target in targets])
    return TargetSnapshot(
        targets[0].intervals,
        targets[0].max_nr_accesses,
        name=name,
        owners=tuple(owner for target in targets for owner in target.owners),
        idle_ages=IdleAges.oldest([target.idle_ages for target in targets]),
        spectrum=Spectrum.sum(target.spectrum for target in targets),
        labels=common_labels(targets),
        **columns,
    )
