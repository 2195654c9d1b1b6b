"""Requests to read a configuration again, and what comes of them."""

import threading

import pytest

from damon_core.deployment.reloading import Reloading
from damon_core.testing import eventually


def test_nothing_is_done_unasked() -> None:
    """Nobody has asked yet."""
    assert not Reloading().begin()


def test_several_requests_are_one_reading() -> None:
    """What is asked before it begins."""
    reloading = Reloading()
    reloading.request()
    reloading.request()
    assert [reloading.begin(), reloading.begin()] == [True, False]


def test_what_is_asked_meanwhile_is_another() -> None:
    """The file may have changed since it was read."""
    reloading = Reloading()
    reloading.request()
    reloading.begin()
    reloading.request()
    reloading.end()
    assert reloading.begin()


@pytest.mark.parametrize("problem", ["", "line 3: no"])
def test_who_asks_gets_to_know_what_came_of_it(problem: str) -> None:
    """From the thread that reads."""
    reloading, answers = Reloading(), list[str]()
    asking = threading.Thread(target=lambda: answers.append(reloading.reload(60)))
    asking.start()
    eventually(reloading.begin)
    reloading.end(problem)
    asking.join()
    assert answers == [problem]


def test_who_asks_does_not_wait_for_ever() -> None:
    """Nobody reads."""
    with pytest.raises(TimeoutError):
        Reloading().reload(0.01)


@pytest.mark.parametrize(("problem", "successful"), [("", 1), ("line 3: no", 0)])
def test_measures_say_what_came_of_it(problem: str, successful: int) -> None:
    """The time is that of the configuration in force."""
    reloading = Reloading()
    in_force_s = reloading.in_force_s
    reloading.request()
    reloading.begin()
    reloading.end(problem)
    values = {each.name: each.value for each in reloading.measures(None)}
    assert values["config_last_reload_successful"] == successful
    changed = values["config_last_reload_timestamp_seconds"] != in_force_s
    assert changed == (not problem)
