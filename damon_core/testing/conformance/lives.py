"""The lives of contexts in which parts are tried: every one ends, is closed, and shows failures."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field

from damon_core.attributes import Intervals
from damon_core.clock import Clock, VirtualClock
from damon_core.contract.context import HookContext
from damon_core.errors import PartError
from damon_core.hookspecs import hookimpl
from damon_core.loop.context import Context
from damon_core.loop.group import start, stop
from damon_core.testing.clock import NotingClock
from damon_core.testing.parts import Recorder, ScriptedMemory, StopAfter
from damon_core.testing.running import run
from damon_core.testing.snapshots import Judge

#: Five checks an aggregation, an update every second aggregation.
INTERVALS = Intervals(sampling_us=20_000, aggregation_us=100_000, update_us=200_000)
#: How long a life may take on a busy machine, in seconds.
PATIENCE_S = 60.0


class StoppedOnPurposeError(Exception):
    """What parts raise that are there to fail."""


def fail(_context: object) -> object:
    """Raise, as a part that fails."""
    raise StoppedOnPurposeError("on purpose")


@define(eq=False)
class Failures:
    """What the callbacks of a context have raised, but for those that fail on purpose."""

    found: list[PartError] = field(factory=list)

    def note(self, error: PartError) -> None:
        """Take a failure."""
        if not isinstance(error.__cause__, StoppedOnPurposeError):
            self.found.append(error)

    def raise_first(self, where: str) -> None:
        """Raise the first failure, if there is one.

        Raises:
            AssertionError: There is; the message says in what it happened.
        """
        if self.found:
            raise AssertionError(f"{where}: {self.found[0]}") from self.found[0].__cause__


@contextlib.contextmanager
def opened(
    where: str,
    primitive: object,
    callbacks: Sequence[object],
    *,
    clock: Clock | None = None,
    **attributes: Any,
) -> Iterator[Context]:
    """Make a context on virtual time, and close it; what its callbacks raise is raised here.

    Args:
        where: What is tried, for messages.
        primitive: Its primitive.
        callbacks: Its callbacks.
        clock: Its clock, a new `VirtualClock` by default.
        attributes: Other arguments of `Context`.

    Raises:
        AssertionError: A callback failed, or a snapshot is impossible.
    """
    failures, judge = Failures(), Judge()
    attributes.setdefault("intervals", INTERVALS)
    context = Context(
        primitive,
        [*callbacks, judge],
        clock=clock or VirtualClock(),
        on_failure=failures.note,
        **attributes,
    )
    with context:
        yield context
        failures.raise_first(where)
    failures.raise_first(where)
    if judge.found is not None:
        raise AssertionError(f"{where}: {judge.found}")


def live(
    where: str, primitive: object, *callbacks: object, aggregations: int = 3, **attributes: Any
) -> Context:
    """Let a context live through some aggregations, and close it.

    Returns:
        The context, closed.

    Raises:
        AssertionError: A part failed, or the context didn't end.
    """
    parts = [*callbacks, StopAfter(aggregations)]
    with opened(where, primitive, parts, **attributes) as context:
        end(where, context)
    return context


def end(where: str, *contexts: Context, exclusive: bool = True) -> None:
    """Start contexts that end by themselves, and wait for that.

    Raises:
        AssertionError: One failed, or hasn't ended.
    """
    try:
        run(*contexts, exclusive=exclusive, check=False, timeout_s=PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
    for context in contexts:
        if context.error is not None and not _on_purpose(context.error):
            raise AssertionError(f"{where}: {context.error}") from context.error


def _on_purpose(error: BaseException) -> bool:
    return isinstance(error, StoppedOnPurposeError) or isinstance(
        error.__cause__, StoppedOnPurposeError
    )


def _stop(context: HookContext) -> None:
    context.request_stop()


def _when(number: int, act: Callable[[Any], object]) -> Callable[[Any], object]:
    """Return what acts when it is called for the nth time."""
    calls = 0

    def acting(context: Any) -> object:
        nonlocal calls
        calls += 1
        return act(context) if calls == number else None

    return acting


def _yes(_context: object) -> bool:
    return True


#: Where a run can be stopped from a callback: what it is called, and what acts in which hook.
STOPS: dict[str, dict[str, Callable[[], Callable[[Any], object]]]] = {
    "stopped by the result of before_start": {"before_start": lambda: _yes},
    "asked to stop in before_start": {"before_start": lambda: _stop},
    "stopped in the first after_sampling": {"after_sampling": lambda: _yes},
    "stopped before the second check": {"after_sampling": lambda: _when(2, _yes)},
    "asked to stop in the middle of an aggregation": {"after_sampling": lambda: _when(3, _stop)},
    "asked to stop in label_targets": {"label_targets": lambda: _stop},
    "stopped by the first after_aggregation": {"after_aggregation": lambda: _yes},
    "asked to stop in after_aggregation": {"after_aggregation": lambda: _when(2, _stop)},
    # By another part, or another thread, while the primitive is at work.
    **{
        f"asked to stop in {hook}": {hook: lambda: _when(1, _stop)}
        for hook in (
            "init",
            "target_valid",
            "prepare_access_checks",
            "check_accesses",
            "describe_regions",
            "reset_aggregated",
            "update",
        )
    },
}


def stopper(acts: dict[str, Callable[[], Callable[[Any], object]]]) -> Recorder:
    """Return a callback that stops its context as `STOPS` says."""
    return Recorder(None, "stopper", **{hook: make() for hook, make in acts.items()})


def stop_in_sleep(where: str, primitive: object, *callbacks: object, sleep: int = 2) -> None:
    """Let a context be stopped by another thread while its worker sleeps.

    Raises:
        AssertionError: It can't be.
    """
    clock = NotingClock(hold_at=sleep)
    with opened(where, primitive, callbacks, clock=clock) as context:
        start(context)
        if not clock.held.wait(PATIENCE_S) and context.running:
            raise AssertionError(f"{where}: no sleep in {PATIENCE_S} s")
        if context.running:
            with contextlib.suppress(Exception):
                stop(context)
        context.wait(PATIENCE_S)
        if context.error is not None:
            raise AssertionError(f"{where}: {context.error}") from context.error


#: The hooks in which a primitive may fail, once it runs.
RUN_HOOKS = (
    "target_valid",
    "prepare_access_checks",
    "check_accesses",
    "describe_regions",
    "reset_aggregated",
    "update",
)


class FailingMemory(ScriptedMemory):
    """A primitive that fails in one hook, on purpose, each time; in cleanup once, in the worker."""

    def __init__(self, hook: str) -> None:
        super().__init__({"process": []}, name="failing")
        self._hook = hook

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Build the targets, or fail."""
        super().init(context)
        self._act("init")

    @hookimpl
    def target_valid(self) -> bool:
        """Answer, or fail."""
        self._act("target_valid")
        return True

    @hookimpl
    def prepare_access_checks(self) -> None:
        """Prepare nothing, or fail."""
        self._act("prepare_access_checks")

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Check, or fail."""
        self._act("check_accesses")

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        """Describe nothing, or fail."""
        self._act("describe_regions")

    @hookimpl
    def reset_aggregated(self) -> None:
        """Reset nothing, or fail."""
        self._act("reset_aggregated")

    @hookimpl
    def update(self) -> None:
        """Update nothing, or fail."""
        self._act("update")

    @hookimpl
    def cleanup(self) -> None:
        """Fail, if asked to."""
        if self._hook == "cleanup":
            self._hook = ""
            raise StoppedOnPurposeError("on purpose")

    def _act(self, hook: str) -> None:
        if hook == self._hook:
            raise StoppedOnPurposeError("on purpose")


class StillClock(VirtualClock):
    """Virtual time whose first sleeps take a moment, in which no target may change.

    Attributes:
        found: What has changed; empty if nothing has.
        context: The context whose targets are looked at; None for none yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = ""
        self.context: Context | None = None
        self._left = 5

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        """Jump to the deadline; in the first sleeps, after a moment."""
        context = self.context
        if context is not None and self._left > 0:
            self._left -= 1
            before = _state(context)
            time.sleep(0.02)
            if _state(context) != before:
                self.found = "the targets changed while the worker slept"
        super().wait_until(deadline_us, wake)


def _state(context: Context) -> list[object]:
    return [
        (target.name, target.regions.start.tobytes(), target.regions.nr_accesses.tobytes())
        for target in context.targets
    ]


def stay_in_the_worker(primitive: object, *callbacks: object) -> None:
    """Let a context live, whose targets may change only in hooks.

    Raises:
        AssertionError: They change while the worker sleeps.
    """
    clock = StillClock()
    with opened("a run", primitive, [*callbacks, StopAfter(2)], clock=clock) as context:
        clock.context = context
        end("a run", context)
    assert not clock.found, f"{clock.found}: a thread of its own changes them"
