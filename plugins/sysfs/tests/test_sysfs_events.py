"""The binary trace: a page that a kernel wrote, and aggregations made from events."""

import re
from pathlib import Path

import numpy as np
import pytest
from damon_sysfs.events import Collector, EventFormat, Events, parse_page

DATA = Path(__file__).with_name("data")
PAGE = (DATA / "page.bin").read_bytes()
FORMAT = EventFormat.parse((DATA / "format").read_text())
LINE = re.compile(
    r"([\d.]+): damon_aggregated: target_id=(\d+) nr_regions=(\d+) (\d+)-(\d+): (\d+) (\d+)"
)
FIELDS = ("target_id", "nr_regions", "start", "end", "nr_accesses", "age")


def events(*aggregations: list[tuple[int, int, int]]) -> Events:
    """Return events of aggregations of regions, each given as target, start and nr_accesses."""
    rows = [(row, [one[0] for one in regions]) for regions in aggregations for row in regions]
    table = np.zeros(len(rows), dtype=FORMAT.row)
    for number, ((target, start, accesses), targets) in enumerate(rows):
        values = {
            "target_id": target,
            "nr_regions": targets.count(target),
            "start": start,
            "end": start + 1,
            "nr_accesses": accesses,
        }
        for name, value in values.items():
            table[name][number] = value
    return Events(np.arange(len(rows)), table)


def page_of(commit: int, *parts: bytes) -> bytes:
    """Return a page with these parts after its header."""
    header = (1_000).to_bytes(8, "little") + commit.to_bytes(8, "little")
    return (header + b"".join(parts)).ljust(4096, b"\0")


def test_a_page_has_the_values_that_the_kernel_prints() -> None:
    """All fields and times are those of the kernel's text for the same events."""
    page = parse_page(PAGE, FORMAT)
    whole = Events.joined(page.events)
    columns = [whole.column(name).tolist() for name in FIELDS]
    seconds = [f"{round(time_ns / 1e3) / 1e6:.6f}" for time_ns in whole.time_ns.tolist()]
    parsed = [(time, *map(str, row)) for time, *row in zip(seconds, *columns, strict=True)]
    printed = [match.groups() for match in LINE.finditer((DATA / "page.txt").read_text())]
    assert [row[1:] for row in parsed] == [row[1:] for row in printed]
    assert [float(row[0]) for row in parsed] == pytest.approx(
        [float(row[0]) for row in printed], abs=1.1e-6
    )
    assert page.lost == 0


@pytest.mark.parametrize("bits", [0, 1 << 30])
def test_lost_events_are_counted(bits: int) -> None:
    """A page shows that events before it were lost, and usually their number."""
    commit = int.from_bytes(PAGE[8:16], "little")
    end = 16 + commit
    flagged = (commit | 1 << 31 | bits).to_bytes(8, "little")
    page = PAGE[:8] + flagged + PAGE[16:end] + (77).to_bytes(8, "little") + PAGE[end + 8 :]
    found = parse_page(page, FORMAT)
    assert len(Events.joined(found.events)) == 67
    assert found.lost == (77 if bits else 1)


def test_other_events_are_skipped() -> None:
    """Padding, times and events of other lengths are skipped; their times are added."""
    event = (FORMAT.length | 5 << 5).to_bytes(4, "little") + bytes(4 * FORMAT.length)
    extend = (30 | 7 << 5).to_bytes(4, "little") + (1).to_bytes(4, "little")
    other = (3 | 11 << 5).to_bytes(4, "little") + bytes(12)
    long = (0 | 13 << 5).to_bytes(4, "little") + (20).to_bytes(4, "little") + bytes(16)
    padding = (29 | 17 << 5).to_bytes(4, "little") + (8).to_bytes(4, "little") + bytes(4)
    end = (29).to_bytes(4, "little")
    parts = (event, extend, other, long, padding, event, end)
    found = parse_page(page_of(sum(map(len, parts)), *parts), FORMAT).events
    assert [part.time_ns.tolist() for part in found] == [
        [1_005],
        [1_005 + 7 + (1 << 27) + 11 + 13 + 17 + 5],
    ]


def test_an_absolute_time_replaces_the_sum() -> None:
    """Except for the topmost bits."""
    event = FORMAT.length.to_bytes(4, "little") + bytes(4 * FORMAT.length)
    stamp = (31 | 9 << 5).to_bytes(4, "little") + (4).to_bytes(4, "little")
    found = parse_page(page_of(len(stamp + event), stamp, event), FORMAT).events
    assert found[0].time_ns.tolist() == [9 + (4 << 27)]


def test_an_event_with_other_fields_is_an_error() -> None:
    """As if a later kernel had renamed one."""
    text = (DATA / "format").read_text().replace("nr_accesses", "heat")
    with pytest.raises(ValueError, match="other fields"):
        EventFormat.parse(text)


def test_events_of_two_processors_are_sorted_by_time() -> None:
    """A kdamond may move to another processor during an aggregation."""
    whole = events([(0, 1, 0), (0, 2, 5), (0, 3, 0)])
    joined = Events.joined([whole[1:2], whole[np.array([True, False, True])]])
    assert joined.column("start").tolist() == [1, 2, 3]


def test_events_become_aggregations() -> None:
    """A new one begins where targets or addresses no longer ascend."""
    collector = Collector()
    found = collector.take(
        events([(0, 1, 4), (0, 2, 5), (1, 1, 6)], [(0, 1, 7), (1, 3, 8)]), 2, False
    )
    assert [
        {target: table.nr_accesses.tolist() for target, table in one.tables.items()}
        for one in found
    ] == [{0: [4, 5], 1: [6]}, {0: [7], 1: [8]}]
    assert collector.missed == 0


def test_a_single_region_is_an_aggregation() -> None:
    """The next event of the same region belongs to the next aggregation."""
    found = Collector().take(events([(0, 1, 4)], [(0, 1, 5)]), 1, False)
    assert [one.tables[0].nr_accesses.tolist() for one in found] == [[4], [5]]


def test_an_incomplete_aggregation_is_kept() -> None:
    """It is returned once its other regions have come."""
    collector, whole = Collector(), events([(0, 1, 4), (0, 2, 5)])
    assert collector.take(whole[:1], 1, False) == []
    (found,) = collector.take(whole[1:], 1, False)
    assert found.tables[0].nr_accesses.tolist() == [4, 5]


def test_a_target_may_have_no_regions() -> None:
    """If no more events come, the aggregation is complete without it."""
    collector = Collector()
    assert collector.take(events([(0, 1, 4)]), 2, False) == []
    (found,) = collector.take(Events.none(FORMAT), 2, True)
    assert list(found.tables) == [0]


def test_an_aggregation_with_missing_events_is_left_out() -> None:
    """The next aggregation is returned again."""
    collector = Collector()
    broken = events([(0, 1, 4), (0, 2, 5)], [(0, 1, 6), (0, 2, 7)])[
        np.array([True, False, True, True])
    ]
    (found,) = collector.take(broken, 1, False)
    assert found.tables[0].nr_accesses.tolist() == [6, 7]
    assert collector.missed == 1
