"""The metrics that are exported."""

from damon_otlp import metrics as otlp_metrics
from damon_prometheus.families import FAMILIES

from damon_core.metrics import Instrument
from docs.sphinx.reference.markdown import code, table


def prometheus() -> str:
    """Return the metrics of the callback ``prometheus``."""
    rows = [(code(family.name), family.kind, family.help) for family in FAMILIES]
    return table(("metric", "kind", "meaning"), rows)


def otlp() -> str:
    """Return the metrics of the callback ``otlp``."""
    own = [each for each in vars(otlp_metrics).values() if isinstance(each, Instrument)]
    rows = [
        (code(each.name), each.kind, code(each.unit), each.help)
        for each in (*otlp_metrics.NAMED.values(), *own)
    ]
    return table(("metric", "kind", "unit", "meaning"), rows)
