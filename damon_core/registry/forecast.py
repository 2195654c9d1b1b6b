"""What monitoring would come to with each backend that works here, before anything is touched."""

import logging
from collections.abc import Mapping

from attrs import evolve, frozen

from damon_core.attributes import Intervals
from damon_core.contract.forecast import Costs, TargetForecast
from damon_core.contract.registration import Backend, Primitive
from damon_core.errors import InputError, PluginError, one_line
from damon_core.loop.forecast import Expected, Limits, expect, expect_idle
from damon_core.registry.backends import Crowd, missing_of
from damon_core.registry.discovery import Plugins
from damon_core.registry.options import structure

logger = logging.getLogger(__name__)


@frozen
class BackendForecast:
    """What is foretold of one backend.

    Attributes:
        name: Its name.
        missing: What it lacks on this machine; empty if it works.
        costs: What it foretells; None if it doesn't work or foretells nothing.
        expected: What comes of it, if targets access all of their memory in an aggregation.
        expected_idle: The same, if they access next to nothing. Both are None where costs aren't
            known.
        stalls: Whether a target's memory map is locked for longer than `max_stall_us` at once.
        target_us: What it takes for each target, however small.
    """

    name: str
    missing: str = ""
    costs: Costs | None = None
    expected: Expected | None = None
    expected_idle: Expected | None = None
    stalls: bool = False
    target_us: float = 0.0


@frozen
class Forecast:
    """What monitoring would come to.

    Attributes:
        targets: What would be monitored.
        backends: The backends, the preferred first: those that would take too much for so many
            targets are the last.
        limits: What it was computed with.
        all_targets: How many targets share the CPU budget, with those of other contexts.
    """

    targets: tuple[TargetForecast, ...]
    backends: tuple[BackendForecast, ...]
    limits: Limits
    all_targets: int = 0

    @property
    def working(self) -> tuple[BackendForecast, ...]:
        """The backends that work here; the first is what "auto" takes."""
        return tuple(backend for backend in self.backends if not backend.missing)

    @property
    def too_dear(self) -> tuple[BackendForecast, ...]:
        """The backends that work here, and that "auto" takes last as there are so many targets."""
        crowd = Crowd(self.all_targets, self.limits.spare_us)
        return tuple(each for each in self.working if crowd.excess_us(each.target_us))

    def among(self, targets: int) -> "Forecast":
        """Return the forecast for a context that shares its CPU budget with others.

        Args:
            targets: The number of targets of all of them.
        """
        crowd = Crowd(targets, self.limits.spare_us)
        backends = sorted(self.backends, key=lambda each: crowd.excess_us(each.target_us))
        return evolve(self, backends=tuple(backends), all_targets=targets)


def make_forecast(
    plugins: Plugins,
    primitive: str,
    options: Mapping[str, object],
    *,
    intervals: Intervals | None = None,
    limits: Limits | None = None,
) -> Forecast:
    """Return what monitoring would come to; nothing is monitored or changed.

    Args:
        plugins: What is installed.
        primitive: The name of the primitive.
        options: Its options, as a configuration file has them.
        intervals: The configured intervals.
        limits: What monitoring may cost.

    Raises:
        PluginError: There is no such primitive, or it foretells nothing.
        ConfigError: An option is wrong.
        InputError: The options can't be used on this machine now.
    """
    part = plugins.primitive(primitive)
    checked: object = structure(part.options, options, source=f"options of primitive '{primitive}'")
    return forecast_part(plugins, part, checked, intervals=intervals, limits=limits)


def forecast_part(
    plugins: Plugins,
    part: Primitive,
    options: object,
    *,
    intervals: Intervals | None = None,
    limits: Limits | None = None,
) -> Forecast:
    """Return what monitoring would come to, as `make_forecast` does.

    Args:
        plugins: What is installed.
        part: The primitive.
        options: Its checked options.
        intervals: The configured intervals.
        limits: What monitoring may cost.

    Raises:
        PluginError: The primitive foretells nothing.
        InputError: The options can't be used on this machine now.
    """
    if part.forecast is None:
        raise PluginError(part.name, "it has no forecast")
    targets = tuple(part.forecast(options))
    limits = limits or Limits()
    backends = tuple(
        evolve(
            _forecast(part.name, backend, targets, intervals or Intervals(), limits),
            target_us=backend.target_us,
        )
        for backend in plugins.backends(part.name).values()
    )
    return Forecast(targets, backends, limits).among(len(targets))


def _forecast(
    primitive: str,
    backend: Backend,
    targets: tuple[TargetForecast, ...],
    intervals: Intervals,
    limits: Limits,
) -> BackendForecast:
    if missing := missing_of(primitive, backend):
        return BackendForecast(backend.name, missing)
    if backend.forecast is None or not targets:
        return BackendForecast(backend.name)
    try:
        costs = backend.forecast(targets)
    except InputError:
        raise
    # Whoever wrote it, the others' forecasts must stay usable.
    except (Exception, SystemExit) as error:
        logger.warning("backend '%s': its forecast failed: %s", backend.name, one_line(error))
        return BackendForecast(backend.name)
    if costs.check_us is None:
        return BackendForecast(backend.name, costs=costs)
    stall_us = limits.max_stall_us
    return BackendForecast(
        backend.name,
        costs=costs,
        expected=expect(costs, intervals, limits),
        expected_idle=expect_idle(costs, intervals, limits),
        stalls=stall_us is not None and costs.toll.longest_us > stall_us,
    )
