"""The callback that this package registers with damon-core."""

from collections.abc import Callable as Function
from collections.abc import Sequence

from damon_core import Callback, Finding, InputError, hookimpl
from damon_prometheus.callback import PrometheusCallback
from damon_prometheus.listener import Listener, SharedListeners
from damon_prometheus.options import PrometheusOptions


@hookimpl
def register_callbacks(register: Function[[Callback], None]) -> None:
    """Register ``prometheus``; all contexts of one registration share listeners."""
    listeners = SharedListeners()

    def make(options: PrometheusOptions) -> PrometheusCallback:
        return PrometheusCallback(options, listeners.get(options))

    register(Callback("prometheus", make, PrometheusOptions, "Metrics for Prometheus", probe=probe))


def probe() -> Sequence[Finding]:
    """Check whether the default address can be listened on."""
    options = PrometheusOptions()
    try:
        listener = Listener(options)
    except InputError as error:
        return [Finding("default address", False, str(error), required=False)]
    listener.release(None)
    return [Finding("default address", True, f"{options.address}:{options.port} is free")]
