"""A deployment that runs: its contexts begin when their targets are there, and may be replaced."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field

from damon_core.clock import Clock, SystemClock
from damon_core.deployment.building import build_context
from damon_core.deployment.choosing import Choosing
from damon_core.deployment.model import Config, ContextConfig
from damon_core.deployment.reloading import Reloading
from damon_core.errors import (
    ConfigError,
    DamonError,
    NotRunningError,
    Problem,
    StopTimeoutError,
    TargetError,
    one_line,
)
from damon_core.loop.context import Context
from damon_core.loop.group import start, stop
from damon_core.loop.sharing import SharedBudget
from damon_core.registry.backends import KnownBackends, is_automatic
from damon_core.registry.discovery import Plugins

logger = logging.getLogger(__name__)

#: Of more contexts than this that begin or end at once, one line says how many.
_MOST_LINES = 5
#: How many of them it names.
_MOST_NAMED = 3
#: How many contexts are made at once. The first ones import packages and measure the machine,
#: which belongs to the start of the program.
_AT_ONCE = 16
#: The part of the CPU budget for looking whether targets have come that were absent, and how often
#: that is done where they are few.
_FOR_LOOKING = 0.25
_LOOKS_EVERY_US = 1_000_000
#: How often the choice of backends is made anew.
_CHOOSES_EVERY_US = 10_000_000


@define(eq=False)
class _Member:
    """A context of the configuration in force.

    Attributes:
        config: How it is configured.
        place: Where that stands.
        context: The context; None if it couldn't be built.
        absent: Why not, if its target isn't there.
        waits: Whether that may come.
        has_ended: Whether it ran, and its end was logged.
        is_due: Whether it is still to be made, in its turn.
    """

    config: ContextConfig
    place: str
    context: Context | None = None
    absent: str = ""
    waits: bool = False
    has_ended: bool = False
    is_due: bool = True


@define(eq=False)
class Deployment:
    """The contexts of a configuration, for programs that run for long.

    What isn't there keeps nothing else from being monitored: a context whose target is absent is
    left out, with a line in the log, and begins later if the target may come. Another
    configuration may take the place of the one in force.

    Of many contexts some begin at once, and the others in turns, as the CPU budget allows, in
    `begin_due`. What is wrong with the parts of one of these is logged. A context with backend
    "auto" begins anew with another one where there are too many targets for the one that it has.

    It isn't thread-safe: one thread calls it. All contexts share one CPU budget.

    Args:
        plugins: What parts there are.
        callbacks: Further callbacks of every context, called after its own.
        make_clock: Makes the clock of each context.

    Attributes:
        contexts: Those that were built and are not closed yet; always the same list.
        reloading: Who asks for another configuration; the contexts have it as their `reloader`.
        making: Which part is being made now, for messages; empty between parts.
    """

    plugins: Plugins
    callbacks: Sequence[object] = ()
    make_clock: Callable[[], Clock] = SystemClock
    contexts: list[Context] = field(factory=list, init=False)
    reloading: Reloading = field(factory=Reloading, init=False)
    making: str = field(default="", init=False)
    _members: dict[str, _Member] = field(factory=dict, init=False)
    _backends: KnownBackends = field(init=False)
    _budget: SharedBudget = field(factory=lambda: SharedBudget(math.inf), init=False)
    _clock: Clock = field(init=False)
    _begun: dict[str, str] = field(factory=dict, init=False)  # since none were due
    _choosing: Choosing = field(init=False)
    _choose_us: int = field(default=0, init=False)  # when to do so again
    _look_us: int = field(default=0, init=False)  # when to look for targets again

    def __attrs_post_init__(self) -> None:
        self._backends = KnownBackends(self.plugins.backends)
        self._choosing = Choosing(self._backends)
        self._clock = self.make_clock()

    @property
    def budget(self) -> float:
        """The share of one processor that all contexts together may use."""
        return self._budget.limit

    @property
    def waiting(self) -> dict[str, str]:
        """Why contexts haven't begun yet, by their names: their targets may come."""
        return {name: each.absent for name, each in self._members.items() if each.waits}

    @property
    def due(self) -> int:
        """How many contexts are to begin as soon as the CPU budget allows."""
        return sum(each.is_due for each in self._members.values())

    @property
    def left_out(self) -> dict[str, str]:
        """Why contexts can't begin, by their names: their targets are not there, and won't be."""
        members = self._members.items()
        return {name: each.absent for name, each in members if each.absent and not each.waits}

    @property
    def goes_on(self) -> bool:
        """Whether a context runs, or may begin yet."""
        return any(
            each.waits or each.is_due or (each.context is not None and each.context.running)
            for each in self._members.values()
        )

    def apply(self, config: Config) -> None:
        """Put a configuration in force.

        Contexts are told apart by their names. One that is configured as before goes on, with its
        ages and counters; so does one of which only intervals or region limits have changed. Others
        are stopped, and begin anew.

        Raises:
            ConfigError: Parts of contexts can't be used as configured, with all such mistakes. The
                other contexts are in force.
        """
        wanted = {
            each.name: (f"context[{index}]", each) for index, each in enumerate(config.contexts)
        }
        for name, member in list(self._members.items()):
            if name in wanted and self._keeps(member, wanted[name][1]):
                member.place, member.config = wanted[name]
            else:
                self._end(name)
        budgets = [each.cpu_budget for each in config.contexts]
        self._budget.limit = config.cpu_budget or max(budgets)
        problems: list[Problem] = []
        new = [name for name in wanted if name not in self._members]
        for name in new:
            place, each = wanted[name]
            self._members[name] = _Member(each, place)
        at_once = new[:_AT_ONCE]
        first = [wanted[name][1] for name in at_once]
        self._choosing.begin(config.contexts, first, self._budget.limit)
        self._choosing.follow(self.contexts, self.due)
        self._choose_us = 0
        for name in at_once:
            problems += self._begin(self._members[name], config.source)
        self._log_begun()
        self.begin_due()
        if self.due:
            logger.info("%d contexts begin later, in turns, as cpu_budget allows", self.due)
        if problems:
            raise ConfigError(config.source, problems)

    def begin_due(self) -> None:
        """Begin contexts whose turn has come; to be called often."""
        due = [member for member in self._members.values() if member.is_due]
        self._budget.expected = len(due)
        for member in due:
            if not self._budget.has_room(self._clock.now_us()):
                return
            self._budget.expected -= 1
            cpu_us = self._clock.cpu_us()
            self._begin_late(member)
            cpu_us = self._clock.cpu_us() - cpu_us
            self._budget.spent(cpu_us, self._clock.now_us())
            if member.context is not None:
                member.context.worker.charge_making(cpu_us)
        self._log_begun()

    def _log_begun(self) -> None:
        _log_each(self._begun, "begin")
        self._begun.clear()

    def _note_begun(self, context: Context, config: ContextConfig) -> None:
        """Note that a context begins, for the log.

        Where there are few, the line stands above those that the context logs itself.
        """
        self._begun[context.name] = _beginning(context, config)
        if len(self._members) <= _MOST_LINES:
            self._log_begun()

    def tend(self) -> list[Context]:
        """Begin contexts whose targets have come, and log which have ended; to be called often.

        Returns:
            Contexts whose failure was logged now, as others go on.
        """
        failed = []
        ended: dict[str, str] = {}
        self._look_again()
        self._choose_again()
        self.begin_due()
        for member in self._members.values():
            context = member.context
            if context is not None and not context.running and not member.has_ended:
                member.has_ended = True
                error = context.error
                if error is None:
                    ended[context.name] = "has ended"
                elif self.goes_on:  # otherwise the program ends with it
                    reason = one_line(error)
                    logger.error("context '%s' failed: %s; others go on", context.name, reason)
                    failed.append(context)
        _log_each(ended, "have ended")
        return failed

    def _look_again(self) -> None:
        """Begin contexts whose targets have come; of many that wait, look for them less often."""
        now_us, cpu_us = self._clock.now_us(), self._clock.cpu_us()
        if now_us < self._look_us:
            return
        for member in self._members.values():
            if member.waits:
                self._begin_late(member)
        cpu_us = self._clock.cpu_us() - cpu_us
        pause_us = cpu_us / (self._budget.limit * _FOR_LOOKING) - _LOOKS_EVERY_US
        self._look_us = now_us + max(round(pause_us), 0)

    def _choose_again(self) -> None:
        """Let contexts begin anew that would get another backend for so many targets."""
        now_us = self._clock.now_us()
        if now_us < self._choose_us:
            return
        self._choose_us = now_us + _CHOOSES_EVERY_US
        members = list(self._members.values())
        choices = [each for each in members if is_automatic(each.config.primitive.options)]
        if not choices:
            return
        self._choosing.follow(self.contexts, self.due)
        if not self._choosing.changed:
            return
        self._choosing.changed = False
        changed: dict[str, str] = {}
        for member in choices:
            context, name = member.context, member.config.name
            if context is None or not context.running:
                continue
            if another := self._choosing.another(context, member.config):
                changed[name] = f"begins anew, with backend '{another}'"
                self._end(name, "")
                self._members[name] = _Member(member.config, member.place)
        _log_each(changed, "begin anew, with another backend")

    def _begin_late(self, member: _Member) -> None:
        """Begin a context after the others, if it can; what is wrong with it harms no other."""
        try:
            lines = [str(each) for each in self._begin(member, "")]
        except DamonError as error:
            lines = error.message.splitlines()
        if lines:
            member.absent, member.waits = "; ".join(lines), False
            logger.error("context '%s' can't begin: %s", member.config.name, member.absent)

    def _keeps(self, member: _Member, config: ContextConfig) -> bool:
        """Return whether a context can go on with another configuration; let it do so."""
        context = member.context
        if context is None or (context.error is not None and not context.running):
            return False
        alike = evolve(member.config, intervals=config.intervals, limits=config.limits)
        if alike != config:
            return False
        if config != member.config:
            context.commit(intervals=config.intervals, limits=config.limits)
            logger.info("context '%s' goes on with other intervals or limits", config.name)
        return True

    def _begin(self, member: _Member, source: str) -> list[Problem]:
        """Build and start a context; return what is wrong with its configuration."""
        member.is_due = False
        try:
            context = build_context(
                member.config,
                self.plugins,
                self.callbacks,
                self.make_clock,
                source=source,
                place=member.place,
                backends=self._backends,
                on_part=self._note_part,
                waited=member.waits,
            )
        except ConfigError as error:
            member.waits = False
            absent = [each.error for each in error.problems if isinstance(each.error, TargetError)]
            if len(absent) < len(error.problems):
                return list(error.problems)
            self._note_absent(member, absent)
            return []
        member.context, member.absent, member.waits = context, "", False
        context.reloader = self.reloading
        self.contexts.append(context)
        self._note_begun(context, member.config)
        try:
            start(context, exclusive=False, cpu_budget=self._budget)
        except DamonError as error:
            return [Problem(member.place, error.message)]
        return []

    def _note_part(self, part: str) -> None:
        self.making = part

    @staticmethod
    def _note_absent(member: _Member, absent: Sequence[TargetError]) -> None:
        reason = "; ".join(error.message for error in absent)
        member.waits = all(error.may_come for error in absent)
        if reason != member.absent:
            member.absent = reason
            level = logging.WARNING if member.waits else logging.ERROR
            state = "waits for its target" if member.waits else "can't begin"
            logger.log(level, "context '%s' %s: %s", member.config.name, state, reason)

    def _end(self, name: str, why: str = "it is no longer configured like this") -> None:
        """Stop and close a context that is not in force any more; log why, if that is given."""
        context = self._members.pop(name).context
        if context is None:
            return
        try:
            if context.running:
                stop(context)
            context.close()
        except NotRunningError:  # it has ended meanwhile
            context.close()
        except StopTimeoutError as error:  # it stays in `contexts`, for whoever ends the program
            logger.error("%s", error)
            return
        except Exception as error:
            logger.error("context '%s' can't be closed: %s", name, one_line(error), exc_info=error)
        self.contexts.remove(context)
        if why:
            logger.info("context '%s' has ended: %s", name, why)


def _beginning(context: Context, config: ContextConfig) -> str:
    """Return what is logged of a context that begins."""
    parts = ", ".join(each.part.name for each in config.callbacks) or "nothing"
    through = f" through {context.backend_name}" if context.backend_name else ""
    return f"begins: {context.primitive_name}{through} to {parts}"


def _log_each(events: Mapping[str, str], what: str) -> None:
    """Log what has happened to contexts, by their names; of many at once in one line."""
    if len(events) <= _MOST_LINES:
        for name, text in events.items():
            logger.info("context '%s' %s", name, text)
        return
    named = ", ".join(f"'{name}'" for name in list(events)[:_MOST_NAMED])
    more = len(events) - _MOST_NAMED
    logger.info("%d contexts %s: %s and %d more", len(events), what, named, more)
