"""Options are checked at construction, with clear messages."""

import os
from pathlib import Path
from typing import Any

import pytest
from damon_alert import AlertCallback, AlertOptions, Notify, Rule
from damon_alert.quantities import QuantityName

from damon_core import InputError, Microseconds

RULE = Rule("r", "working_set", above="64MiB")


@pytest.mark.parametrize(
    ("when", "written", "number"),
    [
        ("working_set", "64MiB", 64 << 20),
        ("working_set", 4096, 4096),
        ("idle_share", "20%", 0.2),
        ("idle_share", "0.2", 0.2),
        ("idle_share", 0.2, 0.2),
        ("idle_share", "12.5 %", 0.125),
        ("missed_samples", "10", 10),
        ("missed_samples", 10, 10),
    ],
)
def test_thresholds_carry_the_unit(when: QuantityName, written: str | float, number: float) -> None:
    """A threshold is written in the unit of its quantity."""
    assert Rule("r", when, above=written).condition.threshold == number


@pytest.mark.parametrize(
    ("when", "written", "hint"),
    [
        ("working_set", "20%", "write a size like '64MiB'"),
        ("working_set", "64 apples", "write a size like '64MiB'"),
        ("working_set", -1, "write a size like '64MiB'"),
        ("idle_share", "64MiB", "write a share like '20%'"),
        ("idle_share", "120%", "write a share like '20%'"),
        ("idle_share", 20, "write a share like '20%'"),
        ("idle_share", float("nan"), "write a share like '20%'"),
        ("missed_samples", "5ms", "write a whole number"),
        ("missed_samples", 1.5, "write a whole number"),
        ("missed_samples", float("inf"), "write a whole number"),
    ],
)
def test_threshold_of_another_unit(when: QuantityName, written: str | float, hint: str) -> None:
    """A threshold that isn't in the quantity's unit is refused, with what is allowed."""
    with pytest.raises(InputError) as caught:
        Rule("r", when, above=written)
    assert str(caught.value).startswith(f"above is {written!r}: {hint}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "above is nothing: give one of 'above' and 'below'"),
        (
            {"above": "1MiB", "below": "2MiB"},
            "above is given with 'below': give one of 'above' and 'below'",
        ),
        ({"above": "1MiB", "clear": "2MiB"}, "clear is '2MiB': must not be above the threshold"),
        ({"below": "2MiB", "clear": "1MiB"}, "clear is '1MiB': must not be below the threshold"),
        ({"above": "1MiB", "lasting": -1}, "lasting is -1: must not be negative"),
        ({"above": "1MiB", "idle_for": 1}, "idle_for is given for working_set: only"),
        ({"above": "1MiB", "within": 1}, "within is given for working_set: only"),
        ({"when": "idle", "above": "1MiB", "idle_for": 0}, "idle_for is 0: must be above 0"),
        (
            {"when": "missed_samples", "above": 1, "per": "target"},
            "per is 'target': missed_samples belongs to the context",
        ),
        ({"name": " ", "above": "1MiB"}, "name is ' ': must be printable"),
        ({"above": "1MiB", "labels": {"a-b": "c"}}, "labels is 'a-b': the name 'a-b' must be"),
        ({"above": "1MiB", "labels": {"severity": "c"}}, "'severity' is set by the rule itself"),
    ],
)
def test_rules_that_make_no_sense(fields: dict[str, Any], message: str) -> None:
    """A rule that could never work is refused."""
    with pytest.raises(InputError) as caught:
        Rule(**{"name": "r", "when": "working_set", **fields})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": "program"}, "command is nothing: write a list"),
        ({"to": "http"}, "url is nothing: write one like"),
        ({"to": "alertmanager"}, "url is nothing: write one like"),
        ({"to": "http", "url": "ftp://host"}, "url is 'ftp://host': must be like"),
        ({"to": "http", "url": "localhost:9093"}, "must be like http://HOST:PORT"),
        ({"to": "http", "url": "http://host:99999"}, "must be like http://HOST:PORT"),
        ({"to": "http", "url": "http://a:b@host"}, "put credentials into headers_from_file"),
        ({"to": "http", "url": "http://host/a b"}, "url is not plain"),
        ({"to": "http", "url": "http://host/#x"}, "leave the fragment out"),
        (
            {"to": "log", "url": "http://host"},
            "url is given for to = 'log': only to = 'http' or 'alertmanager' has it",
        ),
        ({"to": "log", "command": ("true",)}, "only to = 'program' has it"),
        ({"to": "log", "headers": {"a": "b"}}, "only to = 'http' or 'alertmanager' has it"),
        (
            {"to": "http", "url": "http://host", "repeat": 5},
            "repeat is given for to = 'http': only to = 'alertmanager' has it",
        ),
        (
            {
                "to": "http",
                "url": "http://h",
                "headers": {"A": "1"},
                "headers_from_env": {"a": "B"},
            },
            "is given more than once",
        ),
        ({"to": "http", "url": "http://h", "headers": {"a b": "1"}}, "isn't the name of a header"),
        ({"to": "http", "url": "http://h", "headers": {"a": "1\n2"}}, "must be printable ASCII"),
        ({"to": "log", "queue_length": 0}, "queue_length is 0: must be from 1 to 1000000"),
    ],
)
def test_receivers_that_make_no_sense(fields: dict[str, Any], message: str) -> None:
    """A receiver that lacks a needed option, or has one without effect, is refused."""
    with pytest.raises(InputError) as caught:
        Notify(**fields)
    assert message in str(caught.value)


def test_messages_hide_the_secret_part_of_an_address() -> None:
    """The message that refuses a credential in an address doesn't repeat it."""
    with pytest.raises(InputError) as caught:
        Notify("http", url="https://user:hunter2@host/")
    assert "hunter2" not in str(caught.value)


def test_no_rule() -> None:
    """A callback without a rule is refused."""
    with pytest.raises(InputError, match=r"rule is \(\): must have at least one entry"):
        AlertOptions(())


def test_two_rules_of_one_name() -> None:
    """Two rules can't have the same name."""
    with pytest.raises(InputError, match="rule is 'r' twice: names must differ"):
        AlertOptions((RULE, RULE))


def test_log_is_the_default_receiver() -> None:
    """Alerts go to the log if no receiver is configured."""
    assert AlertOptions((RULE,)).notify == (Notify("log"),)


def test_missing_program() -> None:
    """A missing program is reported before anything runs."""
    options = AlertOptions((RULE,), (Notify("program", command=("no-such-program",)),))
    with pytest.raises(
        InputError,
        match="program 'no-such-program': there is no program with this name on the PATH",
    ):
        AlertCallback(options)


def test_missing_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header's variable that isn't set is reported before anything runs."""
    monkeypatch.delenv("DAMON_TEST_TOKEN", raising=False)
    notify = Notify(
        "http", url="http://127.0.0.1", headers_from_env={"Authorization": "DAMON_TEST_TOKEN"}
    )
    with pytest.raises(InputError, match="variable 'DAMON_TEST_TOKEN' is not set"):
        AlertCallback(AlertOptions((RULE,), (notify,)))


def test_missing_header_file(tmp_path: Path) -> None:
    """A header's missing file is reported before anything runs."""
    notify = Notify(
        "http", url="http://127.0.0.1", headers_from_file={"Authorization": tmp_path / "token"}
    )
    with pytest.raises(InputError, match=f"token': {os.strerror(2)}"):
        AlertCallback(AlertOptions((RULE,), (notify,)))


def test_missing_ca_file(tmp_path: Path) -> None:
    """A missing file of certificates is reported before anything runs."""
    notify = Notify("http", url="https://127.0.0.1", ca_file=tmp_path / "ca.pem")
    with pytest.raises(InputError, match=f"ca.pem': {os.strerror(2)}"):
        AlertCallback(AlertOptions((RULE,), (notify,)))


def test_durations_are_microseconds() -> None:
    """In Python, durations are numbers of microseconds."""
    rule = Rule("r", "idle", above="1MiB", idle_for=Microseconds(600_000_000))
    assert rule.idle_for == 600_000_000
