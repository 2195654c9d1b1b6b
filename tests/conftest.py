"""What the tests of the core share: parts that note every event, and a clock that notes sleeps."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from damon_core import Context, Intervals, NotRunningError, VirtualClock, hookimpl, start

# A busy machine is no failure, the suite stays quick, and CI tries the same examples each time.
settings.register_profile(
    "quick", max_examples=40, deadline=None, derandomize=os.environ.get("CI") == "true"
)
settings.load_profile("quick")

#: An aggregation every 2 checks, an update every 4.
SHORT = Intervals(sampling_us=5, aggregation_us=10, update_us=20)


class Recorder:
    """A part with every lifecycle hook, which notes each call.

    Args:
        events: Where to note calls, as "hook" or "name:hook".
        name: What to note in front.
        acts: What to do, and to answer, in the hooks of these names.
    """

    def __init__(
        self, events: list[str], name: str = "", **acts: Callable[[Context], object]
    ) -> None:
        self.name = name or "recorder"
        self._events = events
        self._prefix = f"{name}:" if name else ""
        self._acts = acts

    def _note(self, hook: str, context: Context) -> object:
        self._events.append(self._prefix + hook)
        act = self._acts.get(hook)
        return act(context) if act is not None else None

    @hookimpl
    def init(self, context: Context) -> None:
        self._note("init", context)

    @hookimpl
    def update(self, context: Context) -> None:
        self._note("update", context)

    @hookimpl
    def prepare_access_checks(self, context: Context) -> None:
        self._note("prepare_access_checks", context)

    @hookimpl
    def check_accesses(self, context: Context) -> None:
        self._note("check_accesses", context)

    @hookimpl
    def reset_aggregated(self, context: Context) -> None:
        self._note("reset_aggregated", context)

    @hookimpl
    def target_valid(self, context: Context) -> object:
        return self._note("target_valid", context)

    @hookimpl
    def cleanup(self, context: Context) -> None:
        self._note("cleanup", context)

    @hookimpl
    def before_start(self, context: Context) -> object:
        return self._note("before_start", context)

    @hookimpl
    def after_sampling(self, context: Context) -> object:
        return self._note("after_sampling", context)

    @hookimpl
    def describe_regions(self, context: Context) -> object:
        return self._note("describe_regions", context)

    @hookimpl
    def after_aggregation(self, context: Context) -> object:
        return self._note("after_aggregation", context)

    @hookimpl
    def before_terminate(self, context: Context) -> object:
        return self._note("before_terminate", context)


class NotingClock(VirtualClock):
    """Virtual time that notes each sleep and can hold one until it is woken.

    Args:
        events: Where to note sleeps.
        hold_at: The number of the sleep that lasts until somebody asks to stop; 0 for none.
    """

    def __init__(self, events: list[str], hold_at: int = 0) -> None:
        super().__init__()
        self.asleep = threading.Event()
        self._events = events
        self._left = hold_at

    def wait_until(self, deadline_us: int, wake: threading.Event) -> None:
        self._events.append("sleep")
        self._left -= 1
        if self._left == 0:
            self.asleep.set()
            assert wake.wait(30), "nobody asked to stop"
        super().wait_until(deadline_us, wake)


class Stage:
    """Where recorded contexts play.

    Attributes:
        events: Every call and sleep so far.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self._contexts: list[Context] = []

    def part(self, name: str = "", **acts: Callable[[Context], object]) -> Recorder:
        """Return a part that notes each call and does what `acts` say."""
        return Recorder(self.events, name, **acts)

    def context(
        self,
        primitive: object,
        *callbacks: object,
        name: str = "context",
        intervals: Intervals = SHORT,
        hold_at: int = 0,
        failure_limit: int = 10,
    ) -> Context:
        """Return a context on a clock of its own that notes each sleep."""
        context = Context(
            primitive,
            callbacks,
            intervals=intervals,
            clock=NotingClock(self.events, hold_at),
            name=name,
            failure_limit=failure_limit,
        )
        self._contexts.append(context)
        return context

    def clear(self) -> None:
        """Stop what a failed test has left running, so that the next one can start."""
        for context in self._contexts:
            with contextlib.suppress(NotRunningError):
                context.request_stop()
            context.wait(30)

    @staticmethod
    def run(context: Context) -> None:
        """Start a context that ends by itself and wait until it has."""
        start(context)
        assert context.wait(30), f"{context} doesn't end"

    @staticmethod
    def until_held(context: Context) -> None:
        """Wait until a context is in the sleep that it was told to hold."""
        assert isinstance(context.clock, NotingClock)
        assert context.clock.asleep.wait(30), f"{context} doesn't come to its sleep"


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Where recorded contexts play: an aggregation every 2 checks, an update every 4."""
    stage = Stage()
    yield stage
    stage.clear()


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a worker behind."""
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("kdamond")]
    assert left == []
