"""Mappings, and the regions made from them."""

import itertools
import re
from collections.abc import Sequence

import numpy as np
import pytest
from damon_vaddr import parse_maps, three_ranges
from damon_vaddr.mappings import (
    Claims,
    Mapped,
    SharedMapping,
    join_nearest,
    mapping_regions,
    parse_accessible,
    parse_areas,
    parse_shared,
    range_regions,
    without,
)
from hypothesis import given
from hypothesis import strategies as st

from damon_core import Range, RegionLimits, Regions

_MAPS = b"""\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a name with (parentheses)
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7f0000002000-7f0000003000 rw-p 00000000 00:00 0 [anon:[vvar] of mine]
7ffd00000000-7ffd00004000 r--p 00000000 00:00 0                          [vvar]
7ffd00004000-7ffd00006000 r--p 00000000 00:00 0                          [vvar_vclock]
7ffd00006000-7ffd00008000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""


@st.composite
def mappings(draw: st.DrawFn) -> list[Range]:
    """Draw ascending disjoint page-aligned mappings, some of them adjacent."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=40))
    found = []
    position = 0x1000
    for gap, size in sizes:
        start = position + gap * 4096
        position = start + size * 4096
        found.append(Range(start, position))
    return found


def test_the_kernels_own_mappings_are_left_out() -> None:
    """The vsyscall page and the kernel's clock data aren't the program's memory."""
    assert parse_maps(_MAPS) == [
        (0x400000, 0x452000),
        (0x7F0000000000, 0x7F0000001000),
        (0x7F0000002000, 0x7F0000003000),
        (0x7FFD00006000, 0x7FFD00008000),
    ]


@pytest.mark.parametrize("name", [b"/tmp/x[vvar]", b"/tmp/x [vvar]", b"/tmp/x [vsyscall]"])
def test_a_file_may_be_named_like_the_kernels_mappings(name: bytes) -> None:
    """It has an inode."""
    line = b"00400000-00452000 r-xp 00000000 08:02 173521      " + name + b"\n"
    assert [area.name for area in parse_areas(line)] == [name.decode()]


#: Address, permissions, offset, device, inode, name.
_LINE = re.compile(rb"(?m)^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)$")

_names = st.sampled_from(
    ["", "[heap]", "[vdso]", "/usr/lib/a b 00:00 0", "/x [vvar]s", "[anon:[vvar] of mine]"]
)


@st.composite
def maps_texts(draw: st.DrawFn) -> bytes:
    """Draw what a maps file may say: addresses of all lengths, padded names or not, and none."""
    lines = []
    position = draw(st.sampled_from([0x1000, 0x400000, 0x7F0000000000]))
    for gap, pages in draw(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 9)))):
        start = position + gap * 4096
        position = start + pages * 4096
        permissions = draw(st.sampled_from(["rw-p", "r--p", "---p", "r-xs", "--xp", "---s"]))
        inode = draw(st.integers(0, 1 << 32))
        line = f"{start:08x}-{position:08x} {permissions} {gap:08x} 08:02 {inode} "
        width = draw(st.sampled_from([0, 73]))
        lines.append(f"{line:{width}}{draw(_names)}".encode())
    return b"".join(line + b"\n" for line in lines)


@given(maps_texts())
def test_lines_are_read_as_they_stand(text: bytes) -> None:
    """All at once, with what each says by itself."""
    lines = [
        (Range(int(start, 16), int(end, 16)), permissions, name.decode())
        for start, end, permissions, name in _LINE.findall(text)
    ]
    accessible = [(area, name) for area, permissions, name in lines if permissions[:3] != b"---"]
    assert parse_maps(text) == [area for area, *_ in lines]
    assert parse_accessible(text) == [area for area, _ in accessible]
    areas = parse_areas(text)
    assert sum(area.end - area.start for area in areas) == sum(
        area.end - area.start for area, _ in accessible
    )
    for area, name in accessible:
        (found,) = [each for each in areas if each.start <= area.start and area.end <= each.end]
        assert found.name == (name or "[anon]")


def test_an_empty_maps_has_no_mappings() -> None:
    """The maps of a process without memory is empty."""
    assert parse_maps(b"") == []


def test_the_two_biggest_gaps_cut_the_space() -> None:
    """Heap, mapped areas and stack are three ranges; small gaps stay inside."""
    found = [Range(0, 10), Range(12, 20), Range(100, 110), Range(111, 120), Range(300, 310)]
    assert three_ranges(found) == [(0, 20), (100, 120), (300, 310)]


def test_few_mappings_give_few_ranges() -> None:
    """No, one and two separate mappings give no, one and two ranges."""
    assert three_ranges([]) == []
    assert three_ranges([Range(5, 6)]) == [(5, 6)]
    assert three_ranges([Range(5, 6), Range(8, 9)]) == [(5, 6), (8, 9)]


def test_neighbours_without_a_gap_stay_together() -> None:
    """There is no gap to cut at."""
    assert three_ranges([Range(0, 1), Range(1, 2), Range(2, 3)]) == [(0, 3)]


@given(mappings())
def test_three_ranges_contain_all_mappings(found: list[Range]) -> None:
    """Each mapping is in exactly one of at most three disjoint ranges."""
    ranges = three_ranges(found)
    assert len(ranges) <= 3
    assert all(left.end < right.start for left, right in itertools.pairwise(ranges))
    for mapping in found:
        assert sum(r.start <= mapping.start and mapping.end <= r.end for r in ranges) == 1


@given(mappings(), st.integers(1, 50))
def test_joining_keeps_every_mapping_and_the_limit(found: list[Range], limit: int) -> None:
    """There are as many joined ranges as allowed, and they contain all mappings."""
    joined = join_nearest(found, limit)
    assert len(joined) == min(len(found), limit)
    for mapping in found:
        assert any(r.start <= mapping.start and mapping.end <= r.end for r in joined)


def test_the_smallest_gap_is_joined_first() -> None:
    """Larger gaps stay."""
    found = [Range(0, 1), Range(5, 6), Range(7, 8), Range(20, 21)]
    assert join_nearest(found, 3) == [(0, 1), (5, 8), (20, 21)]


def _pages(*ranges: tuple[int, int]) -> list[Range]:
    return [Range(start * 4096, end * 4096) for start, end in ranges]


def test_a_mapping_that_stays_keeps_its_counters() -> None:
    """An update changes only regions whose mappings changed."""
    known = mapping_regions(Regions(), _pages((1, 2), (4, 6)), 10)
    known.age[:] = 7
    known.resident_bytes[:] = 4096
    fresh = mapping_regions(known, _pages((4, 8), (9, 10)), 10)
    assert fresh.age.tolist() == [7, 0]
    assert fresh.resident_bytes[1] == 0


def test_regions_of_ranges_keep_their_counters() -> None:
    """An update covers the new ranges with the old regions and new ones in between."""
    limits = RegionLimits(4, 10)

    def make(known: Regions, found: Sequence[Range]) -> Regions:
        return range_regions(known, found, limits)

    known = make(Regions(), _pages((0, 8), (100, 108)))
    assert len(known) == 4
    known.age[:] = 3
    fresh = make(known, _pages((0, 8), (100, 120)))
    assert fresh.end[-1] == 120 * 4096
    assert np.count_nonzero(fresh.age == 3) == 4


SHARED_MAPS = b"""\
1000-5000 r--p 00000000 08:01 42                         /lib/libc.so
5000-6000 rw-p 00004000 08:01 42                         /lib/libc.so
6000-8000 rw-p 00000000 00:00 0                          [heap]
8000-9000 ---p 00000000 00:00 0
a000-c000 rw-s 00002000 00:01 7                          /dev/shm/ring (deleted)
"""


def test_shared_mappings_are_files_and_shared_memory() -> None:
    """The heap and writable private mappings of files are left out."""
    assert parse_shared(SHARED_MAPS) == [
        SharedMapping(Range(0x1000, 0x5000), (b"08:01", b"42"), 0),
        SharedMapping(Range(0xA000, 0xC000), (b"00:01", b"7"), 0x2000),
    ]


def test_reserved_addresses_are_not_accessible() -> None:
    """Mappings without permissions are left out, even the last one."""
    text = SHARED_MAPS + b"d000-e000 ---p 00000000 00:00 0"
    assert parse_accessible(text) == [
        Range(0x1000, 0x5000),
        Range(0x5000, 0x6000),
        Range(0x6000, 0x8000),
        Range(0xA000, 0xC000),
    ]


NAMED_MAPS = b"""\
00400000-00410000 r--p 00000000 08:02 173521      /usr/bin/a name with spaces
00410000-00420000 r-xp 00010000 08:02 173521      /usr/bin/a name with spaces
00420000-00430000 rw-p 00000000 00:00 0           [heap]
00430000-00440000 rw-p 00000000 00:00 0
00500000-00510000 rw-p 00000000 00:00 0 [anon:pool]
00510000-00520000 ---p 00000000 00:00 0
00520000-00530000 rw-p 00000000 00:00 0
7ffd00004000-7ffd00006000 r--p 00000000 00:00 0                          [vvar]
"""


def test_areas_are_mappings_by_name() -> None:
    """Adjacent segments of one file are one area; mappings without permissions are none."""
    assert parse_areas(NAMED_MAPS) == (
        (0x400000, 0x420000, "/usr/bin/a name with spaces"),
        (0x420000, 0x430000, "[heap]"),
        (0x430000, 0x440000, "[anon]"),
        (0x500000, 0x510000, "[anon:pool]"),
        (0x520000, 0x530000, "[anon]"),
    )


def test_a_single_mapping_has_a_name() -> None:
    """A process that has just begun to execute a program has only a stack."""
    text = b"7ffc02b86000-7ffc02ba7000 rw-p 00000000 00:00 0                          [stack]\n"
    assert parse_areas(text) == ((0x7FFC02B86000, 0x7FFC02BA7000, "[stack]"),)


def test_the_first_process_claims_shared_memory() -> None:
    """Even if the second maps only a part of it, at another address."""
    claims = Claims()
    ring = (b"00:01", b"7")
    first = claims.claim([SharedMapping(Range(0xA000, 0xC000), ring, 0x2000)])
    second = claims.claim([SharedMapping(Range(0x10000, 0x14000), ring, 0)])
    third = claims.claim([SharedMapping(Range(0x20000, 0x21000), (b"00:01", b"8"), 0x2000)])
    assert (first, second, third) == ((), (Range(0x12000, 0x14000),), ())


pieces = st.lists(st.integers(0, 60), max_size=12, unique=True).map(
    lambda cuts: [Range(a, b) for a, b in zip(*[iter(sorted(cuts))] * 2, strict=False)]
)


@given(mappings=pieces, excluded=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9))))
def test_without_returns_what_is_not_excluded(
    mappings: list[Range], excluded: list[tuple[int, int]]
) -> None:
    """Exactly these addresses, in ascending ranges that aren't empty."""
    holes = [Range(start, start + size) for start, size in excluded]
    left = without(mappings, holes)
    expected = {a for m in mappings for a in range(*m)} - {a for h in holes for a in range(*h)}
    assert [a for piece in left for a in range(*piece)] == sorted(expected)
    assert all(piece.start < piece.end for piece in left)


@given(mappings=pieces, ranges=pieces)
def test_bytes_in_counts_the_mapped_bytes(mappings: list[Range], ranges: list[Range]) -> None:
    """The result is that of counting each mapped address."""
    mapped = Mapped.of(mappings)
    columns = np.array(ranges, dtype=np.int64).reshape(-1, 2)
    addresses = {a for m in mappings for a in range(*m)}
    expected = [len(addresses & set(range(*each))) for each in ranges]
    assert mapped.bytes_in(columns[:, 0], columns[:, 1]).tolist() == expected


@given(mappings=pieces, addresses=st.lists(st.integers(0, 70)))
def test_which_mapping_contains_an_address(mappings: list[Range], addresses: list[int]) -> None:
    """Its index, or -1 if there is none."""
    expected = [
        next((n for n, m in enumerate(mappings) if m.start <= a < m.end), -1) for a in addresses
    ]
    mapped, column = Mapped.of(mappings), np.array(addresses, dtype=np.int64)
    assert mapped.holding(column).tolist() == expected
    assert mapped.holds(column).tolist() == [number >= 0 for number in expected]
