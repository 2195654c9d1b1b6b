"""What was accessed within fixed windows, against what is known to be true."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from damon_prometheus import Listener, PrometheusCallback, PrometheusOptions

from damon_core import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    CODES,
    UNTOUCHED,
    Context,
    HookContext,
    Intervals,
    Microseconds,
    PageMap,
    hookimpl,
)
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion, run_virtual

MIB = 1 << 20
MakeListener = Callable[..., Listener]
Values = Callable[[Listener], dict[str, float]]

#: One check a second, an aggregation every ten.
SLOW = Intervals(sampling_us=1_000_000, aggregation_us=10_000_000, update_us=3_600_000_000)
#: How long ago the regions are last accessed in the simulated hour, in seconds, and their sizes.
LAST_S = {0: 1, 30: 2, 300: 4, 1_800: 8, math.inf: 16}
RUN_S = 3_700


def last_accessed(ago_s: float) -> Callable[[int], float]:
    """Return the accesses of a region that ends being accessed some time before the end."""
    return lambda check: float(check < RUN_S - ago_s)


def windows_at_end(
    make_listener: MakeListener,
    values: Values,
    memory: ScriptedMemory,
    *,
    aggregations: int = RUN_S // 10,
    **options: object,
) -> dict[str, float]:
    """Return the working sets of windows at the end of a run on virtual time, in MiB."""
    listener, found = make_listener(), dict[str, float]()

    def look(context: Context) -> None:
        if context.stats.aggregations == aggregations:
            found.update(values(listener))

    run_virtual(
        memory,
        PrometheusCallback(PrometheusOptions(**options), listener),  # type: ignore[arg-type]
        Recorder(after_aggregation=look),
        intervals=SLOW,
        aggregations=aggregations,
    )
    start = 'damon_window_working_set_bytes{context="context",target="a",window="'
    return {
        name.removeprefix(start).strip('"}'): value / MIB
        for name, value in found.items()
        if name.startswith(start)
    }


def test_idle_ages_of_regions(make_listener: MakeListener, values: Values) -> None:
    """They say what was accessed in a window, for an hour, with no more than the regions kept."""
    regions, at = [], 0
    for ago_s, size in LAST_S.items():
        heat = last_accessed(ago_s)
        regions.append(ScriptedRegion(at, at + size * MIB, heat=heat))
        at += size * MIB
    found = windows_at_end(make_listener, values, ScriptedMemory({"a": regions}))
    assert found == {"1m": 1 + 2, "10m": 1 + 2 + 4, "1h": 1 + 2 + 4 + 8}


def test_a_window_that_has_not_passed_yet(make_listener: MakeListener, values: Values) -> None:
    """It has no series: nothing is known of its beginning."""
    memory = ScriptedMemory({"a": [ScriptedRegion(0, MIB, heat=1.0)]})
    found = windows_at_end(make_listener, values, memory, aggregations=60)
    assert list(found) == ["1m", "10m"]


def test_windows_as_configured(make_listener: MakeListener, values: Values) -> None:
    """Each has a series."""
    memory = ScriptedMemory({"a": [ScriptedRegion(0, MIB, heat=1.0)]})
    windows = (Microseconds(20_000_000), Microseconds(90_000_000))
    found = windows_at_end(make_listener, values, memory, aggregations=10, windows=windows)
    assert found == {"20s": 1, "1m30s": 1}


class Pages(ScriptedMemory):
    """Memory of which every page is known: some were last accessed a given time ago."""

    def __init__(self, idle_s: dict[int, int]) -> None:
        super().__init__({"a": [ScriptedRegion(0, BLOCK_BYTES, heat=1.0)]})
        self._idle_s = idle_s

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        codes = np.zeros((1, BLOCK_PAGES), dtype=np.uint8)
        idle_us = np.zeros(CODES, dtype=np.int64)
        place = 0
        for code, (ago_s, pages) in enumerate(self._idle_s.items(), UNTOUCHED):
            idle_us[code:] = ago_s * 1_000_000
            codes[0, place : place + pages] = code
            place += pages
        codes[0, place : place + 256] = 13  # accessed since the clearing
        (target,) = context.targets
        target.page_map = PageMap(
            np.array([0]), codes, idle_us, shortest=13, longest=23, watched_us=3_700_000_000
        )


@pytest.mark.slow
def test_where_every_page_is_known(make_listener: MakeListener, values: Values) -> None:
    """The windows are exact to the page, whatever the regions say."""
    memory = Pages({60: 1, 61: 2, 600: 4, 3_599: 8, 3_601: 16})
    found = windows_at_end(make_listener, values, memory)
    pages = {name: value * MIB / 4096 for name, value in found.items()}
    assert pages == {"1m": 256 + 1, "10m": 256 + 1 + 2 + 4, "1h": 256 + 1 + 2 + 4 + 8}


def test_where_only_bounds_are_known(make_listener: MakeListener, values: Values) -> None:
    """It is what may have been accessed: what is known to be idle is not part of it."""
    region = ScriptedRegion(0, 8 * MIB, heat=1.0, touched_bytes=MIB, idle_10s_bytes=5 * MIB)
    found = windows_at_end(
        make_listener,
        values,
        ScriptedMemory({"a": [region]}),
        aggregations=7,
        windows=(Microseconds(10_000_000), Microseconds(60_000_000)),
    )
    assert found == {"10s": 3, "1m": 8}


@pytest.mark.parametrize("windows", [(2, 1), (0,)])
def test_windows_that_can_not_be(windows: tuple[int, ...]) -> None:
    """They ascend."""
    with pytest.raises(ValueError, match="durations"):
        PrometheusOptions(windows=tuple(map(Microseconds, windows)))
