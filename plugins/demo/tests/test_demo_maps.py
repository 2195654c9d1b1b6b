"""The heat map of the workload's areas, compared character by character."""

import pytest
from damon_demo.maps import text_map
from damon_demo.truth import AreaPlace, PhaseRun, Truth

from damon_core import Snapshot
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20
LOW = AreaPlace("low", 0x10_0000, 0x10_0000 + 4 * MIB)
HIGH = AreaPlace("high", 0x7F00_0000_0000, 0x7F00_0000_0000 + 2 * MIB)
BEGIN_US = 1_700_000_000_000_000


def snapshot(number: int, low: float, high: float) -> Snapshot:
    """Return the aggregation of a second, with the nr_accesses (of 10) of both areas."""
    regions = [RegionRow(LOW.start, LOW.end, low), RegionRow(HIGH.start, HIGH.end, high)]
    return make_snapshot(
        {"workload[1]": regions},
        number=number,
        time_us=BEGIN_US + number * 1_000_000,
        elapsed_us=1_000_000,
        max_nr_accesses=10,
    )


SNAPSHOTS = [snapshot(1, 10, 0), snapshot(2, 0, 10)]
TRUTH = Truth(
    1, (LOW, HIGH), (PhaseRun(1, BEGIN_US - 5, 0, ()), PhaseRun(2, BEGIN_US + 1_000_000, 0, ()))
)


def test_shades() -> None:
    """The whole map in characters: phases, names, heat, time and key."""
    lines = text_map(SNAPSHOTS, TRUTH, width=46, colour=False)
    assert [line.plain for line in lines] == [
        "              phase 1         phase 2",
        "high  2.0 MiB                 @@@@@@@@@@@@@@@@",
        " 7f0000000000                 @@@@@@@@@@@@@@@@",
        "low   4.0 MiB @@@@@@@@@@@@@@@@                ",
        " 000000100000 @@@@@@@@@@@@@@@@                ",
        "              0s              1s",
        "              never accessed [ .:-=+*#%@] in every check, halfway: in 25%",
    ]


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", [80, 120])
def test_fits_the_width(colour: bool, width: int) -> None:
    """No line is longer than the width, and the map fills it."""
    lines = text_map(SNAPSHOTS, TRUTH, width=width, colour=colour)
    assert max(line.cell_len for line in lines) == width
