"""Reports of records in which every page is known."""

import json
from typing import Any

import numpy as np
import pytest
from damon_report.exact import by_page, part_of

from damon_core import BLOCK_PAGES, SPECTRUM_US, Area, PageMap, RecordInfo, Snapshot

PAGE = 4096
MIB = 1 << 20
HOT, WARM, COLD = 13, 17, 26
KEPT = RecordInfo(pages=True)


def a_map(periods: list[int], weights: list[float] | None = None) -> PageMap:
    """Return a map of pages from address 0 on."""
    flat = np.array(periods, dtype=np.uint8)
    rows = np.append(flat, np.zeros(-len(flat) % BLOCK_PAGES, np.uint8)).reshape(-1, BLOCK_PAGES)
    return PageMap.of_periods(
        np.arange(len(rows)) * 2 * MIB,
        rows,
        shortest=HOT,
        longest=20,
        watched_us=60_000_000,
        weights=None if weights is None else np.array(weights),
    )


#: 256 pages, a MiB: a hot page, two warm ones in its middle, the rest cold.
PERIODS = [HOT] + [COLD] * 127 + [WARM] * 2 + [COLD] * 126


def a_snapshot(snapshot: Any, page_map: PageMap, **others: Any) -> Snapshot:
    """Return an aggregation of which the region says little."""
    made: Snapshot = snapshot(
        1, {"t[1]": [(0, 1, 3)]}, touched=0.5, page_maps={"t[1]": page_map}, **others
    )
    return made


def test_regions_of_runs(snapshot: Any) -> None:
    """To the page: what is touched, and for how long the rest is idle."""
    found = by_page(a_snapshot(snapshot, a_map(PERIODS)))
    assert (found.start // PAGE).tolist() == [0, 1, 128, 130]
    assert (found.end // PAGE).tolist() == [1, 128, 130, 256]
    assert found.touched_bytes is not None
    assert (found.touched_bytes // PAGE).tolist() == [1, 0, 2, 0]
    assert found.idle_us.tolist() == [0, 1 << COLD, 0, 1 << COLD]


def test_pages_found_later_are_accessed_less_often(snapshot: Any) -> None:
    """Each time by half: WARM is four powers of two after HOT."""
    found = by_page(a_snapshot(snapshot, a_map(PERIODS)))
    assert found.nr_accesses.tolist() == [10, 0, 10 / 16, 0]


def test_regions_stay_where_only_samples_are_known(snapshot: Any) -> None:
    """They are of all memory."""
    made = a_snapshot(snapshot, a_map(PERIODS, weights=[7.0]))
    assert by_page(made) is made


def test_part_of_a_map() -> None:
    """Of other pages nothing is in memory."""
    part = part_of(a_map(PERIODS), np.array([0, 129 * PAGE]), np.array([PAGE, 131 * PAGE]))
    assert np.flatnonzero(part.codes).tolist() == [0, 129, 130]


def test_heat_map_is_exact_to_the_page(reports: Any, snapshot: Any) -> None:
    """Where its region is the same all over."""
    record = reports.add("r", [a_snapshot(snapshot, a_map(PERIODS))], KEPT)
    result = reports.run("heatmap", record, "--json", "--height", "256", "--width", "1")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["working_set_bytes"] == [3 * PAGE]


def spectrum(reports: Any, *arguments: str) -> list[dict[str, Any]]:
    """Return the JSON of the report."""
    result = reports.run("spectrum", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.output)["spectra"]
    return found


def test_spectrum_is_cumulative(reports: Any, snapshot: Any) -> None:
    """None stands for what isn't known."""
    record = reports.add("r", [a_snapshot(snapshot, a_map(PERIODS))])
    (found,) = spectrum(reports, record)
    assert [each["within_us"] for each in found["within"]] == list(SPECTRUM_US)
    pages = [each["bytes"] and each["bytes"] // PAGE for each in found["within"]]
    assert pages == [None, 1, 1, 3, 3, 3, None, None]
    assert found["total_bytes"] == MIB


def test_spectrum_by_target(reports: Any, snapshot: Any) -> None:
    """The whole first."""
    record = reports.add("r", [a_snapshot(snapshot, a_map(PERIODS))])
    assert [each["name"] for each in spectrum(reports, record, "--by", "target")] == ["", "t[1]"]


def test_spectrum_as_a_table(reports: Any, snapshot: Any) -> None:
    """What is between two times, and what is at least as often."""
    record = reports.add("r", [a_snapshot(snapshot, a_map(PERIODS))])
    lines = reports.run("spectrum", record).output.splitlines()
    row = next(line for line in lines if line.startswith("65.5ms to 524ms"))
    assert "8.00 KiB" in row or "8.0 KiB" in row
    assert row.split()[-3:-1] == ["12.0", "KiB"]


def test_spectrum_of_a_mapping(reports: Any, snapshot: Any) -> None:
    """Of records that have every page."""
    areas = {"t[1]": (Area(0, MIB // 2, "a"), Area(MIB // 2, MIB, "b"))}
    record = reports.add("r", [a_snapshot(snapshot, a_map(PERIODS), areas=areas)], KEPT)
    (found,) = spectrum(reports, record, "--mapping", "b")
    assert found["total_bytes"] == MIB // 2
    assert found["within"][3]["bytes"] == 2 * PAGE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "doesn't know every page"), (("--address", "0-1000"), "record --pages")],
)
def test_no_spectrum_is_an_error(
    reports: Any, snapshot: Any, arguments: tuple[str, ...], message: str
) -> None:
    """The message says why there is none."""
    record = reports.add("r", [snapshot(1, {"t": [(0, 1, 3)]})])
    result = reports.run("spectrum", record, *arguments)
    assert result.exit_code == 2
    assert message in str(result.exception) + result.output
