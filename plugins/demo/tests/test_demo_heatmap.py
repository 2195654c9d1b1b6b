"""Heat maps as text, compared character by character."""

import numpy as np
import pytest
from damon_demo import AreaPlace, heat_map
from damon_demo.heatmap import heat_grid

from damon_core import Intervals, Snapshot

MIB = 1 << 20
LOW = AreaPlace("low", 0x10_0000, 0x10_0000 + 4 * MIB)
HIGH = AreaPlace("high", 0x7F00_0000_0000, 0x7F00_0000_0000 + 2 * MIB)
BEGIN_US = 1_700_000_000_000_000


def snapshot(number: int, regions: list[tuple[int, int, float]]) -> Snapshot:
    """Return the aggregation of a second; regions are (start, end, nr_accesses of 10)."""
    start = np.array([region[0] for region in regions], dtype=np.int64)
    end = np.array([region[1] for region in regions], dtype=np.int64)
    zero = np.zeros(len(start), dtype=np.int64)
    return Snapshot(
        Intervals(),
        10,
        start,
        end,
        np.array([region[2] for region in regions], dtype=np.float64),
        zero,
        zero,
        end - start,
        number=number,
        time_us=BEGIN_US + number * 1_000_000,
        elapsed_us=1_000_000,
    )


SNAPSHOTS = [
    snapshot(1, [(LOW.start, LOW.end, 10), (HIGH.start, HIGH.end, 0)]),
    snapshot(2, [(LOW.start, LOW.end, 0), (HIGH.start, HIGH.end, 5)]),
]


class TestGrid:
    def test_time_across_addresses_up(self) -> None:
        """Columns follow time; the highest addresses are in the first row."""
        assert heat_grid(SNAPSHOTS, [LOW, HIGH], 2, 1).tolist() == [[0, 0.5], [1, 0]]

    def test_a_cell_is_the_mean_over_time(self) -> None:
        """One column over both seconds holds the mean."""
        assert heat_grid(SNAPSHOTS, [LOW, HIGH], 1, 1).tolist() == [[0.25], [0.5]]

    def test_a_cell_is_the_mean_over_bytes(self) -> None:
        """A region over a quarter of a band counts a quarter; rows show where it lies."""
        quarter = LOW.start + MIB
        one = [snapshot(1, [(LOW.start, quarter, 10), (quarter, LOW.end, 0)])]
        assert heat_grid(one, [LOW], 1, 1).tolist() == [[0.25]]
        assert heat_grid(one, [LOW], 1, 4).tolist() == [[0], [0], [0], [1]]

    def test_what_no_region_covers_is_not_seen(self) -> None:
        """Memory without a region isn't cold but unknown, and doesn't count in means."""
        snapshots = [snapshot(1, []), snapshot(2, [(LOW.start, LOW.end, 10)])]
        grid = heat_grid(snapshots, [LOW], 2, 1)
        assert np.isnan(grid[0, 0])
        assert grid[0, 1] == 1
        assert heat_grid(snapshots, [LOW], 1, 1).tolist() == [[1]]


class TestHeatMap:
    def test_shades(self) -> None:
        """The whole map in characters: marks, labels, heat, time and key."""
        lines = heat_map(
            SNAPSHOTS,
            [LOW, HIGH],
            width=46,
            marks=[(BEGIN_US, "one"), (BEGIN_US + 1_000_000, "two")],
        )
        assert [line.plain for line in lines] == [
            "              one             two",
            "high  2.0 MiB                 ================",
            " 7f0000000000                 ================",
            "low   4.0 MiB @@@@@@@@@@@@@@@@                ",
            " 000000100000 @@@@@@@@@@@@@@@@                ",
            "              0s              1s",
            "              never accessed [ .:-=+*#%@] in every check",
        ]

    @pytest.mark.parametrize("colour", [False, True])
    @pytest.mark.parametrize("width", [60, 80, 120])
    def test_fits_the_width(self, colour: bool, width: int) -> None:
        """No line is longer than the terminal is wide, and the map fills it."""
        lines = heat_map(SNAPSHOTS, [LOW, HIGH], width=width, colour=colour)
        assert max(line.cell_len for line in lines) == width
