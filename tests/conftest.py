"""What the tests of the core share: contexts whose parts and clock note every event."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from damon_core import Context, Intervals, NotRunningError
from damon_core.testing import NotingClock, Recorder, run

# A busy machine is no failure, the suite stays quick, and CI tries the same examples each time.
settings.register_profile(
    "quick", max_examples=40, deadline=None, derandomize=os.environ.get("CI") == "true"
)
settings.load_profile("quick")

#: An aggregation every 2 checks, an update every 4.
SHORT = Intervals(sampling_us=5, aggregation_us=10, update_us=20)


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
        """Start a context that ends by itself, be it in a failure, and wait until it has."""
        run(context, check=False)

    @staticmethod
    def until_held(context: Context) -> None:
        """Wait until a context is in the sleep to hold."""
        assert isinstance(context.clock, NotingClock)
        assert context.clock.held.wait(30), f"{context} doesn't come to its sleep"


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
