"""Regions are cut at the borders of areas, and nothing of their memory gets lost."""

from collections.abc import Callable

import numpy as np
from damon_report.naming import UNNAMED, AreaCache, AreaColumns, cut, printable, without_pid
from hypothesis import given
from hypothesis import strategies as st

from damon_core import Area, Snapshot
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20


def area(start: int, end: int, name: str) -> Area:
    """Return an area, its borders in MiB."""
    return Area(start * MIB, end * MIB, name)


def test_pieces_are_in_one_area_each(snapshot: Callable[..., Snapshot]) -> None:
    """A region over two areas and a hole is three pieces; the hole has no memory."""
    (target,) = snapshot(1, {"t": [(0, 8, 5)]}, resident=0.5).targets
    columns = AreaColumns.of((area(0, 2, "[heap]"), area(6, 8, "libc")))
    pieces = cut(target, columns)
    assert (pieces.start // MIB).tolist() == [0, 2, 6]
    assert (pieces.end // MIB).tolist() == [2, 6, 8]
    assert pieces.area.tolist() == [0, -1, 1]
    assert (pieces.resident_bytes // MIB).tolist() == [2, 0, 2]


def test_regions_without_an_area_keep_their_memory(snapshot: Callable[..., Snapshot]) -> None:
    """Without named pieces, memory is divided by size."""
    (target,) = snapshot(1, {"t": [(0, 4, 5), (4, 8, 0)]}).targets
    pieces = cut(target, AreaColumns.of((area(100, 200, "far"),)), at=[MIB])
    assert (pieces.resident_bytes // MIB).tolist() == [1, 3, 4]
    assert pieces.region.tolist() == [0, 0, 1]


def test_a_target_without_regions_has_no_pieces(snapshot: Callable[..., Snapshot]) -> None:
    """Cutting no regions gives no pieces."""
    (target,) = snapshot(1, {"t": []}).targets
    assert len(cut(target, AreaColumns.of((area(0, 1, "a"),))).start) == 0


def test_labels_are_different_names() -> None:
    """Areas of the same name have one label; memory outside of areas has the last one."""
    columns = AreaColumns.of((area(0, 1, "a"), area(1, 2, "b"), area(4, 5, "a")))
    assert columns.labels == ("a", "b", UNNAMED)
    assert columns.label.tolist() == [0, 1, 0, 2]


def test_columns_of_one_tuple_are_made_once() -> None:
    """The cache returns the same columns for the same tuple."""
    areas = (area(0, 1, "a"),)
    cache = AreaCache()
    assert cache.columns(areas) is cache.columns(areas)


borders = st.lists(st.integers(0, 1 << 50), unique=True, max_size=24).map(sorted)


@given(borders, borders, st.lists(st.integers(0, 1 << 50), max_size=5), st.data())
def test_cutting_loses_nothing(
    region_borders: list[int], area_borders: list[int], at: list[int], data: st.DataObject
) -> None:
    """Pieces cover exactly the regions, in order, and have exactly their memory, all of it >= 0."""
    share = data.draw(st.floats(0, 1))
    (target,) = make_snapshot(
        {
            "t": [
                RegionRow(start, end, resident_bytes=int((end - start) * share))
                for start, end in zip(region_borders[::2], region_borders[1::2], strict=False)
            ]
        }
    ).targets
    pairs = zip(area_borders[::2], area_borders[1::2], strict=False)
    areas = AreaColumns.of(tuple(Area(*pair, "x") for pair in pairs))
    pieces = cut(target, areas, at)
    sizes = np.bincount(pieces.region, pieces.end - pieces.start, len(target))
    assert sizes.tolist() == target.size_bytes.tolist()
    memory = np.zeros(len(target), dtype=np.int64)
    np.add.at(memory, pieces.region, pieces.resident_bytes)
    assert memory.tolist() == target.resident_bytes.tolist()
    assert (pieces.resident_bytes >= 0).all()
    assert (pieces.start[1:] >= pieces.end[:-1]).all()
    inside = pieces.area >= 0
    assert (pieces.start[inside] >= areas.start[pieces.area[inside]]).all()
    assert (pieces.end[inside] <= areas.end[pieces.area[inside]]).all()


def test_names_of_programs_have_no_pid() -> None:
    """Only the number at the end is removed."""
    assert without_pid("redis-server[12]") == "redis-server"
    assert without_pid("node0") == "node0"
    assert without_pid("a[1]b") == "a[1]b"


def test_control_characters_are_escaped() -> None:
    """Control characters in names are printed as Python's escape sequences."""
    assert printable("evil\x1b[31m\n") == "evil\\x1b[31m\\n"
