"""What the log says of processes and groups that come and go."""

import pytest
from damon_vaddr import Process, ProcessTarget
from damon_vaddr.presence import Presence


def target(name: str, group: str = "") -> ProcessTarget:
    """Return a process of a group."""
    made = ProcessTarget(name, process=Process(1, 0))
    made.labels = {"group": group}
    return made


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return the log, from info on."""
    caplog.set_level("INFO")
    return caplog


def test_a_group_that_goes_and_comes_back(messages: pytest.LogCaptureFixture) -> None:
    """One line for each, with which process it is."""
    presence, first = Presence("unit"), target("redis[1]", "redis.service")
    presence.add(first)
    presence.log("db")
    presence.remove(first)
    presence.log("db")
    presence.add(target("redis[2]", "redis.service"))
    presence.log("db")
    assert messages.messages == [
        "context 'db': 1 process of 1 group at first",
        "context 'db': group 'redis.service' has gone",
        "context 'db': group 'redis.service' is back: redis[2]",
    ]


def test_a_group_of_which_processes_stay(messages: pytest.LogCaptureFixture) -> None:
    """Nothing is said of one process of several."""
    presence, first = Presence("unit"), target("php[1]", "php.service")
    presence.add(first)
    presence.add(target("php[2]", "php.service"))
    presence.log("web")
    presence.remove(first)
    presence.log("web")
    assert messages.messages == ["context 'web': 2 processes of 1 group at first"]


def test_a_group_that_is_new(messages: pytest.LogCaptureFixture) -> None:
    """It is said to be new, with how many processes it has."""
    presence = Presence("unit")
    presence.log("web")
    presence.add(target("php[1]", "php.service"))
    presence.add(target("php[2]", "php.service"))
    presence.log("web")
    assert messages.messages == [
        "context 'web': no processes at first",
        "context 'web': group 'php.service' is new: php[1] and 1 more",
    ]


def test_without_groups(messages: pytest.LogCaptureFixture) -> None:
    """All processes are one."""
    presence, first = Presence(), target("a[1]")
    presence.add(first)
    presence.log("x")
    presence.remove(first)
    presence.log("x")
    presence.add(target("a[2]"))
    presence.log("x")
    assert messages.messages[1:] == [
        "context 'x': the last process has gone",
        "context 'x': there are processes again: a[2]",
    ]


def test_a_process_without_a_group(messages: pytest.LogCaptureFixture) -> None:
    """Nothing is said of it."""
    presence = Presence("unit")
    presence.log("x")
    presence.add(target("a[1]"))
    presence.log("x")
    assert len(messages.messages) == 1


def test_a_program_that_executes_another_stays(messages: pytest.LogCaptureFixture) -> None:
    """The group has not gone if it has another target when it is asked."""
    presence, first = Presence("unit"), target("sh[1]", "a.service")
    presence.add(first)
    presence.log("x")
    presence.remove(first)
    presence.add(target("redis[1]", "a.service"))
    presence.log("x")
    assert len(messages.messages) == 1
