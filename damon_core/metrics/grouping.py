"""Targets as series: which labels they have, and which are added up."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core.memory.bounded import OTHER, TARGET, common_labels, label_of
from damon_core.memory.snapshot import TargetSnapshot

#: Labels of processes that another one of the same group needn't have.
_OF_ONE: Final = ("pid",)


def text(value: str) -> str:
    """Return a name as it can be encoded: what isn't Unicode becomes ``\\udc80``."""
    return value.encode(errors="backslashreplace").decode()


@frozen(eq=False)
class Groups:
    """The groups of a snapshot's targets that have series, and one for all others.

    Attributes:
        labels: The labels of each group by which it is one; ``target`` is the name of a target.
        numbers: The number of the group of each target.
        keys: The values by which each is grouped; None for that of all others.
        known: What each is known by, without empty labels: of a target all its labels, of a group
            those that its targets have in common, without pids; None for that of all others.
    """

    labels: tuple[dict[str, str], ...]
    numbers: npt.NDArray[np.int64] = field(repr=False)
    keys: tuple[tuple[str, ...] | None, ...]
    known: tuple[dict[str, str] | None, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)


def group(
    targets: Sequence[TargetSnapshot],
    by: Sequence[str],
    working_sets: npt.NDArray[np.float64],
    most: int,
) -> Groups:
    """Return the groups of targets whose labels have the same values, the largest ones.

    Args:
        targets: The targets.
        by: The labels.
        working_sets: The working set of each target.
        most: How many groups there may be, besides the one of all others.
    """
    members: dict[tuple[str, ...], list[int]] = {}
    for place, target in enumerate(targets):
        members.setdefault(tuple(label_of(target, label) for label in by), []).append(place)
    others: tuple[str, ...] | None = None
    if len(members) > most:
        others = (OTHER,) * len(by)
        largest = sorted(members, key=lambda key: -float(working_sets[members[key]].sum()))
        # A group that is really called so is part of it.
        named = [key for key in largest[:most] if key != others]
        rest = [key for key in members if key not in set(named)]
        members = {key: members[key] for key in named} | {
            others: [place for key in rest for place in members[key]]
        }
    numbers = np.zeros(len(targets), dtype=np.int64)
    labels, known = [], []
    for number, (key, places) in enumerate(members.items()):
        numbers[places] = number
        labels.append({label: text(value) for label, value in zip(by, key, strict=True)})
        known.append(None if key == others else _known([targets[each] for each in places], by))
    keys = tuple(None if key == others else key for key in members)
    return Groups(tuple(labels), numbers, keys, tuple(known))


def _known(targets: Sequence[TargetSnapshot], by: Sequence[str]) -> dict[str, str]:
    labels = targets[0].labels if len(targets) == 1 else common_labels(targets)
    # In a group a pid is that of one process today.
    left_out = () if TARGET in by or "pid" in by else _OF_ONE
    return {label: text(value) for label, value in labels.items() if label not in left_out}
