"""What a context of a configuration would come to, before anything is made."""

from damon_core.attributes import DEFAULT_MAX_STALENESS_US
from damon_core.deployment.model import ContextConfig
from damon_core.loop.forecast import Limits
from damon_core.registry.discovery import Plugins
from damon_core.registry.forecast import Forecast, forecast_part


def forecast_context(config: ContextConfig, plugins: Plugins) -> Forecast:
    """Return what monitoring would come to; nothing is monitored or changed.

    Args:
        config: How the context is configured.
        plugins: The plugins that the configuration was checked with.

    Raises:
        PluginError: The primitive foretells nothing.
        InputError: Its options can't be used on this machine now.
    """
    limits = Limits(
        cpu_budget=config.cpu_budget,
        max_slowdown=config.max_slowdown,
        max_stall_us=config.max_stall_us,
        max_staleness_us=config.max_staleness_us or DEFAULT_MAX_STALENESS_US,
    )
    part = config.primitive.part
    return forecast_part(
        plugins, part, config.primitive.options, intervals=config.intervals, limits=limits
    )
