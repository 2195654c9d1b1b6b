"""Metrics of contexts, for callbacks that export them: the same ones, whatever the protocol.

An exporter keeps the contexts that it exports in `Exports`: `begin` in ``before_start``, `follow`
in ``after_aggregation``, `end` in ``before_terminate``. When it is asked, or sends, it goes through
`Exports.current`: of each context it gives `context_values`, of one with a snapshot (`followed`)
`SnapshotValues`, and of all of them what their parts know, by `Measures`. How an `Instrument` and
its labels are called is the exporter's: its conventions say it. What that cost is charged to the
contexts (`Exports.charge`), as it belongs to what monitoring costs; a `Pacer` keeps it from
delaying checks. Options are `MetricsOptions` and what the protocol needs.
"""

from damon_core.metrics.exports import Exported, Exports, Measured, Measures
from damon_core.metrics.following import Followed
from damon_core.metrics.grouping import Groups, text
from damon_core.metrics.instruments import OF_CONTEXTS, OF_SNAPSHOTS, Instrument
from damon_core.metrics.options import MetricsOptions
from damon_core.metrics.pacing import Pacer
from damon_core.metrics.values import GroupValues, SnapshotValues, Value, context_values

__all__ = [
    "OF_CONTEXTS",
    "OF_SNAPSHOTS",
    "Exported",
    "Exports",
    "Followed",
    "GroupValues",
    "Groups",
    "Instrument",
    "Measured",
    "Measures",
    "MetricsOptions",
    "Pacer",
    "SnapshotValues",
    "Value",
    "context_values",
    "text",
]
