"""The layout of a heat map: bands of addresses in groups, without unmapped addresses.

Heights grow with what was in memory: an allocator may map terabytes that it never touches. They
grow slower than that, so that a hot page beside a terabyte stays visible; drawings show the true
sizes as text. Places without enough room for their own band share one: nothing is left
out.
"""

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from damon_core import PAGE_SIZE_BYTES
from damon_report.heatmap.places import Place, TargetKey

#: The exponent of heights by bytes in memory: a band of 16 times the bytes is twice as high.
DAMPING = 0.25
#: The part of the room that is always used, even for few small bands.
_LOWEST = 0.2


@frozen
class Part:
    """A range of a target's addresses, with its name, and the most that was in memory of it."""

    key: TargetKey
    start: int
    end: int
    name: str = ""
    resident_bytes: float = field()

    @resident_bytes.default
    def _size(self) -> float:
        return float(self.end - self.start)

    @classmethod
    def of(cls, key: TargetKey, place: Place) -> "Part":
        """Return all of a place."""
        return cls(key, place.start, place.end, place.name, place.resident_bytes)

    @property
    def size_bytes(self) -> int:
        """The bytes of address space."""
        return self.end - self.start


@frozen
class Band:
    """Addresses that are drawn as one band, the highest at the top, without holes.

    Attributes:
        name: The name of the mapping or target; empty if there is none.
        parts: The addresses, from the lowest; target by target.
        places: Number of places in the band; several are shown without their names.
        rows: Number of rows of cells.
        height: Height in whole units of `Room`.
        folded: Whether addresses between this band and the one above aren't shown; also true if
            there is no band above.
        rest: Whether the band holds the places without enough room for their own band.
    """

    name: str
    parts: tuple[Part, ...]
    places: int = 1
    rows: int = 1
    height: int = 1
    folded: bool = True
    rest: bool = False

    @property
    def size_bytes(self) -> int:
        """The bytes of address space, without holes."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def resident_bytes(self) -> float:
        """The most bytes of its places that were in memory; all of them if that isn't known."""
        return sum(part.resident_bytes for part in self.parts)

    def row_borders(self) -> list[int]:
        """Return the borders of rows, from the lowest, in bytes of the band without holes."""
        size, rows = self.size_bytes, self.rows
        if size < rows * PAGE_SIZE_BYTES:
            return [size * row // rows for row in range(rows + 1)]
        inner = (size * row // rows // PAGE_SIZE_BYTES * PAGE_SIZE_BYTES for row in range(1, rows))
        return [0, *inner, size]

    def pieces(self) -> list[tuple[int, Part]]:
        """Return pairs of a row, counted from the lowest, and a range of its addresses."""
        pieces = []
        borders = self.row_borders()
        row = below = 0
        for part in self.parts:
            start = part.start
            while start < part.end:
                end = min(part.end, part.start + borders[row + 1] - below)
                pieces.append((row, Part(part.key, start, end)))
                row += below + end - part.start == borders[row + 1]
                start = end
            below += part.size_bytes
        return pieces


@frozen
class Group:
    """Bands that belong together: those of one target, or one band for each of many targets.

    Attributes:
        name: The target's name; empty if the bands are named after targets.
        bands: The bands from the top: the highest addresses first, the rest last.
    """

    name: str
    bands: tuple[Band, ...]


@frozen
class Room:
    """The room that is available for a heat map.

    Attributes:
        height: Maximum height of all bands and headings together, in any unit.
        least: The height of the smallest band.
        heading: The height of the name of a group.
        rows: Rows of cells per unit of height.
        bands: Maximum number of bands.
    """

    height: float
    least: float
    heading: float
    rows: float = 1.0
    bands: int = 28


@frozen
class Layout:
    """The groups of a heat map.

    Attributes:
        groups: The groups from the top to the bottom.
    """

    groups: tuple[Group, ...]

    @property
    def targets(self) -> int:
        """The number of targets."""
        return len({part.key for band in self.bands for part in band.parts})

    @property
    def bands(self) -> list[Band]:
        """All bands, from the top."""
        return [band for group in self.groups for band in group.bands]

    @property
    def rows(self) -> int:
        """The number of rows of cells of all bands together."""
        return sum(band.rows for band in self.bands)

    @property
    def size_bytes(self) -> int:
        """The shown bytes of address space."""
        return sum(band.size_bytes for band in self.bands)


def lay_out(places: Mapping[TargetKey, Sequence[Place]], room: Room) -> Layout:
    """Return the layout of places, the hottest target first.

    Few targets are shown with their places, many as one band each, and the coldest as one band.
    """
    order = sorted(places, key=lambda key: _heat(places[key]), reverse=True)
    contexts = {key.context for key in order}
    names = {
        key: f"{key.context}: {key.target}" if len(contexts) > 1 else key.target for key in order
    }
    if len(order) <= max(room.bands // 3, 1):
        # Each target may also need a band for the rest.
        chosen = _chosen(places, max(room.bands - len(order), 1))
        groups = [
            Group(names[key] if len(order) > 1 else "", _bands_of_target(key, places[key], chosen))
            for key in order
        ]
    else:
        groups = [Group("", _bands_of_targets(order, places, names, room.bands))]
    return _with_heights(groups, room)


def _heat(places: Sequence[Place]) -> tuple[float, float, float]:
    return (
        sum(place.accessed_bytes for place in places),
        sum(place.touched_bytes for place in places),
        sum(place.resident_bytes for place in places),
    )


def _chosen(places: Mapping[TargetKey, Sequence[Place]], most: int) -> set[tuple[TargetKey, Place]]:
    """Return the places of all targets that get their own bands: the hottest, those with memory."""
    every = [(key, place) for key, those in places.items() for place in those]
    accessed, touched, resident = (total or 1 for total in _heat([place for _, place in every]))

    def weight(each: tuple[TargetKey, Place]) -> float:
        place = each[1]
        return (
            place.accessed_bytes / accessed
            + place.touched_bytes / touched
            + place.resident_bytes / resident
        )

    return set(sorted(every, key=weight, reverse=True)[:most])


def _bands_of_target(
    key: TargetKey, places: Sequence[Place], chosen: set[tuple[TargetKey, Place]]
) -> tuple[Band, ...]:
    rest = [place for place in places if (key, place) not in chosen]
    if len(rest) == 1:
        rest = []
    shown = [place for place in places if place not in rest]
    bands = [
        Band(
            place.name,
            (Part.of(key, place),),
            folded=after is None or after.start > place.end,
        )
        for place, after in zip(shown, [*shown[1:], None], strict=True)
    ]
    bands.reverse()
    if rest:
        parts = tuple(Part.of(key, place) for place in rest)
        name = f"{len(rest)} others" if shown else f"{len(rest)} mappings"
        bands.append(Band(name, parts, len(rest), rest=True))
    return tuple(bands)


def _bands_of_targets(
    order: Sequence[TargetKey],
    places: Mapping[TargetKey, Sequence[Place]],
    names: Mapping[TargetKey, str],
    most: int,
) -> tuple[Band, ...]:
    shown = order if len(order) <= most else order[: most - 1]
    bands = [
        Band(
            names[key],
            tuple(Part.of(key, place) for place in places[key]),
            len(places[key]),
        )
        for key in shown
    ]
    rest = order[len(shown) :]
    if rest:
        parts = tuple(Part.of(key, place) for key in rest for place in places[key])
        bands.append(Band(f"{len(rest)} other targets", parts, len(parts), rest=True))
    return tuple(bands)


def _with_heights(groups: Sequence[Group], room: Room) -> Layout:
    """Return the layout with heights: the least, plus a share of the rest by damped memory."""
    bands = [band for group in groups for band in group.bands]
    free = room.height - room.heading * sum(bool(group.name) for group in groups)
    free -= room.least * len(bands)
    damped = [band.resident_bytes**DAMPING for band in bands]
    # A single page gets just the least height, and a single band needn't fill the whole room.
    smallest = PAGE_SIZE_BYTES**DAMPING
    wanted = [max(size / smallest - 1, 0.0) * room.least for size in damped]
    scale = min(1.0, max(free, 0.0) / (sum(wanted) or 1.0))
    given = [room.least + each * scale for each in wanted]
    # With few small bands a picture would be too flat.
    stretch = max(1.0, room.height * _LOWEST / sum(given))
    heights = iter([each * stretch for each in given])
    return Layout(
        tuple(
            evolve(
                group,
                bands=tuple(_with_rows(band, next(heights), room.rows) for band in group.bands),
            )
            for group in groups
        )
    )


def _with_rows(band: Band, height: float, rows: float) -> Band:
    pages = max(band.size_bytes // PAGE_SIZE_BYTES, 1)
    whole = int(height)
    return evolve(band, height=whole, rows=max(1, min(round(whole * rows), pages)))


def select(
    places: Mapping[TargetKey, Sequence[Place]], start: int, end: int
) -> dict[TargetKey, list[Place]]:
    """Return the parts of places that lie between two addresses."""
    found = {
        key: [
            _cut(place, max(place.start, start), min(place.end, end))
            for place in each
            if place.start < end and start < place.end
        ]
        for key, each in places.items()
    }
    return {key: each for key, each in found.items() if each}


def _cut(place: Place, start: int, end: int) -> Place:
    resident_bytes = place.resident_bytes * (end - start) / place.size_bytes
    return evolve(place, start=start, end=end, resident_bytes=resident_bytes)


def layout_of_ranges(key: TargetKey, places: Sequence[Place], rows: int, height: int) -> Layout:
    """Return a layout of places of one target, all with the same rows and height."""
    bands = [
        Band(place.name, (Part.of(key, place),), rows=rows, height=height)
        for place in sorted(places, key=lambda place: place.start, reverse=True)
    ]
    return Layout((Group("", tuple(bands)),))
