"""How close a replay comes to its record: frequency errors by region, for two patterns.

Records are synthesized: areas that are accessed in a given share of all checks, and a hot spot that
moves. Each area is a mapping. They are replayed by `damon replay`, which is monitored as any
process is, with the intervals of the record; both are compared in cells of addresses and time.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from damon_report.replaying.scoring import compare_replay
from damon_report.selection import Selection

from benchmarks.measure import command_line, print_table, progress
from damon_core import Intervals, Plugins, RecordInfo, Snapshot, format_of
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20
#: In each aggregation, the share of checks that see an access to each area.
STILL = [0.0, 1.0, 0.5, 0.25, 0.0, 0.75, 0.0, 0.1]
AREA_BYTES = 8 * MIB
INTERVALS = Intervals(200_000, 2_000_000, 2_000_000)


def still(_number: int, _count: int) -> Sequence[float]:
    """Return the shares of areas, the same all the time."""
    return STILL


def moving(number: int, count: int) -> Sequence[float]:
    """Return the shares of areas of which each is hot in turn."""
    hot = number * len(STILL) // count
    return [1.0 if area == hot else 0.0 for area in range(len(STILL))]


PATTERNS = {"still areas": still, "a hot spot that moves": moving}


def snapshots(pattern: str, count: int) -> Iterator[Snapshot]:
    """Yield the aggregations of a pattern."""
    for number in range(count):
        shares = PATTERNS[pattern](number, count)
        rows = [
            RegionRow(
                (area + 1) << 40,
                ((area + 1) << 40) + AREA_BYTES,
                round(share * INTERVALS.checks),
            )
            for area, share in enumerate(shares)
        ]
        yield make_snapshot({"pattern": rows}, number=number + 1, intervals=INTERVALS)


def main() -> None:
    parser = command_line("replay", __doc__, "short records")
    parser.add_argument("--backend", default="auto", help="how replays are monitored")
    options = parser.parse_args()
    plugins = Plugins.discover()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pattern in PATTERNS:
            progress(pattern)
            path = Path(folder) / f"{pattern}.parquet"
            with format_of(path, plugins.formats()).write(path, RecordInfo()) as writer:
                for snapshot in snapshots(pattern, 2 if options.quick else 16):
                    writer.write(snapshot)
            score = compare_replay(plugins, path, Selection(), options.backend).score
            shares = (score.error, score.recorded, score.replayed)
            hot = (score.hot_recall or 0.0, score.hot_precision or 0.0)
            rows.append([pattern, *(f"{100 * each:.1f} %" for each in (*shares, *hot))])
    print_table(
        "Replays of 64 MiB, compared with their records",
        ["pattern", "error", "recorded", "replayed", "hot, found again", "of hot, was hot"],
        rows,
    )


if __name__ == "__main__":
    main()
