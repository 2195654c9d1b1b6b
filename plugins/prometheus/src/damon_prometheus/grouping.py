"""Targets as series: which labels they have, and which are added up."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core import CADVISOR_NAMES, OTHER, TARGET, TargetSnapshot, common_labels, label_of

#: Labels of processes that another one of the same group needn't have.
_OF_ONE: Final = ("pid",)


def exposed(label: str) -> str:
    """Return what a label of targets is called in Prometheus."""
    return CADVISOR_NAMES.get(label, label)


def text(value: str) -> str:
    """Return a name as text: one that isn't Unicode would make an error of the whole scrape."""
    return value.encode(errors="backslashreplace").decode()


@frozen(eq=False)
class Groups:
    """The groups of a snapshot's targets that have series, and one for all others.

    Attributes:
        labels: The labels of each group.
        numbers: The number of the group of each target.
        keys: The values by which each is grouped; None for that of all others.
        info: What else each is known by; None for that of all others.
    """

    labels: tuple[dict[str, str], ...]
    numbers: npt.NDArray[np.int64] = field(repr=False)
    keys: tuple[tuple[str, ...] | None, ...]
    info: tuple[dict[str, str] | None, ...] = field(repr=False)

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
    if len(members) > most:
        other = (OTHER,) * len(by)
        largest = sorted(members, key=lambda key: -float(working_sets[members[key]].sum()))
        # A group that is really called so is part of it.
        named = [key for key in largest[:most] if key != other]
        rest = [key for key in members if key not in set(named)]
        members = {key: members[key] for key in named} | {
            other: [place for key in rest for place in members[key]]
        }
        others = other
    else:
        others = None
    numbers = np.zeros(len(targets), dtype=np.int64)
    labels, info = [], []
    for number, (key, places) in enumerate(members.items()):
        numbers[places] = number
        own = {exposed(label): text(value) for label, value in zip(by, key, strict=True)}
        labels.append(own)
        info.append(
            None if key == others else _info([targets[place] for place in places], by) | own
        )
    keys = tuple(None if key == others else key for key in members)
    return Groups(tuple(labels), numbers, keys, tuple(info))


def _info(targets: Sequence[TargetSnapshot], by: Sequence[str]) -> dict[str, str]:
    known = targets[0].labels if len(targets) == 1 else common_labels(targets)
    # In a group a pid is that of one process today.
    left_out = () if TARGET in by or "pid" in by else _OF_ONE
    return {exposed(label): text(value) for label, value in known.items() if label not in left_out}
