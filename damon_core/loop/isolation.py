"""The hook calls of one context: a callback that fails doesn't affect the others.

pluggy isolates nothing: one implementation that raises ends the whole call. So every
implementation of a callback is registered behind a guard that catches, counts and logs. The
primitive's is guarded only to remember its exception, which no wrapper may swallow, and to name
the part in it. The methods of a policy aren't hooks, but are called in the same way.
"""

import functools
import logging
from collections.abc import Callable, Generator, Sequence
from types import CoroutineType, GeneratorType
from typing import Any, NoReturn, TypeAlias

import pluggy
from attrs import define, evolve

from damon_core import hookspecs
from damon_core.attributes import RegionLimits
from damon_core.clock import Clock
from damon_core.contract.implementations import called_with, hook_implementations
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.registration import part_name
from damon_core.contract.release import release_part
from damon_core.errors import DamonError, PartError, PluginError, one_line
from damon_core.loop.watch import Watch, WatchedPart
from damon_core.memory.target import Target
from damon_core.stats import CallbackStats
from damon_core.units import format_duration

logger = logging.getLogger(__name__)

#: What is given each failure of a callback: an error that names it, with what it raised as cause.
OnFailure: TypeAlias = Callable[[PartError], object]

_LAST_CALL = "before_terminate"
#: A callback that is switched off is tried again after the first pause, then after one twice as
#: long each time, up to the longest: a full disk may have room again.
_FIRST_PAUSE_US = 1_000_000
_LONGEST_PAUSE_US = 300_000_000
#: Hooks that don't come again in a run: another one has to show that a callback works again.
_ONCE = frozenset({"init", "before_start", "cleanup"})
#: Hooks whose results say whether monitoring goes on.
_ANSWERED = frozenset({"before_start", "target_valid", "after_sampling", "after_aggregation"})


@define(eq=False)
class _Guard:
    """The failures of one callback, and what follows from them."""

    context: str
    part: WatchedPart
    watch: Watch
    failure_limit: int
    in_a_row: dict[str, int]
    stats: CallbackStats
    on_failure: OnFailure | None = None
    cause: str = ""  # the hook for which it is switched off
    pause_us: int = 0
    off_since_us: int = 0
    again_us: int = 0  # when it is tried again

    @property
    def name(self) -> str:
        return self.part.name

    def reset(self) -> None:
        self.in_a_row.clear()
        self.stats = CallbackStats()

    def may_call(self, hook: str) -> bool:
        if not self.stats.switched_off or hook == _LAST_CALL:
            return True
        if self.watch.now_us() >= self.again_us:
            return True
        self.stats = evolve(self.stats, skipped=self.stats.skipped + 1)
        return False

    def succeeded(self, hook: str) -> None:
        self.in_a_row[hook] = 0
        if self.stats.switched_off and (hook == self.cause or self.cause in _ONCE):
            self.stats = evolve(self.stats, switched_off=False)
            logger.warning(
                "context '%s': callback '%s' works again: it was switched off for %s; %d calls "
                "were left out so far",
                self.context,
                self.name,
                format_duration(self.watch.now_us() - self.off_since_us, 2),
                self.stats.skipped,
            )

    def failed(self, hook: str, error: BaseException) -> None:
        reason = one_line(error)
        # A full disk fails each time alike: it is logged once, and again when it lasts too long.
        again = self.in_a_row.get(hook, 0) > 0 and reason == self.stats.last_error
        self.in_a_row[hook] = self.in_a_row.get(hook, 0) + 1
        self.stats = evolve(self.stats, failures=self.stats.failures + 1, last_error=reason)
        logger.log(
            logging.DEBUG if again else logging.ERROR,
            "context '%s': callback '%s' failed in %s: %s",
            self.context,
            self.name,
            hook,
            reason,
            exc_info=error,
        )
        if self.on_failure is not None:
            found = PartError(str(self.part), hook, reason)
            found.__cause__ = error
            self.on_failure(found)
        if hook == _LAST_CALL:
            return
        if self.stats.switched_off:
            self.pause_us = min(2 * self.pause_us, _LONGEST_PAUSE_US)
            self.again_us = self.watch.now_us() + self.pause_us
        elif self.in_a_row[hook] >= self.failure_limit:
            self.stats = evolve(self.stats, switched_off=True)
            self.cause, self.pause_us = hook, _FIRST_PAUSE_US
            self.off_since_us = self.watch.now_us()
            self.again_us = self.off_since_us + self.pause_us
            logger.critical(
                "context '%s': callback '%s' is switched off: %d failures in a row in %s; it is "
                "tried again in %s, and at growing intervals",
                self.context,
                self.name,
                self.in_a_row[hook],
                hook,
                format_duration(self.pause_us),
            )

    def call(self, hook: str, function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def guarded(*args: object, **defaults: object) -> object:
            if not self.may_call(hook):
                return None
            before = self.watch.enter(self.part, hook)
            try:
                result = _plain(function(*args, **defaults))
                # Asked here, because not everything has a truth value (a numpy array hasn't).
                answer = None if result is None else bool(result)
            except BaseException as error:  # not even SystemExit may end the worker
                self.failed(hook, error)
                return None
            finally:
                self.watch.leave(before)
            self.succeeded(hook)
            if hook in _ANSWERED and answer is not None:
                self.watch.answered[answer] = self.part
            return answer

        return guarded

    def wrap(
        self, hook: str, function: Callable[..., Generator[None, object, object]]
    ) -> Callable[..., Generator[None, object, object]]:
        @functools.wraps(function)
        def guarded(*args: object, **defaults: object) -> Generator[None, object, object]:
            if not self.may_call(hook):
                return (yield)
            generator = function(*args, **defaults)
            try:
                with self.watch.calling(self.part, hook):
                    _begin(generator)
            except BaseException as error:
                self.failed(hook, error)
                return (yield)
            inner: BaseException | None = None
            outcome: object = []
            try:
                outcome = yield
            except BaseException as error:
                inner = error
            try:
                with self.watch.calling(self.part, hook):
                    results = _finish(generator, outcome, inner)
            except BaseException as error:
                # To let the primitive's exception pass, or translate it, is not a failure.
                if inner is None or (error is not inner and error.__cause__ is not inner):
                    self.failed(hook, error)
            else:
                self.succeeded(hook)
                if results is not outcome:
                    self.watch.answered.update(dict.fromkeys(results, self.part))
                return results
            if inner is not None:
                raise inner
            return outcome

        return guarded


class WatchedPolicy:
    """A policy whose calls are watched and whose errors name it: a `RegionPolicy` itself.

    Args:
        policy: The policy.
        watch: Which call is going on.

    Attributes:
        name: What the policy is called.
    """

    def __init__(self, policy: RegionPolicy, watch: Watch) -> None:
        self.part = WatchedPart.of("policy", policy)
        self.name = self.part.name
        self._policy = policy
        self._watch = watch
        self._max_regions = 0

    def begin(self, limits: RegionLimits) -> None:
        """Call the policy."""
        self._max_regions = limits.max_regions
        self._call("begin", limits)

    def set_limits(self, limits: RegionLimits) -> None:
        """Call the policy."""
        self._max_regions = limits.max_regions
        self._call("set_limits", limits)

    def choose(self, targets: Sequence[Target]) -> None:
        """Call the policy."""
        self._call("choose", targets)

    def observe(self, targets: Sequence[Target]) -> None:
        """Call the policy."""
        self._call("observe", targets)

    def aggregate(self, targets: Sequence[Target], checks: int, elapsed_us: int) -> None:
        """Call the policy, and see that it keeps its limit."""
        self._within_limit("aggregate", targets, checks, elapsed_us)

    def adapt(self, targets: Sequence[Target]) -> None:
        """Call the policy, and see that it keeps its limit."""
        self._within_limit("adapt", targets)

    def _within_limit(self, method: str, targets: Sequence[Target], *arguments: int) -> None:
        # Primitives may give more: each mapping, or each process, is a region at least.
        most = max(self._max_regions, sum(len(target.regions) for target in targets))
        self._call(method, targets, *arguments)
        count = sum(len(target.regions) for target in targets)
        if count > most:
            reason = f"it leaves {count} regions, more than max_regions ({self._max_regions})"
            raise PartError(str(self.part), method, reason)

    def _call(self, method: str, *arguments: object) -> None:
        before = self._watch.enter(self.part, method)
        try:
            getattr(self._policy, method)(*arguments)
        except BaseException as error:
            _raise_named(error, self.part, method)
        finally:
            self._watch.leave(before)


def _plain(result: object) -> object:
    """Return the result of a hook, unless its work is still to be done."""
    if isinstance(result, CoroutineType | GeneratorType):
        result.close()
        raise TypeError(f"it returned a {type(result).__name__}, which nothing runs")
    return result


def _raise_named(error: BaseException, part: WatchedPart, hook: str) -> NoReturn:
    """Raise an error of a part: as it is if it was raised on purpose, otherwise with its name."""
    if isinstance(error, DamonError):
        raise error
    raise PartError(str(part), hook, one_line(error)) from error


def _begin(generator: Generator[None, object, object]) -> None:
    """Run the part of a wrapper before its yield."""
    try:
        next(generator)
    except StopIteration:
        raise RuntimeError("the wrapper did not yield") from None


def _finish(
    generator: Generator[None, object, object], outcome: object, inner: BaseException | None
) -> Any:
    """Run the part of a wrapper behind its yield and return the results that it leaves."""
    try:
        if inner is None:
            generator.send(outcome)
        else:
            generator.throw(inner)
    except StopIteration as end:
        return _results(end.value, outcome)
    generator.close()
    raise RuntimeError("the wrapper yielded twice")


def _results(returned: object, outcome: object) -> object:
    """Return the results of a hook after a wrapper of it; None leaves them as they were."""
    if returned is None:
        return outcome
    if not isinstance(returned, list):
        raise TypeError(
            f"the wrapper returned {returned!r}; it must return what `yield` gave it, "
            "another list of results, or None"
        )
    return [bool(result) for result in returned]


class ContextHooks:
    """The hook calls of one context.

    Args:
        primitive: The object with the primitive operations.
        callbacks: Objects with callbacks, called in this order unless they say otherwise.
        context_name: How messages name the context.
        failure_limit: Failures in a row in one hook that switch a callback off.
        clock: The context's.
        on_failure: Given each failure of a callback, in the worker.

    Attributes:
        watch: Which call is going on.
        primitive: How messages name the primitive.

    Raises:
        PluginError: A part implements a hook that doesn't exist, or one wrongly.
    """

    def __init__(
        self,
        primitive: object,
        callbacks: Sequence[object],
        *,
        context_name: str,
        failure_limit: int,
        clock: Clock,
        on_failure: OnFailure | None = None,
    ) -> None:
        self.watch = Watch(clock)
        self._on_failure = on_failure
        self._primitive_error: BaseException | None = None
        self._context_name = context_name
        self._failure_limit = failure_limit
        self._guards: list[_Guard] = []
        # Only implemented hooks: a call of one without implementations costs as much.
        self._callers: dict[str, pluggy.HookCaller] = {}
        self._manager = _HookManager("damon")
        taken: set[str] = set()
        guards = [self._new_guard(callback, taken) for callback in callbacks]
        # pluggy calls the last registered first; people expect the order that they wrote.
        for callback, guard in reversed(list(zip(callbacks, guards, strict=True))):
            self._register(callback, guard.name, functools.partial(self._guarded, guard))
        self._guards = guards
        name = _unique(part_name(primitive), taken)
        part = self.primitive = WatchedPart.of("primitive", primitive)
        self._register(primitive, name, functools.partial(self._remembering, part))
        named = zip((guard.part for guard in guards), callbacks, strict=True)
        self._parts: list[tuple[WatchedPart, object]] = [(part, primitive), *named]

    def reset(self) -> None:
        """Forget all failures, for a new run."""
        for guard in self._guards:
            guard.reset()

    def callback_stats(self) -> dict[str, CallbackStats]:
        """Return how each callback has fared, by name."""
        return {guard.name: guard.stats for guard in self._guards}

    def call(self, hook: str, context: object) -> list[Any]:
        """Call all implementations of a hook and return their results, without the Nones.

        Raises:
            DamonError: What an implementation of the primitive raised on purpose.
            PartError: An implementation of the primitive raised something else.
        """
        caller = self._callers.get(hook)
        if caller is None:
            return []
        self._primitive_error = None
        results: list[Any] = []
        try:
            results = caller(context=context)
        finally:
            if self._primitive_error is not None:
                _raise_named(self._primitive_error, self.primitive, hook)
        return results

    def release(self, policy: object) -> list[PartError]:
        """Call `release` of the policy, the callbacks and the primitive, whatever they raise.

        Returns:
            What they raised, each as an error that names the part.
        """
        failed = []
        parts = [*self._parts, (WatchedPart.of("policy", policy), policy)]
        for watched, part in reversed(parts):
            with self.watch.calling(watched, "release"):
                try:
                    release_part(part)
                except (Exception, SystemExit) as error:
                    failed.append(PartError(str(watched), "release", one_line(error)))
                    failed[-1].__cause__ = error
        return failed

    def _new_guard(self, callback: object, taken: set[str]) -> _Guard:
        part = WatchedPart.of("callback", callback, _unique(part_name(callback), taken))
        return _Guard(
            self._context_name,
            part,
            self.watch,
            self._failure_limit,
            {},
            CallbackStats(),
            self._on_failure,
        )

    def _register(
        self,
        part: object,
        name: str,
        guarded: Callable[[str, dict[str, Any], Callable[..., Any]], Callable[..., Any]],
    ) -> None:
        proxy = _Proxy()
        for attribute, options in hook_implementations(part, name).items():
            hook = options["specname"] or attribute
            function = guarded(hook, options, getattr(part, attribute))
            # functools.wraps can't copy the marker from every kind of callable.
            setattr(function, "damon_impl", options)  # noqa: B010
            setattr(function, "__signature__", called_with(getattr(part, attribute), hook))  # noqa: B010
            setattr(proxy, attribute, function)
            if hook not in self._callers:
                self._manager.add_hookspecs(type("Specs", (), {hook: vars(hookspecs)[hook]}))
                self._callers[hook] = getattr(self._manager.hook, hook)
        try:
            self._manager.register(proxy, name)
        except pluggy.PluginValidationError as error:
            # The first line names the plugin once more.
            raise PluginError(name, "; ".join(str(error).splitlines()[1:])) from error

    @staticmethod
    def _guarded(
        guard: _Guard, hook: str, options: dict[str, Any], function: Callable[..., Any]
    ) -> Callable[..., Any]:
        return guard.wrap(hook, function) if options["wrapper"] else guard.call(hook, function)

    def _remembering(
        self, part: WatchedPart, hook: str, options: dict[str, Any], function: Callable[..., Any]
    ) -> Callable[..., Any]:
        watch = self.watch

        @functools.wraps(function)
        def remembering(*args: object, **defaults: object) -> object:
            before = watch.enter(part, hook)
            try:
                result = _plain(function(*args, **defaults))
                if hook in _ANSWERED and result is not None:
                    watch.answered[bool(result)] = part
            except BaseException as error:
                self._primitive_error = error
                raise
            finally:
                watch.leave(before)
            return result

        @functools.wraps(function)
        def remembering_wrapper(
            *args: object, **defaults: object
        ) -> Generator[None, object, object]:
            inner: BaseException | None = None
            outcome: object = []
            try:
                generator = function(*args, **defaults)
                with watch.calling(part, hook):
                    _begin(generator)
                try:
                    outcome = yield
                except BaseException as error:
                    inner = error
                with watch.calling(part, hook):
                    return _finish(generator, outcome, inner)
            except BaseException as error:
                self._primitive_error = error
                raise

        return remembering_wrapper if options["wrapper"] else remembering


class _HookManager(pluggy.PluginManager):
    """Finds the hooks of a `_Proxy` without looking at all that each object has."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Return the options of an implementation; None for another attribute."""
        return getattr(vars(plugin).get(name), "damon_impl", None)

    def parse_hookspec_opts(self, module_or_class: object, name: str) -> Any:
        """Return the options of a specification; None for another attribute."""
        return getattr(vars(module_or_class).get(name), "damon_spec", None)


class _Proxy:
    """Stands for a part in pluggy; its attributes are the guarded implementations."""


def _unique(name: str, taken: set[str]) -> str:
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}#{number}"
    taken.add(unique)
    return unique
