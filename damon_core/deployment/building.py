"""Building a deployment: a `Config` becomes contexts, with all parts made."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, cast

from attrs import define, field

from damon_core.attributes import DEFAULT_MAX_STALENESS_US
from damon_core.clock import Clock, SystemClock
from damon_core.contract.implementations import not_an_object
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.release import release_parts
from damon_core.deployment.model import Config, ContextConfig, PartConfig
from damon_core.errors import ConfigError, DamonError, InputError, Problem, one_line
from damon_core.loop.context import Context
from damon_core.registry.backends import KnownBackends
from damon_core.registry.discovery import Plugins


def _ignore(_part: str) -> None:
    """Do nothing."""


def build_contexts(
    config: Config,
    plugins: Plugins,
    callbacks: Sequence[object] = (),
    make_clock: Callable[[], Clock] = SystemClock,
) -> list[Context]:
    """Make the contexts of a configuration: files are opened, ports bound, targets looked up.

    Whoever called closes them (`Context.close`), which gives back what their parts took. If one
    can't be made, that is given back before the error is raised.

    Args:
        config: The configuration.
        plugins: The plugins that it was checked with.
        callbacks: Further callbacks of every context, called after its own.
        make_clock: Makes the clock of each context; `VirtualClock` for tests and simulations.

    Raises:
        ConfigError: Parts can't be used here as configured; the error lists all of them.
        DamonError: A part's factory fails in another way than it should.
    """
    with ExitStack() as made:
        building = _Building(config.source, KnownBackends(plugins.backends), made)
        contexts = [
            building.context(each, f"context[{index}]", callbacks, make_clock())
            for index, each in enumerate(config.contexts)
        ]
        if building.problems:
            raise ConfigError(config.source, building.problems)
        made.pop_all()  # from now on the contexts release their parts
    return [context for context in contexts if context is not None]


def build_context(
    config: ContextConfig,
    plugins: Plugins,
    callbacks: Sequence[object] = (),
    make_clock: Callable[[], Clock] = SystemClock,
    *,
    source: str = "",
    place: str = "context[0]",
    backends: KnownBackends | None = None,
    on_part: Callable[[str], object] = _ignore,
    waited: bool = False,
) -> Context:
    """Make one context of a configuration, as `build_contexts` makes all.

    Args:
        config: How the context is configured.
        plugins: The plugins that the configuration was checked with.
        callbacks: Further callbacks, called after its own.
        make_clock: Makes its clock.
        source: What errors call the configuration.
        place: Where the context stands in it.
        backends: The backends of the plugins, whose probes other contexts may have asked before.
        on_part: Called with which part is about to be made, and with "" when it is.
        waited: Whether only its targets were missing before. As long as they are, callbacks aren't
            made: these are known to be right, and would open files and ports only to close them.

    Raises:
        ConfigError: Parts can't be used here as configured; the error lists all of them.
        DamonError: A part's factory fails in another way than it should.
    """
    with ExitStack() as made:
        known = backends or KnownBackends(plugins.backends)
        building = _Building(source, known, made, on_part=on_part, waited=waited)
        context = building.context(config, place, callbacks, make_clock())
        if context is None:
            raise ConfigError(source, building.problems)
        made.pop_all()
    return context


@define(eq=False)
class _Building:
    """The making of all contexts, which goes on after a mistake to find the others.

    Attributes:
        source: What errors call the configuration.
        backends: What backends there are.
        made: Releases every part that was made.
        problems: The mistakes so far.
        on_part: As `build_context` has it.
        waited: As `build_context` has it.
    """

    source: str
    backends: KnownBackends
    made: ExitStack
    problems: list[Problem] = field(factory=list)
    on_part: Callable[[str], object] = _ignore
    waited: bool = False

    def context(
        self, config: ContextConfig, path: str, callbacks: Sequence[object], clock: Clock
    ) -> Context | None:
        """Return one context; None if there are problems with it."""
        known = len(self.problems)
        backends = self.backends.of(config.primitive.part.name)
        primitive = self._part(config.primitive, f"{path}.primitive", backends)
        if self.waited and len(self.problems) > known:
            return None
        own = [
            self._part(each, f"{path}.callback[{number}]")
            for number, each in enumerate(config.callbacks)
        ]
        policy = None
        if config.policy is not None:
            policy = self._part(config.policy, f"{path}.policy")
        if len(self.problems) > known:
            return None
        try:
            return Context(
                primitive,
                [*own, *callbacks],
                policy=cast(RegionPolicy | None, policy),
                goal=config.goal,
                cpu_budget=config.cpu_budget,
                max_slowdown=config.max_slowdown,
                max_stall_us=config.max_stall_us,
                max_staleness_us=config.max_staleness_us or DEFAULT_MAX_STALENESS_US,
                stop_timeout_us=config.stop_timeout_us,
                intervals=config.intervals,
                limits=config.limits,
                name=config.name,
                failure_limit=config.failure_limit,
                labels=config.labels,
                clock=clock,
            )
        except InputError as error:
            self.problems.append(Problem(path, error.message))
            return None

    def _part(self, config: PartConfig[Any], place: str, *arguments: object) -> object:
        """Return what a factory made; None if that is a problem."""
        self.on_part(f"{place}: '{config.part.name}'")
        try:
            part: object = config.part.factory(config.options, *arguments)
        except InputError as error:
            self.problems.append(Problem(place, error.message, error))
            return None
        except DamonError:
            raise
        except (Exception, SystemExit) as error:
            problem = Problem(place, f"'{config.part.name}' fails: {one_line(error)}")
            raise DamonError(f"{self.source}: {problem}".removeprefix(": ")) from error
        finally:
            self.on_part("")
        if (wrong := not_an_object(part)) is not None:
            self.problems.append(
                Problem(place, f"'{config.part.name}': its factory returns {wrong}")
            )
            return None
        self.made.callback(release_parts, [part])
        return part
