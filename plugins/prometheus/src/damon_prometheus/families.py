"""The metrics as Prometheus knows them: their names and types, by its conventions."""

from typing import Final

from attrs import frozen
from prometheus_client import Metric

from damon_core.metrics import OF_CONTEXTS, OF_SNAPSHOTS, Instrument


@frozen
class Family:
    """The description of one metric.

    Attributes:
        name: The name of its series, with ``_total`` or ``_info`` where its kind has that.
        help: What it is.
        kind: ``gauge``, ``counter`` or ``info``.
    """

    name: str
    help: str
    kind: str = "gauge"

    @classmethod
    def of(cls, instrument: Instrument) -> "Family":
        """Return what a metric is here."""
        is_counter = instrument.kind == "counter"
        name = f"damon_{instrument.flat_name}" + "_total" * is_counter
        return cls(name, instrument.help, "counter" if is_counter else "gauge")

    def empty(self) -> Metric:
        """Return the metric without series."""
        return Metric(self.name.removesuffix("_total").removesuffix("_info"), self.help, self.kind)


TARGET_INFO: Final = Family(
    "damon_target_info", "Always 1; the labels are what the targets are known by.", "info"
)
SCRAPES: Final = Family(
    "damon_scrape_cpu_seconds_total",
    "CPU time that requests have cost; it is part of that of the contexts, too.",
    "counter",
)
BUILD: Final = Family(
    "damon_build_info",
    "Always 1; the labels are the versions of damon-core and damon-prometheus.",
    "info",
)

#: The metrics that are everywhere, here.
BY_INSTRUMENT: Final = {each: Family.of(each) for each in (*OF_SNAPSHOTS, *OF_CONTEXTS)}

#: What follows from a snapshot: it is the same until the next aggregation.
SNAPSHOTS: Final = (*(BY_INSTRUMENT[each] for each in OF_SNAPSHOTS), TARGET_INFO)
#: What may change at any time.
COUNTS: Final = (*(BY_INSTRUMENT[each] for each in OF_CONTEXTS), SCRAPES, BUILD)

FAMILIES: Final = (*SNAPSHOTS, *COUNTS)
