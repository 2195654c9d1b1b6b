"""Serve the snapshots of damon-core's contexts to Prometheus.

Several contexts may share one `Listener`; each needs its own `PrometheusCallback`::

    listener = Listener(ListenerOptions(port=9464))
    contexts = [
        Context(primitive, [PrometheusCallback(listener=listener)], name=name)
        for name, primitive in primitives.items()
    ]
"""

from damon_prometheus.callback import PrometheusCallback
from damon_prometheus.listener import Listener
from damon_prometheus.options import (
    BasicAuthOptions,
    ListenerOptions,
    PrometheusOptions,
    TlsOptions,
)

__all__ = [
    "BasicAuthOptions",
    "Listener",
    "ListenerOptions",
    "PrometheusCallback",
    "PrometheusOptions",
    "TlsOptions",
]
