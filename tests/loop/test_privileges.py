"""Capabilities that a primitive needs only to start: who gives them up, and when."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from damon_core import Context, HookContext, VirtualClock, hookimpl
from damon_core.loop.privileges import drop_capabilities
from damon_core.testing import Recorder, StopAfter, run

pytestmark = pytest.mark.needs("root")

CAP_SYS_NICE = 23


def sets_with(number: int) -> list[str]:
    """Return which of the capability sets of the calling thread have a capability."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    sets = dict(line.split(":\t") for line in lines if line.startswith(("CapEff", "CapPrm")))
    return sorted(name for name, bits in sets.items() if int(bits, 16) >> number & 1)


def in_a_thread(function: Callable[[], object]) -> None:
    """Call a function in a thread, whose capabilities end with it."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


class Privileged(Recorder):
    """A primitive that needs a capability in `init`, and not after that."""

    startup_capabilities = (CAP_SYS_NICE,)

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, list[str]] = {}

    @hookimpl
    def init(self, context: HookContext) -> None:
        super().init(context)
        self.held["init"] = sets_with(CAP_SYS_NICE)

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        super().check_accesses(context)
        self.held["check_accesses"] = sets_with(CAP_SYS_NICE)


def test_the_worker_gives_them_up_after_init() -> None:
    """For good: they aren't even permitted any more."""
    primitive = Privileged()
    run(Context(primitive, [StopAfter(1)], clock=VirtualClock()))
    assert primitive.held == {"init": ["CapEff", "CapPrm"], "check_accesses": []}


def test_threads_of_the_program_keep_theirs() -> None:
    """So a context may be started again."""
    run(context := Context(Privileged(), [StopAfter(1)], clock=VirtualClock()))
    assert sets_with(CAP_SYS_NICE) == ["CapEff", "CapPrm"]
    run(context)


def test_a_program_may_give_up_its_own() -> None:
    """As the command does, which starts contexts once."""
    context = Context(Privileged(), clock=VirtualClock())
    held: list[list[str]] = []

    def work() -> None:
        context.drop_startup_capabilities()
        held.append(sets_with(CAP_SYS_NICE))

    in_a_thread(work)
    assert held == [[]]


def test_other_capabilities_stay() -> None:
    """In the same half of the set, too."""
    others: list[list[str]] = []

    def work() -> None:
        drop_capabilities([CAP_SYS_NICE, 39])
        others.extend(sets_with(number) for number in (21, 38))

    in_a_thread(work)
    assert others == [["CapEff", "CapPrm"]] * 2


def test_giving_up_what_isn_t_there_changes_nothing() -> None:
    """Also twice."""
    held: list[list[str]] = []

    def work() -> None:
        for _ in range(2):
            drop_capabilities([CAP_SYS_NICE])
        held.append(sets_with(21))

    in_a_thread(work)
    assert held == [["CapEff", "CapPrm"]]
