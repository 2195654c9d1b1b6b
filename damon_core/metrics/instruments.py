"""The metrics: what they are called, their units and kinds, and what they mean.

Names have dots and units are of UCUM, as OpenTelemetry's conventions say. Exporters that have
other conventions derive theirs from `Instrument.flat_name`.
"""

from typing import Final, Literal

from attrs import frozen

#: What names without dots end in, by the unit.
_SUFFIXES: Final = {"By": "_bytes", "s": "_seconds", "1": "_ratio"}


@frozen
class Instrument:
    """What is measured.

    Attributes:
        name: Its name, with dots, such as ``window.working_set``; exporters put ``damon`` in front.
        unit: Its unit, in UCUM; of what is counted a word in braces, such as ``{region}``.
        help: What it means, in one line. Labels are called by their names.
        kind: An amount may rise and fall, and can be added up over targets; a gauge can't be added
            up; a counter only grows.
    """

    name: str
    unit: str
    help: str
    kind: Literal["amount", "gauge", "counter"] = "amount"

    @property
    def flat_name(self) -> str:
        """Its name with its unit and without dots, as a `damon_core.Measure` has it."""
        return self.name.replace(".", "_") + _SUFFIXES.get(self.unit, "")


WORKING_SET: Final = Instrument(
    "working_set", "By", "Bytes accessed during the last aggregation interval."
)
WINDOW: Final = Instrument(
    "window.working_set",
    "By",
    "Bytes in memory that were accessed at least once within the time that window says, up to the "
    "last aggregation.",
)
ACCESSED: Final = Instrument("accessed", "By", "Mean bytes accessed in a sampling interval.")
MONITORED: Final = Instrument("monitored", "By", "Monitored resident bytes.")
FREQUENCY: Final = Instrument(
    "frequency",
    "By",
    "Bytes that an access was found to in more than the share of checks that above says.",
)
IDLE: Final = Instrument(
    "idle",
    "By",
    "Bytes without an access for at least as long as at_least says, as last measured; missing "
    "where that isn't known.",
)
IDLE_MEASURED: Final = Instrument(
    "idle.measured.timestamp",
    "s",
    "When the idle bytes were measured, in Unix time.",
    "gauge",
)
TOUCHED: Final = Instrument(
    "touched",
    "By",
    "Bytes that are accessed within the time that within says, and so at least that often; missing "
    "where that isn't known.",
)
KIND: Final = Instrument(
    "kind",
    "By",
    "Bytes of the kind of memory that memory_kind says; missing unless the primitive was asked.",
)
KIND_IDLE: Final = Instrument(
    "kind.idle",
    "By",
    "Bytes of a kind of memory without an access for at least as long as at_least says; of what is "
    "idle in a region, each kind has the share that it has of all.",
)
REGIONS: Final = Instrument("regions", "{region}", "Number of regions.")
OWNER: Final = Instrument("owner", "By", "Monitored bytes of an owner.")
OWNER_WORKING_SET: Final = Instrument(
    "owner.working_set",
    "By",
    "Bytes of an owner that were accessed during the last aggregation interval.",
)
OWNER_ACCESSED: Final = Instrument(
    "owner.accessed",
    "By",
    "Mean bytes of an owner that were accessed in a sampling interval.",
)
LOST: Final = Instrument(
    "target.lost",
    "s",
    "CPU time that monitoring has cost the targets, where that is known.",
    "counter",
)
LATE_MEASURED: Final = Instrument(
    "late_target.measured.timestamp",
    "s",
    "When the oldest value of late targets was measured, in Unix time; missing where none is late.",
    "gauge",
)
TARGETS: Final = Instrument("targets", "{target}", "Number of targets, such as processes.")
LAST: Final = Instrument(
    "last_aggregation.timestamp", "s", "When the last aggregation ended, in Unix time.", "gauge"
)

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
    KIND,
    KIND_IDLE,
    REGIONS,
    OWNER,
    OWNER_WORKING_SET,
    OWNER_ACCESSED,
    LOST,
    LATE_MEASURED,
    TARGETS,
    LAST,
)

LEFT_OUT: Final = Instrument(
    "targets.left_out",
    "{target}",
    "Number of what should be monitored and isn't, by reason; missing where there is nothing.",
)
SAMPLES: Final = Instrument("samples", "{check}", "Access checks made.", "counter")
MISSED: Final = Instrument(
    "missed_samples",
    "{check}",
    "Access checks left out because their time had passed.",
    "counter",
)
AGGREGATIONS: Final = Instrument(
    "aggregations", "{aggregation}", "Aggregations completed.", "counter"
)
FAILURES: Final = Instrument(
    "callback.failures", "{call}", "Calls of a callback that failed.", "counter"
)
SWITCHED_OFF: Final = Instrument(
    "callback.switched_off",
    "{callback}",
    "1 while a callback that failed too often in a row is tried only now and then.",
)
SKIPPED: Final = Instrument(
    "callback.skipped_calls",
    "{call}",
    "Calls of a callback that were left out because it was switched off.",
    "counter",
)
CPU: Final = Instrument(
    "cpu",
    "s",
    "CPU time of the monitoring thread, of the kernel's sampling for it, and of exporting metrics.",
    "counter",
)
SLOWDOWN: Final = Instrument(
    "slowdown",
    "1",
    "Share of its time that the target which lost the largest has lost since it was added.",
    "gauge",
)
STALL: Final = Instrument(
    "longest_stall",
    "s",
    "Longest time for which monitoring has locked the memory map of a target.",
    "gauge",
)
STALENESS: Final = Instrument(
    "staleness", "s", "Age of the oldest value of a target that is given.", "gauge"
)
RESTING: Final = Instrument(
    "resting_targets",
    "{target}",
    "Targets that are looked at less often than max_staleness asks for, as the budget allows.",
)
LATE: Final = Instrument(
    "late_targets",
    "{target}",
    "Targets with values that are older than max_staleness by a quarter, or with none yet.",
)
SAMPLING: Final = Instrument("sampling_interval", "s", "Sampling interval in force.", "gauge")
AGGREGATION: Final = Instrument(
    "aggregation_interval", "s", "Aggregation interval in force.", "gauge"
)
RUNNING: Final = Instrument(
    "running", "{context}", "1 while the context monitors, 0 when it has ended."
)

#: What a context knows of itself: it may change at any time.
OF_CONTEXTS: Final = (
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
    LATE,
    SAMPLING,
    AGGREGATION,
    RUNNING,
)
