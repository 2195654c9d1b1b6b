"""The worker's own ends: nothing leaves a dead thread, and who waits isn't surprised."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from damon_core import Context, VirtualClock, hookimpl, start
from damon_core.testing import Recorder, StopAfter, run

if TYPE_CHECKING:
    from tests.conftest import Stage


class Elsewhere(Recorder):
    """A primitive whose account of what others have spent is wrong from a call on."""

    def __init__(self, good_calls: int, spent: object = None) -> None:
        super().__init__()
        self._left, self._spent = good_calls, spent

    @property
    def spent_elsewhere_us(self) -> object:
        """Fail, or return what isn't a number."""
        self._left -= 1
        if self._left >= 0:
            return 0
        if self._spent is None:
            raise LookupError("gone")
        return self._spent


@pytest.mark.parametrize("good_calls", range(6))
def test_an_account_that_fails_ends_the_context_in_order(good_calls: int) -> None:
    """`spent_elsewhere_us` that raises is an error of the context, at whatever moment."""
    primitive = Elsewhere(good_calls)
    context = Context(primitive, [StopAfter(1)], clock=VirtualClock())
    run(context, check=False)
    assert primitive.events[-2:] == ["before_terminate", "cleanup"]
    assert context.error is not None


@pytest.mark.parametrize("spent", ["much", float("nan"), float("inf"), [1]])
def test_an_account_that_is_no_number_ends_the_context(spent: object) -> None:
    """What isn't a number can't be added to the CPU time."""
    primitive = Elsewhere(3, spent)
    context = Context(primitive, [StopAfter(1)], clock=VirtualClock())
    run(context, check=False)
    assert context.error is not None


def test_an_account_that_goes_back_costs_nothing_less() -> None:
    """The CPU time of a context never shrinks."""
    used_us = []

    class Note:
        @hookimpl
        def after_sampling(self, context: Context) -> bool:
            used_us.append(context.stats.cpu_us)
            return len(used_us) == 10

    class Back:
        spent_elsewhere_us = 1_000_000

        @hookimpl
        def check_accesses(self) -> None:
            self.spent_elsewhere_us -= 100_000

    run(Context(Back(), [Note()], clock=VirtualClock()))
    assert used_us == sorted(used_us)


def test_waiting_while_another_thread_starts(stage: Stage) -> None:
    """A context that is being started can be waited for."""
    context = stage.context(stage.part(before_start=lambda _: True))
    failures = []

    def wait() -> None:
        for _ in range(2_000):
            try:
                context.wait(0)
            except Exception as error:
                failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while waiting.is_alive():
        start(context)
        assert context.wait(30)
    waiting.join()
    assert failures == []
