"""The callback that this package registers."""

from collections.abc import Callable

from damon_alert.callback import AlertCallback
from damon_alert.options import AlertOptions
from damon_core import Callback, hookimpl


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Register the callback ``alert``."""
    register(
        Callback(
            "alert",
            AlertCallback,
            AlertOptions,
            "Alerts to a log, a program, an HTTP hook or Alertmanager",
        )
    )
