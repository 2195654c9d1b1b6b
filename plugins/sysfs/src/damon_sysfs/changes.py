"""How a kdamond that runs is given other targets, so that those that stay keep their regions.

At a commit the kernel compares its targets with those in sysfs one by one, by their place: one that
has the same place keeps its regions and their ages, those behind the last place are new, and those
that have no place any more go. From Linux 6.19 on one can be marked as obsolete, and goes, wherever
it stands; the others move up.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from damon_core import Range

_Target = TypeVar("_Target")

_TARGETS = "contexts/0/targets/"
#: In the directory of a target, relative to that of a kdamond.
OBSOLETE = _TARGETS + "0/obsolete_target"


def places(
    before: Sequence[_Target], after: Sequence[_Target], *, can_mark: bool
) -> list[_Target | None] | None:
    """Return the targets of a commit, in their places, None for one that is to be marked.

    Args:
        before: The targets that the kdamond has.
        after: Those that it is to have.
        can_mark: Whether targets can be marked as obsolete.

    Returns:
        The targets; None if the kdamond has to be restarted instead.
    """
    kept = [each for each in before if each in after]
    if not kept or list(after[: len(kept)]) != kept:
        return None
    if list(before[: len(after)]) == list(after):  # the last ones go
        return list(after)
    if len(kept) < len(before) and not can_mark:
        return None
    return [each if each in after else None for each in before] + list(after[len(kept) :])


def target_files(
    pids: Sequence[int | None], added: Mapping[int, Sequence[Range]]
) -> dict[str, str]:
    """Return the files of targets, in the order to write them.

    Args:
        pids: The process of each; None for one that is marked as obsolete.
        added: The regions of those that are new, by their place.
    """
    files = {_TARGETS + "nr_targets": str(len(pids))}
    for number, pid in enumerate(pids):
        folder = f"{_TARGETS}{number}/"
        # The process has to exist even if the target goes: its own may have ended.
        files[folder + "pid_target"] = str(os.getpid() if pid is None else pid)
        if pid is None:
            files[folder + "obsolete_target"] = "Y"
        if ranges := added.get(number):
            files |= region_files(number, ranges)
    return files


def region_files(number: int, ranges: Sequence[Range]) -> dict[str, str]:
    """Return the files of the initial regions of a target, in the order to write them."""
    folder = f"{_TARGETS}{number}/regions/"
    files = {folder + "nr_regions": str(len(ranges))}
    for region, (start, end) in enumerate(ranges):
        files[f"{folder}{region}/start"] = str(start)
        files[f"{folder}{region}/end"] = str(end)
    return files
