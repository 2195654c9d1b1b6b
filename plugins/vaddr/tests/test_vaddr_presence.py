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
    presence.log("db", 0)
    presence.remove(first)
    presence.log("db", 0)
    presence.add(target("redis[2]", "redis.service"))
    presence.log("db", 0)
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
    presence.log("web", 0)
    presence.remove(first)
    presence.log("web", 0)
    assert messages.messages == ["context 'web': 2 processes of 1 group at first"]


def test_a_group_that_is_new(messages: pytest.LogCaptureFixture) -> None:
    """It is said to be new, with how many processes it has."""
    presence = Presence("unit")
    presence.log("web", 0)
    presence.add(target("php[1]", "php.service"))
    presence.add(target("php[2]", "php.service"))
    presence.log("web", 0)
    assert messages.messages == [
        "context 'web': no processes at first",
        "context 'web': group 'php.service' is new: php[1] and 1 more",
    ]


def test_without_groups(messages: pytest.LogCaptureFixture) -> None:
    """All processes are one."""
    presence, first = Presence(), target("a[1]")
    presence.add(first)
    presence.log("x", 0)
    presence.remove(first)
    presence.log("x", 0)
    presence.add(target("a[2]"))
    presence.log("x", 0)
    assert messages.messages[1:] == [
        "context 'x': the last process has gone",
        "context 'x': there are processes again: a[2]",
    ]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (("", ""), "2 processes in no group at first"),
        (("a", "a", "b", ""), "4 processes of 2 groups, 1 of them in no group at first"),
    ],
)
def test_processes_without_a_group_are_counted(
    messages: pytest.LogCaptureFixture, groups: tuple[str, ...], expected: str
) -> None:
    """They are monitored, too: a beginning without any would look like a failure."""
    presence = Presence("unit")
    for number, group in enumerate(groups):
        presence.add(target(f"x[{number}]", group))
    presence.log("x", 0)
    assert messages.messages == [f"context 'x': {expected}"]


def test_a_process_without_a_group(messages: pytest.LogCaptureFixture) -> None:
    """Nothing is said of it."""
    presence = Presence("unit")
    presence.log("x", 0)
    presence.add(target("a[1]"))
    presence.log("x", 0)
    assert len(messages.messages) == 1


def test_a_program_that_executes_another_stays(messages: pytest.LogCaptureFixture) -> None:
    """The group has not gone if it has another target when it is asked."""
    presence, first = Presence("unit"), target("sh[1]", "a.service")
    presence.add(first)
    presence.log("x", 0)
    presence.remove(first)
    presence.add(target("redis[1]", "a.service"))
    presence.log("x", 0)
    assert len(messages.messages) == 1


def test_many_groups_at_once(messages: pytest.LogCaptureFixture) -> None:
    """One line sums them up, and names some."""
    presence, many = Presence("unit"), [target(f"a[{n}]", f"{n}.service") for n in range(10)]
    presence.log("x", 0)
    for each in many:
        presence.add(each)
    presence.log("x", 0)
    assert messages.messages[1:] == [
        "context 'x': 10 groups are new: '0.service', '1.service', '2.service' and 7 more"
    ]


def test_many_groups_one_after_the_other(messages: pytest.LogCaptureFixture) -> None:
    """After some lines the next sums up what else there is at the end of the period."""
    presence = Presence("unit")
    presence.log("x", 0)
    for number in range(20):
        presence.add(target(f"a[{number}]", f"{number}.service"))
        presence.log("x", 100_000 * number)
    assert len(messages.messages) == 1 + 6
    presence.log("x", 10_000_000)
    assert messages.messages[7:] == [
        "context 'x': 14 groups are new: '10.service', '11.service', '12.service' and 11 more"
    ]


def test_what_comes_and_goes_among_many(messages: pytest.LogCaptureFixture) -> None:
    """It isn't logged: jobs that last for seconds would fill the log."""
    presence = Presence("unit")
    presence.log("x", 0)
    for number in range(50):
        job = target(f"a[{number}]", f"{number}.service")
        presence.add(job)
        presence.log("x", 100_000 * number)
        presence.remove(job)
        presence.log("x", 100_000 * number)
    assert len(messages.messages) == 1 + 6
