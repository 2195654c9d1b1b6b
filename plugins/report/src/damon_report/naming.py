"""Names of memory: regions cut at the borders of named areas."""

import re

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core import UNKNOWN, Area, KindColumns, TargetSnapshot, kind_columns, kind_names

IntColumn = npt.NDArray[np.int64]
FloatColumn = npt.NDArray[np.float64]

#: The label of memory without a name.
UNNAMED = "(no name)"

#: The pid at the end of a target's name.
_PID = re.compile(r"\[\d+\]$")


def without_pid(target: str) -> str:
    """Return the name of a target without its pid, the same in every run of a program."""
    return _PID.sub("", target)


def printable(name: str) -> str:
    """Return a name with control characters escaped, for printing on one line."""
    if name.isprintable():
        return name
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in name
    )


def base_name(name: str) -> str:
    """Return the short name of a mapping: the last part of a path."""
    path = name.removesuffix(" (deleted)")
    return path.rstrip("/").rpartition("/")[2] if path.startswith("/") else name


def shortened(name: str, most: int) -> str:
    """Return a name of at most `most` characters; a longer one loses its middle."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return name[: most - 1 - tail] + "…" + name[len(name) - tail :]


@frozen(eq=False)
class AreaColumns:
    """The areas of a target as columns.

    Attributes:
        start: First address of each area, ascending.
        end: First address after each area.
        names: Name of each area.
        labels: The different names, and `UNNAMED` for memory outside of areas.
        label: The index in `labels` of each area's name; the last element, at index -1, is the
            index of `UNNAMED`.
    """

    start: IntColumn
    end: IntColumn
    names: tuple[str, ...]
    labels: tuple[str, ...]
    label: IntColumn

    @classmethod
    def of(cls, areas: tuple[Area, ...]) -> "AreaColumns":
        """Return the columns of areas."""
        starts, ends, names = zip(*areas, strict=True) if areas else ((), (), ())
        labels = dict.fromkeys((*names, UNNAMED))
        index = {name: number for number, name in enumerate(labels)}
        return cls(
            np.array(starts, np.int64),
            np.array(ends, np.int64),
            names,
            tuple(labels),
            np.array([index[name] for name in (*names, UNNAMED)]),
        )

    def at(self, addresses: IntColumn) -> IntColumn:
        """Return the index of the area that contains each address, -1 without one."""
        if not len(self.start):
            return np.full(len(addresses), -1, np.int64)
        index = self.start.searchsorted(addresses, side="right") - 1
        return np.where(addresses < self.end[index], index, -1)


class AreaCache:
    """A cache of columns by tuple of areas: targets keep the same tuple until it changes."""

    def __init__(self) -> None:
        # The tuple is kept as well, so that its id can't be reused.
        self._known: dict[int, tuple[tuple[Area, ...], AreaColumns]] = {}

    def columns(self, areas: tuple[Area, ...]) -> AreaColumns:
        """Return the columns of areas."""
        known = self._known.get(id(areas))
        if known is None:
            if len(self._known) >= 1_000:
                self._known.clear()
            known = self._known[id(areas)] = areas, AreaColumns.of(areas)
        return known[1]


@frozen(eq=False)
class Pieces:
    """Regions cut into pieces, each wholly in one area or outside of all; ascending.

    Attributes:
        start: First address of each piece.
        end: First address after each piece.
        region: Index of the region that each piece belongs to.
        area: Index of the area that contains each piece, -1 without one.
        resident_bytes: Resident bytes of each piece. Those of a region are divided among its
            pieces in areas, by size: the holes between areas get none. The sum is unchanged.
        touched_bytes: Touched bytes of each piece, divided likewise; None if they aren't known.
    """

    start: IntColumn
    end: IntColumn
    region: IntColumn
    area: IntColumn
    resident_bytes: IntColumn = field(repr=False)
    touched_bytes: IntColumn | None = field(repr=False)

    def shared_out(
        self, of_regions: IntColumn | FloatColumn, target: TargetSnapshot
    ) -> FloatColumn:
        """Return the pieces' parts of bytes of regions, divided as their resident bytes are."""
        per_byte = of_regions / np.maximum(target.resident_bytes, 1)
        shares: FloatColumn = self.resident_bytes * per_byte[self.region]
        return shares


def cut_kinds(target: TargetSnapshot, pieces: "Pieces") -> KindColumns | None:
    """Return the bytes of pieces of regions by kind of memory, divided by size."""
    kinds = target.kinds
    if kinds is None:
        return None
    columns = {}
    for name in kind_names(kinds):
        sizes = _share_out(
            np.maximum(kinds[name], 0), pieces.region, pieces.end - pieces.start, pieces.area >= 0
        )
        columns[name] = np.where(kinds[name][pieces.region] == UNKNOWN, UNKNOWN, sizes)
    return kind_columns(len(pieces.start), columns)


def cut(target: TargetSnapshot, areas: AreaColumns, at: npt.ArrayLike = ()) -> Pieces:
    """Return the regions of a target, cut at the borders of its areas.

    Args:
        target: The regions.
        areas: The areas of the same target.
        at: Further addresses to cut at.
    """
    borders = np.sort(
        np.concatenate((target.start, target.end, areas.start, areas.end, np.asarray(at, np.int64)))
    )
    start, end = borders[:-1], borders[1:]
    region = target.start.searchsorted(start, side="right") - 1
    # A piece before the first region has index -1: the appended end of 0 excludes it. Borders that
    # are the same have nothing between them (np.unique would import numpy.ma for as much).
    inside = (start < end) & (start < np.append(target.end, 0)[region])
    start, end, region = start[inside], end[inside], region[inside]
    area = areas.at(start)
    named = area >= 0
    resident_bytes = _share_out(target.resident_bytes, region, end - start, named)
    touched_bytes = None
    if target.touched_bytes is not None:
        touched_bytes = _share_out(target.touched_bytes, region, end - start, named)
        # Rounding must not make a piece touched beyond what there is of it.
        np.minimum(touched_bytes, resident_bytes, out=touched_bytes)
    return Pieces(start, end, region, area, resident_bytes, touched_bytes)


def _share_out(
    of_regions: IntColumn, region: IntColumn, size: IntColumn, named: npt.NDArray[np.bool_]
) -> IntColumn:
    """Divide values of regions among their pieces by size, or among the named pieces if any."""
    count = len(of_regions)
    has_named = np.bincount(region[named], minlength=count) > 0
    weight = np.where(named | ~has_named[region], size, 0).astype(np.float64)
    # Rounding sums, not shares, keeps the sum of each region.
    first = region.searchsorted(np.arange(count))
    last = region.searchsorted(np.arange(count), side="right") - 1
    below = np.concatenate(([0.0], np.cumsum(weight)))
    before, whole = below[first][region], (below[last + 1] - below[first])[region]
    share = np.minimum((below[1:] - before) / whole, 1.0)
    share[last] = 1.0
    up_to = np.floor(of_regions[region] * share).astype(np.int64)
    pieces: IntColumn = np.diff(up_to, prepend=0)
    pieces[first] = up_to[first]
    return pieces
