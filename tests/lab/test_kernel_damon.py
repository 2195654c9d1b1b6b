"""The kernel's DAMON for benchmarks."""

import pytest

from damon_core import Intervals, RegionLimits
from tests.lab.errors import LabError
from tests.lab.kernel_damon import KernelDamon, parse_aggregations
from tests.lab.needs import GUEST

INTERVALS = Intervals(sampling_us=100_000, aggregation_us=2_000_000, update_us=20_000_000)

TRACE = """\
# tracer: nop
       kdamond.0-71      [000] .....    12.000345: damon_aggregated: target_id=0 nr_regions=2 \
4096-8192: 20 3
       kdamond.0-71      [000] .....    12.000351: damon_aggregated: target_id=0 nr_regions=2 \
8192-20480: 0 7
       kdamond.0-71      [000] .....    14.100000: damon_aggregated: target_id=0 nr_regions=2 \
4096-8192: 1 0
"""


def test_a_trace_is_read_aggregation_by_aggregation() -> None:
    """An aggregation has the time of its last region; an incomplete one is left out."""
    (aggregation,) = parse_aggregations(TRACE.splitlines())
    assert aggregation.boottime_us == 12_000_351
    assert aggregation.start.tolist() == [4096, 8192]
    assert aggregation.end.tolist() == [8192, 20480]
    assert aggregation.nr_accesses.tolist() == [20, 0]


def test_it_is_never_used_outside_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other machines it may be in use."""
    monkeypatch.delenv(GUEST, raising=False)
    with pytest.raises(LabError, match="only be used in the lab"):
        KernelDamon(1, INTERVALS, RegionLimits())
