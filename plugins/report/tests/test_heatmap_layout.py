"""The layout of heat maps: places of a record, bands in the available room, holes left out."""

from collections.abc import Callable, Sequence

import pytest
from damon_report.heatmap.layout import Band, Layout, Part, Room, lay_out, select
from damon_report.heatmap.places import Place, Survey, TargetKey
from hypothesis import given
from hypothesis import strategies as st

from damon_core import Area, Snapshot
from damon_core.testing import RegionRow, make_snapshot

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
SECOND_US = 1_000_000

Make = Callable[..., Snapshot]
ROOM = Room(800, 17, 30)


def key(target: str) -> TargetKey:
    """Return the key of a target."""
    return TargetKey("main", target)


def found(snapshots: Sequence[Snapshot]) -> dict[str, list[tuple[int, int, str]]]:
    """Return the places of each target in MiB."""
    survey = Survey(len(snapshots) * SECOND_US)
    for each in snapshots:
        survey.add(each)
    return {
        each.target: [(place.start // MIB, place.end // MIB, place.name) for place in places]
        for each, places in survey.places().items()
    }


def area(start: int, end: int, name: str) -> Area:
    """Return an area; addresses in MiB."""
    return Area(start * MIB, end * MIB, name)


class TestPlaces:
    def test_without_names_runs_of_regions_are_places(self, snapshot: Make) -> None:
        """Adjacent regions are one place; regions beyond a hole are another."""
        snapshots = [
            snapshot(1, {"a": [(0, 1, 0), (1, 3, 5), (8, 9, 0)]}),
            snapshot(2, {"a": [(0, 2, 0), (2, 4, 5)]}),
        ]
        assert found(snapshots) == {"a": [(0, 4, ""), (8, 9, "")]}

    def test_holes_in_regions_are_not_places(self, snapshot: Make) -> None:
        """Only the mapped part of regions that span unmapped addresses is shown."""
        areas = {"a": (area(1, 2, "low"), area(700, 800, "high"))}
        one = snapshot(1, {"a": [(0, 500, 1), (500, 900, 2)]}, areas=areas)
        assert found([one]) == {"a": [(1, 2, "low"), (700, 800, "high")]}

    def test_an_area_without_regions_is_not_a_place(self, snapshot: Make) -> None:
        """The monitor left the area out."""
        areas = {"a": (area(0, 4, "seen"), area(4, 8, "shared"))}
        assert found([snapshot(1, {"a": [(0, 4, 1)]}, areas=areas)]) == {"a": [(0, 4, "seen")]}

    def test_a_mapping_that_grows_is_one_place(self, snapshot: Make) -> None:
        """A heap is shown at its greatest size."""
        snapshots = [
            snapshot(i, {"a": [(0, i, 1)]}, areas={"a": (area(0, i, "[heap]"),)})
            for i in range(1, 6)
        ]
        assert found(snapshots) == {"a": [(0, 5, "[heap]")]}

    def test_addresses_used_twice_have_the_name_they_had_longer(self, snapshot: Make) -> None:
        """A place has one name; the rest of the other mapping keeps its own."""
        snapshots = [
            snapshot(1, {"a": [(0, 4, 1)]}, areas={"a": (area(0, 4, "old"),)}),
            snapshot(2, {"a": [(2, 6, 1)]}, areas={"a": (area(2, 6, "new"),)}),
            snapshot(3, {"a": [(2, 6, 1)]}, areas={"a": (area(2, 6, "new"),)}),
        ]
        assert found(snapshots) == {"a": [(0, 2, "old"), (2, 6, "new")]}

    def test_a_mapping_of_a_moment_is_found_in_a_long_record(self, snapshot: Make) -> None:
        """Also between the moments at which heat is measured."""
        survey = Survey(1 << 60)
        for i in range(5):
            names = (area(0, 1, "a"), area(4, 5, "brief")) if i == 3 else (area(0, 1, "a"),)
            regions = [(each.start // MIB, each.end // MIB, 1) for each in names]
            survey.add(snapshot(i, {"a": regions}, areas={"a": names}))
        (places,) = survey.places().values()
        assert [place.name for place in places] == ["a", "brief"]

    def test_the_number_of_remembered_mappings_is_bounded(self, snapshot: Make) -> None:
        """If mappings come and go, neighbours of one name are joined, and no byte gets lost."""
        survey = Survey(1)
        count = 3_000
        for i in range(10):
            names = tuple(
                area(100 * place + 2 * i, 100 * place + 2 * i + 1, "[anon]")
                for place in range(count)
            )
            regions = [(each.start // MIB, each.end // MIB, 1) for each in names]
            survey.add(snapshot(i, {"a": regions}, areas={"a": names}))
        (places,) = survey.places().values()
        assert len(places) <= 20_000
        accessed_bytes = sum(place.accessed_bytes for place in places)
        assert accessed_bytes == pytest.approx(10 * count * MIB / 10)

    def test_a_place_has_as_much_memory_as_it_had_at_most(self) -> None:
        """Of a mapping that is filled and emptied again, or of which none is in memory."""
        areas = {"a": (area(0, 64, "reserved"), area(64, 128, "used"))}
        survey = Survey(3 * SECOND_US)
        for second, resident in enumerate((1, 40, 2)):
            rows = [
                RegionRow(0, 64 * MIB, resident_bytes=0),
                RegionRow(64 * MIB, 128 * MIB, resident_bytes=resident * MIB),
            ]
            survey.add(make_snapshot({"a": rows}, time_us=SECOND_US * (second + 1), areas=areas))
        (places,) = survey.places().values()
        assert [place.resident_bytes for place in places] == [0, 40 * MIB]

    def test_memory_of_a_region_over_several_areas_fits_them(self) -> None:
        """It is spread evenly, and none gets more than its size."""
        areas = {"a": (area(0, 1, "one"), area(100, 101, "other"))}
        survey = Survey(SECOND_US)
        rows = [RegionRow(0, 101 * MIB, resident_bytes=40 * MIB)]
        survey.add(make_snapshot({"a": rows}, areas=areas))
        (places,) = survey.places().values()
        assert [place.resident_bytes for place in places] == [MIB, MIB]


def bands(layout: Layout) -> list[list[str]]:
    """Return the names of bands, group by group."""
    return [[band.name for band in group.bands] for group in layout.groups]


class TestLayOut:
    def test_gaps_of_any_size_are_folded(self) -> None:
        """Gaps between places take no room; adjacent places aren't separated."""
        places = [
            Place(0, MIB, "low"),
            Place(MIB, 2 * MIB, "next"),
            Place(TIB, TIB + MIB, "high"),
        ]
        layout = lay_out({key("a"): places}, ROOM)
        assert [(band.name, band.folded) for band in layout.bands] == [
            ("high", True),
            ("next", True),
            ("low", False),
        ]
        assert len({band.height for band in layout.bands}) == 1

    def test_a_page_beside_a_terabyte_is_seen(self) -> None:
        """Heights grow with sizes, but slower, and the smallest band has the least height."""
        places = [Place(0, 4 * KIB, "page"), Place(TIB, 2 * TIB, "huge")]
        huge, page = lay_out({key("a"): places}, ROOM).bands
        assert (page.height, page.rows) == (17, 1)
        assert page.height < huge.height <= ROOM.height

    def test_reserved_memory_takes_no_height(self) -> None:
        """Terabytes that are mapped, of which some pages are in memory, are below hot megabytes."""
        places = [
            Place(0, 14 * TIB, "shadow", resident_bytes=92 * KIB),
            Place(20 * TIB, 20 * TIB + 41 * MIB, "hot", 1.0, 1.0),
        ]
        hot, shadow = lay_out({key("a"): places}, ROOM).bands
        assert hot.height > 4 * shadow.height

    def test_reserved_memory_takes_no_band_from_what_has_memory(self) -> None:
        """The band of the rest has the place without memory, however large."""
        places = [
            Place(0, 14 * TIB, "reserved", resident_bytes=0),
            Place(15 * TIB, 15 * TIB + 4 * KIB, "page"),
            Place(16 * TIB, 16 * TIB + 4 * KIB, "other page"),
            Place(17 * TIB, 17 * TIB + TIB, "reserved too", resident_bytes=0),
        ]
        layout = lay_out({key("a"): places}, Room(800, 17, 30, bands=3))
        assert bands(layout) == [["other page", "page", "2 others"]]

    def test_one_page_gets_enough_height_to_be_seen(self) -> None:
        """A picture isn't flatter than a fifth of the room."""
        (band,) = lay_out({key("a"): [Place(0, 4 * KIB, "page")]}, ROOM).bands
        assert (band.height, band.rows) == (160, 1)

    def test_hot_or_large_places_have_their_own_bands(self) -> None:
        """The other places share one band, and nothing is left out."""
        places = [Place(i * MIB, i * MIB + 64 * KIB, f"cold {i}") for i in range(200)]
        places[50] = Place(50 * MIB, 51 * MIB, "large")
        places[90] = Place(90 * MIB, 90 * MIB + 4 * KIB, "hot", accessed_bytes=1, touched_bytes=1)
        layout = lay_out({key("a"): places}, Room(800, 17, 30, bands=3))
        assert bands(layout) == [["hot", "large", "198 others"]]
        assert layout.size_bytes == sum(place.size_bytes for place in places)

    def test_few_targets_are_groups_the_hottest_first(self) -> None:
        """Each target has its name above, unless it is the only one."""
        places = {
            key("cool"): [Place(0, MIB, "x", 1.0)],
            key("hot"): [Place(0, MIB, "x", 5.0), Place(2 * MIB, 3 * MIB, "y")],
        }
        layout = lay_out(places, ROOM)
        assert [group.name for group in layout.groups] == ["hot", "cool"]
        assert bands(layout) == [["y", "x"], ["x"]]

    def test_many_targets_are_bands_and_the_coldest_one(self) -> None:
        """The hottest of 300 targets have bands, and the rest is one band that says so."""
        places = {
            key(f"worker {i}"): [
                Place(0, MIB, "[heap]", float(i)),
                Place(TIB, TIB + MIB, "[stack]"),
            ]
            for i in range(300)
        }
        layout = lay_out(places, Room(800, 17, 30, bands=20))
        (names,) = bands(layout)
        assert names == [*(f"worker {i}" for i in range(299, 280, -1)), "281 other targets"]
        assert layout.targets == 300
        assert layout.size_bytes == 600 * MIB

    def test_targets_of_several_contexts_are_distinguished(self) -> None:
        """Two contexts may have targets of the same name."""
        places = {TargetKey(each, "a"): [Place(0, MIB, "")] for each in ("one", "two")}
        layout = lay_out(places, ROOM)
        assert {group.name for group in layout.groups} == {"one: a", "two: a"}

    @given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=60), st.integers(2, 30))
    def test_bands_fit_the_room(self, pages: list[int], most: int) -> None:
        """Bands of any sizes are no higher than the room."""
        start = 0
        places = []
        for number in pages:
            places.append(Place(start, start + 4 * KIB * number, "x"))
            start += 8 * KIB * number
        room = Room(17 * 32, 17, 0, bands=most)
        layout = lay_out({key("a"): places}, room)
        assert len(layout.bands) <= most
        assert sum(band.height for band in layout.bands) <= room.height
        assert all(band.height >= room.least for band in layout.bands)


class TestRows:
    def test_a_row_continues_after_a_hole(self) -> None:
        """Rows have equal sizes without holes; a part may end within a row."""
        band = Band(
            "x",
            (Part(key("a"), 0, 12 * KIB), Part(key("a"), MIB, MIB + 4 * KIB)),
            rows=2,
        )
        assert [(row, part.start, part.end) for row, part in band.pieces()] == [
            (0, 0, 8 * KIB),
            (1, 8 * KIB, 12 * KIB),
            (1, MIB, MIB + 4 * KIB),
        ]

    @given(
        st.lists(st.tuples(st.integers(1, 500), st.integers(0, 9)), min_size=1, max_size=9),
        st.integers(1, 50),
    )
    def test_rows_hold_all_of_a_band(self, sizes: list[tuple[int, int]], rows: int) -> None:
        """Every byte is in one row, and every row has bytes."""
        parts = []
        start = 0
        for pages, gap in sizes:
            parts.append(Part(key("a"), start, start + 4 * KIB * pages))
            start += 4 * KIB * (pages + gap)
        total = sum(pages for pages, _ in sizes)
        band = Band("x", tuple(parts), rows=min(rows, total))
        pieces = band.pieces()
        assert [row for row, _ in pieces] == sorted(row for row, _ in pieces)
        assert {row for row, _ in pieces} == set(range(band.rows))
        assert sum(part.size_bytes for _, part in pieces) == band.size_bytes
        assert all(part.start % (4 * KIB) == 0 for _, part in pieces)


def test_addresses_are_selected() -> None:
    """Places are cut where the selection begins and ends."""
    places = {key("a"): [Place(0, 4, "x"), Place(6, 9, "y")], key("b"): [Place(20, 30, "z")]}
    assert [(each.start, each.end) for each in select(places, 2, 7)[key("a")]] == [(2, 4), (6, 7)]
    assert list(select(places, 2, 7)) == [key("a")]


def test_of_selected_addresses_a_share_is_in_memory() -> None:
    """As much as the selection cuts out."""
    ((place,),) = select({key("a"): [Place(0, 8, "x", resident_bytes=4)]}, 0, 2).values()
    assert place.resident_bytes == 1
