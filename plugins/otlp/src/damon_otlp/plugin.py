"""The callback that this package registers with damon-core. The SDK is imported when it is used."""

from collections.abc import Callable as Function
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from damon_core import Callback, hookimpl
from damon_otlp.options import OtlpOptions

if TYPE_CHECKING:
    from damon_otlp.sender import Sender


@hookimpl
def register_callbacks(register: Function[[Callback], None]) -> None:
    """Register ``otlp``; contexts with the same options share one sender, while it is in use."""
    senders: WeakValueDictionary[OtlpOptions, Sender] = WeakValueDictionary()

    def make(options: OtlpOptions) -> object:
        from damon_otlp.callback import OtlpCallback  # noqa: PLC0415
        from damon_otlp.sender import Sender  # noqa: PLC0415

        sender = senders.get(options)
        if sender is None:
            sender = senders[options] = Sender(options)
        return OtlpCallback(options, sender)

    register(Callback("otlp", make, OtlpOptions, "Metrics for OpenTelemetry, by OTLP over HTTP"))
