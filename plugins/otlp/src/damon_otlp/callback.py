"""The callback that sends a context's metrics."""

from damon_core import Context, hookimpl
from damon_otlp.options import OtlpOptions
from damon_otlp.sender import GRACE_S, Sender


class OtlpCallback:
    """Sends the metrics of its context, from a thread beside the monitoring.

    Args:
        options: Where to, how often, and what.
        sender: A sender to share with other contexts.

    Attributes:
        sender: The sender.

    Raises:
        InputError: The headers or certificates can't be read.
    """

    name = "otlp"

    def __init__(self, options: OtlpOptions | None = None, sender: Sender | None = None) -> None:
        self._options = options or OtlpOptions()
        self.sender = sender or Sender(self._options)

    @property
    def stop_timeout_us(self) -> int:
        """How long the end may take: a delivery."""
        return self._options.timeout + round(GRACE_S * 1e6)

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Begin to send."""
        self.sender.begin((self, context), context, self._options)

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Have the snapshot sent, with what is known of its pages only now."""
        self.sender.follow((self, context), context)

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Send once more; wait for that if no other context is sent."""
        self.sender.end((self, context))
