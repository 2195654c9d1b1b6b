"""The callback that serves a context's metrics."""

from damon_core import Context, hookimpl
from damon_prometheus.listener import Listener
from damon_prometheus.options import PrometheusOptions


class PrometheusCallback:
    """Serves the metrics of its context.

    Args:
        options: What to serve and, without a `listener`, where.
        listener: A listener to share with other contexts. The listener's options in `options`
            are then ignored.

    Attributes:
        listener: The listener that serves the metrics.

    Raises:
        InputError: The listener can't be opened.
    """

    name = "prometheus"

    def __init__(
        self, options: PrometheusOptions | None = None, listener: Listener | None = None
    ) -> None:
        self._options = options or PrometheusOptions()
        self.listener = listener or Listener(self._options)
        # Until the first context starts, the callback itself counts as the listener's user.
        self.listener.acquire(self)
        self.listener.contexts.expect(self)

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Open the listener if it is closed, and serve the context there."""
        self.listener.acquire((self, context))
        self.listener.release(self)
        self.listener.contexts.begin(self, context, self._options)
        self.listener.lifecycle.reloader = context.reloader
        self.listener.serve()

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Serve the snapshot, with what is known of its pages only now."""
        self.listener.contexts.follow(self, context)

    @hookimpl
    def before_terminate(self, context: Context) -> None:
        """Close the listener if no other context needs it."""
        self.listener.contexts.end(self, context)
        self.release()
        self.listener.release((self, context))

    @hookimpl
    def release(self) -> None:
        """Close the listener if no context needs it."""
        self.listener.contexts.forget(self)
        self.listener.release(self)
