"""The metrics: their names, types and meanings."""

from typing import Final

from attrs import frozen
from prometheus_client import Metric


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

    def empty(self) -> Metric:
        """Return the metric without series."""
        return Metric(self.name.removesuffix("_total").removesuffix("_info"), self.help, self.kind)


WORKING_SET: Final = Family(
    "damon_working_set_bytes", "Bytes accessed during the last aggregation interval."
)
WINDOW: Final = Family(
    "damon_window_working_set_bytes",
    "Bytes in memory that were accessed at least once within the time that the label says, up to "
    "the last aggregation.",
)
ACCESSED: Final = Family("damon_accessed_bytes", "Mean bytes accessed in a sampling interval.")
MONITORED: Final = Family("damon_monitored_bytes", "Monitored resident bytes.")
FREQUENCY: Final = Family(
    "damon_frequency_bytes",
    "Bytes that an access was found to in more than the share of checks that the label says.",
)
IDLE: Final = Family(
    "damon_idle_bytes",
    "Bytes without an access for at least as long as the label says, as last measured; missing "
    "where that isn't known.",
)
IDLE_MEASURED: Final = Family(
    "damon_idle_measured_timestamp_seconds",
    "When the idle bytes were measured, in Unix time.",
)
TOUCHED: Final = Family(
    "damon_touched_bytes",
    "Bytes that are accessed within the time that the label says, and so at least that often; "
    "missing where that isn't known.",
)
REGIONS: Final = Family("damon_regions", "Number of regions.")
OWNER_BYTES: Final = Family("damon_owner_bytes", "Monitored bytes of an owner.")
OWNER_WORKING_SET: Final = Family(
    "damon_owner_working_set_bytes",
    "Bytes of an owner that were accessed during the last aggregation interval.",
)
OWNER_ACCESSED: Final = Family(
    "damon_owner_accessed_bytes",
    "Mean bytes of an owner that were accessed in a sampling interval.",
)
TARGET_INFO: Final = Family(
    "damon_target_info", "Always 1; the labels are what the targets are known by.", "info"
)
LOST: Final = Family(
    "damon_target_lost_seconds_total",
    "CPU time that monitoring has cost the targets, where that is known.",
    "counter",
)
LAST: Final = Family(
    "damon_last_aggregation_timestamp_seconds",
    "When the last aggregation ended, in Unix time.",
)
TARGETS: Final = Family("damon_targets", "Number of targets, such as processes.")

#: What follows from a snapshot: it is the same until the next aggregation.
OF_SNAPSHOTS: Final = (
    WORKING_SET,
    WINDOW,
    ACCESSED,
    MONITORED,
    FREQUENCY,
    IDLE,
    IDLE_MEASURED,
    TOUCHED,
    REGIONS,
    OWNER_BYTES,
    OWNER_WORKING_SET,
    OWNER_ACCESSED,
    TARGET_INFO,
    LOST,
    TARGETS,
    LAST,
)

LEFT_OUT: Final = Family(
    "damon_targets_left_out",
    "Number of what should be monitored and isn't, by reason; missing where there is nothing.",
)
SAMPLES: Final = Family("damon_samples_total", "Access checks made.", "counter")
MISSED: Final = Family(
    "damon_missed_samples_total", "Access checks left out because their time had passed.", "counter"
)
AGGREGATIONS: Final = Family("damon_aggregations_total", "Aggregations completed.", "counter")
FAILURES: Final = Family(
    "damon_callback_failures_total", "Calls of a callback that failed.", "counter"
)
SWITCHED_OFF: Final = Family(
    "damon_callback_switched_off",
    "1 while a callback that failed too often in a row is tried only now and then.",
)
SKIPPED: Final = Family(
    "damon_callback_skipped_calls_total",
    "Calls of a callback that were left out because it was switched off.",
    "counter",
)
CPU: Final = Family(
    "damon_cpu_seconds_total",
    "CPU time of the monitoring thread, of the kernel's sampling for it, and of scrapes.",
    "counter",
)
SLOWDOWN: Final = Family(
    "damon_slowdown_ratio",
    "Share of its time that the target which lost the largest has lost since it was added.",
)
STALL: Final = Family(
    "damon_longest_stall_seconds",
    "Longest time for which monitoring has locked the memory map of a target.",
)
STALENESS: Final = Family(
    "damon_staleness_seconds", "Age of the oldest value of a target that is served."
)
RESTING: Final = Family(
    "damon_resting_targets",
    "Targets that are looked at less often than max_staleness asks for, as the budget allows.",
)
SAMPLING: Final = Family("damon_sampling_interval_seconds", "Sampling interval in force.")
AGGREGATION: Final = Family("damon_aggregation_interval_seconds", "Aggregation interval in force.")
RUNNING: Final = Family("damon_running", "1 while the context monitors, 0 when it has ended.")
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

#: What may change at any time.
COUNTS: Final = (
    LEFT_OUT,
    SAMPLES,
    MISSED,
    AGGREGATIONS,
    FAILURES,
    SWITCHED_OFF,
    SKIPPED,
    CPU,
    SLOWDOWN,
    STALL,
    STALENESS,
    RESTING,
    SAMPLING,
    AGGREGATION,
    RUNNING,
    SCRAPES,
    BUILD,
)

FAMILIES: Final = (*OF_SNAPSHOTS, *COUNTS)
