"""Checks of health and readiness."""

import http.client
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from damon_prometheus import Listener, PrometheusCallback, PrometheusOptions

from damon_core import Context, HookContext, Microseconds, VirtualClock, hookimpl
from damon_core.testing import run

Make = Callable[..., Context]
MakeListener = Callable[..., Listener]

SECOND = 1_000_000


def ask(listener: Listener, check: str, method: str = "GET") -> tuple[int, str]:
    """Return status and text of a check."""
    with closing(http.client.HTTPConnection("127.0.0.1", listener.port, timeout=30)) as connection:
        connection.request(method, f"/-/{check}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


class Look:
    """A callback that asks at the first check, and after each aggregation."""

    def __init__(self, ask: Callable[[], tuple[int, str]], later_us: int = 0) -> None:
        self._ask, self._later_us = ask, later_us
        self.at_first_check: tuple[int, str] | None = None
        self.found: list[tuple[int, str]] = []

    @hookimpl
    def after_sampling(self) -> None:
        if self.at_first_check is None:
            self.at_first_check = self._ask()

    @hookimpl
    def after_aggregation(self, context: HookContext) -> None:
        assert isinstance(context.clock, VirtualClock)
        context.clock.advance(self._later_us)
        self.found.append(self._ask())


def look(
    make_context: Make,
    listener: Listener,
    check: str,
    later_s: int = 0,
    options: PrometheusOptions | None = None,
) -> Look:
    """Run a context, and let it ask some time after each aggregation."""
    looking = Look(lambda: ask(listener, check), later_s * SECOND)
    run(make_context(PrometheusCallback(options, listener), looking, checks=10))
    return looking


def test_not_ready_before_the_first_aggregation(
    make_context: Make, make_listener: MakeListener
) -> None:
    """And it says why."""
    looking = look(make_context, make_listener(), "ready")
    reason = "context 'db': its first aggregation hasn't ended yet"
    assert looking.at_first_check == (503, f"not ready\n{reason}\n")


def test_ready(make_context: Make, make_listener: MakeListener) -> None:
    """Once every context has data."""
    assert look(make_context, make_listener(), "ready").found == [(200, "ready\n")]


def test_not_ready_while_a_context_has_not_begun(
    make_context: Make, make_listener: MakeListener
) -> None:
    """One that was made is expected."""
    listener = make_listener()
    waiting = PrometheusCallback(listener=listener)
    (found,) = look(make_context, listener, "ready").found
    waiting.release()
    assert found == (503, "not ready\n1 of the contexts haven't begun\n")


def test_ready_without_one_that_was_given_up(
    make_context: Make, make_listener: MakeListener
) -> None:
    """What was released is not expected."""
    listener = make_listener()
    PrometheusCallback(listener=listener).release()
    assert look(make_context, listener, "ready").found == [(200, "ready\n")]


def test_healthy_before_the_first_aggregation(
    make_context: Make, make_listener: MakeListener
) -> None:
    """A context may take its time."""
    assert look(make_context, make_listener(), "healthy").at_first_check == (200, "healthy\n")


@pytest.mark.parametrize(
    ("later_s", "expected"),
    [
        (119, (200, "healthy\n")),
        (122, (503, "not healthy\ncontext 'db': its last aggregation ended 2m2s ago\n")),
    ],
)
def test_stale_data(
    make_context: Make,
    make_listener: MakeListener,
    later_s: int,
    expected: tuple[int, str],
) -> None:
    """A context without an aggregation for two minutes doesn't work."""
    assert look(make_context, make_listener(), "healthy", later_s).found == [expected]


def test_how_old_data_may_be(make_context: Make, make_listener: MakeListener) -> None:
    """An option says so."""
    options = PrometheusOptions(stale_after=Microseconds(3 * SECOND))
    (found,) = look(make_context, make_listener(), "healthy", 4, options).found
    assert found[0] == 503


def test_data_of_long_aggregations_is_not_stale(
    make_context: Make, make_listener: MakeListener
) -> None:
    """A budget may stretch them beyond the option."""
    options = PrometheusOptions(stale_after=Microseconds(1 * SECOND))
    listener = make_listener()
    looking = Look(lambda: ask(listener, "healthy"), 3 * SECOND)
    context = make_context(PrometheusCallback(options, listener), looking)
    context.commit(intervals=context.intervals.stretched(2 * SECOND))
    run(context)
    assert {status for status, _ in looking.found} == {200}


def test_an_ended_context_is_not_unhealthy(make_context: Make, make_listener: MakeListener) -> None:
    """What it monitored is gone: no restart would help."""
    listener = make_listener()
    run(make_context(PrometheusCallback(listener=listener)))
    listener.serve()
    assert ask(listener, "healthy") == (200, "healthy\n")


@pytest.mark.parametrize("check", ["ready", "healthy"])
def test_head(make_listener: MakeListener, check: str) -> None:
    """The status is all that many checks read."""
    listener = make_listener()
    listener.serve()
    assert ask(listener, check, "HEAD") == (200, "")


def test_checks_need_no_password(
    make_context: Make, make_listener: MakeListener, tmp_path: Path
) -> None:
    """Who has none learns no names."""
    secret = tmp_path / "token"
    secret.write_text("secret", encoding="utf-8")
    listener = make_listener(bearer_token_file=secret)
    looking = look(make_context, listener, "ready")
    assert looking.at_first_check == (503, "not ready\n")
