"""The bytes of a snapshot grouped by context, target, program or mapping."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from damon_core import Reported, Snapshot, TargetSnapshot, common_labels, label_of
from damon_report.groups import By
from damon_report.naming import AreaCache, FloatColumn, IntColumn, cut, without_pid

#: Maximum number of names in a report; further names of a record are added up as `OTHERS`.
MOST = 1_000
OTHERS = "(others)"
#: What targets are called that have none of the labels by which they are grouped.
UNLABELLED = "(no label)"

Column = IntColumn | FloatColumn


def bytes_by(
    snapshot: Snapshot, by: By, columns: Sequence[Column], areas: AreaCache
) -> dict[str, list[float]]:
    """Return sums of bytes by name; the first, ``""``, is of the whole context.

    Args:
        snapshot: The snapshot.
        by: How to group the bytes.
        columns: Columns with one element per region: those of its resident bytes that count. Each
            column gives one sum.
        areas: A cache of columns of areas.
    """
    sums = {"": [float(column.sum()) for column in columns]}
    position = 0
    for target in snapshot.targets if by != "context" else ():
        rows = slice(position, position + len(target))
        position = rows.stop
        if by != "mapping":
            _add(sums, group_of(target, by), (float(column[rows].sum()) for column in columns))
            continue
        named = areas.columns(target.areas)
        pieces = cut(target, named)
        label, count = named.label[pieces.area], len(named.labels)
        there = np.bincount(
            label[(pieces.area >= 0) | (pieces.resident_bytes > 0)], minlength=count
        )
        per_label = [
            np.bincount(label, pieces.shared_out(column[rows], target), count).tolist()
            for column in columns
        ]
        for index in np.flatnonzero(there).tolist():
            _add(sums, named.labels[index], [sums_of[index] for sums_of in per_label])
    return sums


def group_of(target: TargetSnapshot, by: By) -> str:
    """Return what the target belongs to: its name, its program, or the values of its labels.

    `UNLABELLED` if it has none of the labels.
    """
    if by in ("target", "program"):
        return without_pid(target.name) if by == "program" else target.name
    return " ".join(filter(None, (label_of(target, each) for each in by.split(",")))) or UNLABELLED


def reported_of(targets: Sequence[TargetSnapshot]) -> Reported:
    """Return what something else says of the memory of targets; nothing of several together."""
    return targets[0].reported if len(targets) == 1 else Reported()


def labels_by(snapshot: Snapshot, by: By) -> dict[str, dict[str, str]]:
    """Return the labels that all targets of each group have; none for parts of targets."""
    groups = targets_by(snapshot, by).items()
    return {name: common_labels(targets) for name, targets in groups if name}


def targets_by(snapshot: Snapshot, by: By) -> dict[str, list[TargetSnapshot]]:
    """Return the targets of each group; the first, ``""``, is all of them."""
    groups = {"": list(snapshot.targets)}
    for target in snapshot.targets if by not in ("context", "mapping") else ():
        groups.setdefault(group_of(target, by), []).append(target)
    return groups


def without_surplus(
    sums: dict[str, list[float]], context: str, known: Collection[tuple[str, str]]
) -> dict[str, list[float]]:
    """Return sums by name; beyond `MOST` names, new names are added up as `OTHERS`.

    Args:
        sums: The sums of a snapshot.
        context: The context of the names.
        known: The contexts and names of earlier snapshots.
    """
    if len(known) + len(sums) <= MOST:
        return sums
    kept: dict[str, list[float]] = {}
    for name, values in sums.items():
        _add(kept, name if not name or (context, name) in known else OTHERS, values)
    return kept


def _add(sums: dict[str, list[float]], name: str, values: Iterable[float]) -> None:
    before = sums.get(name)
    if before is None:
        sums[name] = list(values)
    else:
        sums[name] = [left + right for left, right in zip(before, values, strict=True)]
