"""The columns of records: what formats keep of snapshots, named once for all of them.

A format picks from `COLUMNS` what it keeps. It may keep a column in another form, as Parquet keeps
since when a region has been idle instead of for how long; what it gives back is the same.
"""

from collections.abc import Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from damon_core.memory.idle import IDLE_SPANS
from damon_core.memory.regions import FloatColumn
from damon_core.units import format_duration


@frozen
class Column:
    """A column of records.

    Attributes:
        name: Its name; the unit is its end.
        dtype: What its values are.
        of: What has one value: an aggregation, a target or a region. In files with one row a
            region, the value of an aggregation or target stands in each row.
        meaning: What it means, in one line.
        label: What it is called in messages, in the plural.
        attribute: Which attribute holds it, of a `Snapshot` for an aggregation and of a
            `TargetSnapshot` for targets and regions. By default it has the column's name.
        optional: Whether the attribute may be None, where nobody knows the values.
    """

    name: str
    dtype: Literal[
        "int64", "float64", "text", "areas", "owners", "labels", "spectrum", "kinds", "percentiles"
    ]
    of: Literal["aggregation", "target", "region"]
    meaning: str
    label: str
    attribute: str = field()
    optional: bool = False

    @attribute.default
    def _attribute_of_the_name(self) -> str:
        return self.name

    def get(self, part: object) -> Any:
        """Return the values of a snapshot, or of one target's part of it."""
        return attrgetter(self.attribute)(part)


#: Every column that a record can have, by name.
COLUMNS: Final[Mapping[str, Column]] = MappingProxyType(
    {
        column.name: column
        for column in (
            Column(
                "time_us",
                "int64",
                "aggregation",
                "when the aggregation ended, microseconds since 1970-01-01 UTC",
                "times",
            ),
            Column("context", "text", "aggregation", "name of the context", "names of contexts"),
            Column(
                "number",
                "int64",
                "aggregation",
                "number of the aggregation since the context started, from 1",
                "numbers of aggregations",
            ),
            Column(
                "elapsed_us",
                "int64",
                "aggregation",
                "how long the aggregation took, microseconds",
                "how long aggregations took",
            ),
            Column(
                "sampling_us",
                "int64",
                "aggregation",
                "sampling interval in force, microseconds",
                "intervals",
                "intervals.sampling_us",
            ),
            Column(
                "aggregation_us",
                "int64",
                "aggregation",
                "aggregation interval in force, microseconds",
                "intervals",
                "intervals.aggregation_us",
            ),
            Column(
                "update_us",
                "int64",
                "aggregation",
                "update interval in force, microseconds",
                "intervals",
                "intervals.update_us",
            ),
            Column(
                "max_nr_accesses",
                "int64",
                "aggregation",
                "number of checks in the aggregation: the greatest possible nr_accesses",
                "numbers of checks",
            ),
            Column("target", "text", "target", "name of the target", "names of targets", "name"),
            Column("start", "int64", "region", "first address of the region", "borders of regions"),
            Column(
                "end", "int64", "region", "first address after the region", "borders of regions"
            ),
            Column(
                "nr_accesses",
                "float64",
                "region",
                "number of checks that saw an access to the region; fractions are estimates, "
                "right to 1 %",
                "counts of accesses",
            ),
            Column(
                "age",
                "int64",
                "region",
                "number of aggregations for which the region's access frequency has stayed similar",
                "ages",
            ),
            Column(
                "idle_us",
                "int64",
                "region",
                "time without an access to the region, microseconds; 0 if there was one in this "
                "aggregation",
                "idle times",
            ),
            Column(
                "resident_bytes",
                "int64",
                "region",
                "bytes of the region that were in memory",
                "resident bytes",
            ),
            Column(
                "touched_bytes",
                "int64",
                "region",
                "bytes of the region that were accessed in the aggregation; unknown where single "
                "pages are checked",
                "touched bytes",
                optional=True,
            ),
            *(
                Column(
                    span.column,
                    "int64",
                    "region",
                    "bytes of the region that hadn't been accessed for at least "
                    f"{format_duration(span.us)}, as last measured; unknown where the backend "
                    "can't measure it, or hasn't yet",
                    "idle bytes",
                    optional=True,
                )
                for span in IDLE_SPANS
            ),
            *(
                Column(
                    span.age,
                    "int64",
                    "target",
                    f"how old the target's {span.column} are, microseconds",
                    "ages of idle bytes",
                    f"idle_ages.{span.age}",
                    optional=True,
                )
                for span in IDLE_SPANS
            ),
            Column(
                "kinds",
                "kinds",
                "region",
                "bytes of the region by kind of memory, such as anonymous, huge or swapped; "
                "unknown unless the primitive was asked for them",
                "kinds of memory",
                optional=True,
            ),
            Column(
                "lost_us",
                "int64",
                "target",
                "CPU time that monitoring has cost the target so far, as far as that is known, "
                "microseconds",
                "costs to targets",
                "toll.cpu_us",
            ),
            Column(
                "held_us",
                "int64",
                "target",
                "how long monitoring has locked the target's memory map so far, microseconds",
                "costs to targets",
                "toll.held_us",
            ),
            Column(
                "longest_stall_us",
                "int64",
                "target",
                "the longest time for which it was locked at once so far, microseconds",
                "costs to targets",
                "toll.longest_us",
            ),
            Column(
                "stale_us",
                "int64",
                "target",
                "how old the target's values were when the aggregation ended, microseconds; 0 "
                "unless others had to be looked at first",
                "ages of values",
            ),
            Column(
                "labels",
                "labels",
                "target",
                "what else the target is known by, such as its unit and container",
                "labels of targets",
            ),
            Column(
                "areas",
                "areas",
                "target",
                "the target's mappings: start, end and name of each",
                "names of mappings",
            ),
            Column(
                "owners",
                "owners",
                "target",
                "owners of the target's memory, such as cgroups, if they are known",
                "owners",
            ),
            Column(
                "spectrum",
                "spectrum",
                "target",
                "bytes of the target by how often they are accessed; unknown where the backend "
                "doesn't know every page",
                "spectra",
                optional=True,
            ),
            Column(
                "reported_idle_us",
                "percentiles",
                "target",
                "for how long the target's memory hasn't been accessed, from the 0th to the 100th "
                "percentile, less than 0 for memory in use, microseconds; as something else says, "
                "such as DAMON_STAT",
                "idle times that something else has reported",
                "reported.idle_us",
                optional=True,
            ),
            Column(
                "reported_bytes_per_second",
                "int64",
                "target",
                "bytes of the target accessed in a second, as something else says, such as "
                "DAMON_STAT",
                "bandwidths that something else has reported",
                "reported.bytes_per_second",
                optional=True,
            ),
        )
    }
)

#: The columns that `assemble_snapshot` needs; it may be given optional ones as well.
REGION_COLUMNS: Final = tuple(
    name for name, column in COLUMNS.items() if column.of == "region" and not column.optional
)


def fill_in(columns: Mapping[str, npt.NDArray[Any]], aggregation_us: int) -> dict[str, Any]:
    """Return region columns together with those that a record lacks.

    All of a region counts as resident, and one without an access as idle for its age and this
    aggregation.

    Args:
        columns: All of `REGION_COLUMNS`, but perhaps ``idle_us`` and ``resident_bytes``.
        aggregation_us: How long an aggregation takes.
    """
    filled = dict(columns)
    if "idle_us" not in filled:
        idle_us = (filled["age"] + 1) * aggregation_us
        filled["idle_us"] = np.where(filled["nr_accesses"] > 0, 0, idle_us)
    if "resident_bytes" not in filled:
        filled["resident_bytes"] = filled["end"] - filled["start"]
    return filled


def rounded_counts(nr_accesses: FloatColumn) -> FloatColumn:
    """Return counts as records keep them: fractions with seven binary digits, which is 1 %.

    Fractions are estimates, so the other digits are noise, and would be most of a file. Whole
    numbers stay as they are.
    """
    mantissa, exponent = np.frexp(nr_accesses)
    rounded = np.ldexp(np.round(mantissa * 128) / 128, exponent)
    return np.where(nr_accesses == np.round(nr_accesses), nr_accesses, rounded)
