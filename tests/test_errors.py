"""Errors: one root, two exit codes, and an errno where the kernel's DAMON has one."""

import errno
import inspect
import os

import pytest

from damon_core import (
    AttributeValueError,
    BusyError,
    ConfigError,
    DamonError,
    InputError,
    NotRunningError,
    PartError,
    PluginError,
    Problem,
    StopTimeoutError,
    TargetError,
    errors,
)

EXAMPLES = [
    DamonError("failed"),
    InputError("wrong"),
    BusyError("busy", ["a"]),
    NotRunningError("not running", ["a"]),
    PartError("policy 'kernel'", "adapt", "ValueError: broken"),
    StopTimeoutError("a", "callback 'csv' has been in after_aggregation for 12s"),
    AttributeValueError("sampling_us", 0, "must be at least 1"),
    TargetError("pid 1", "no such process"),
    PluginError("csv", "not installed"),
    ConfigError("a.toml", [Problem("context[0]", "wrong")]),
]


def test_every_error_has_an_example() -> None:
    """Then the tests of this file cover all of them."""
    classes = {
        value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and not name.startswith("_")
    }
    assert classes == {type(error) for error in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_has_the_root_and_a_message(error: DamonError) -> None:
    """`except DamonError` catches every error raised on purpose; its text is the message."""
    assert isinstance(error, DamonError)
    assert str(error) == error.message != ""


@pytest.mark.parametrize("error", EXAMPLES[2:6], ids=lambda error: type(error).__name__)
def test_lifecycle_errors_are_failures(error: DamonError) -> None:
    """A running context in the way is not a mistake in the user's input."""
    assert not isinstance(error, InputError)


@pytest.mark.parametrize("error", EXAMPLES[6:], ids=lambda error: type(error).__name__)
def test_errors_of_the_user_s_input_are_input_errors(error: DamonError) -> None:
    """These are mistakes that the user can correct."""
    assert isinstance(error, InputError)


@pytest.mark.parametrize(
    ("error", "code"), [(EXAMPLES[2], errno.EBUSY), (EXAMPLES[3], errno.EPERM)]
)
def test_lifecycle_errors_are_os_errors(error: BusyError | NotRunningError, code: int) -> None:
    """They have the errno that the kernel's DAMON uses, its text, and the contexts' names."""
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror, error.contexts) == (code, os.strerror(code), ("a",))


def test_a_value_out_of_range_is_a_value_error() -> None:
    """Validators and Python's own checks expect a ValueError."""
    error = AttributeValueError("sampling_us", 0, "must be at least 1")
    assert isinstance(error, ValueError)
    assert (error.attribute, error.found, error.allowed) == (
        "sampling_us", 0, "must be at least 1",
    )  # fmt: skip


def test_a_configuration_error_lists_all_problems() -> None:
    """Each is one line that begins with the file."""
    error = ConfigError("a.toml", [Problem("context[0].name", "is 5"), Problem("", "is empty")])
    assert str(error).splitlines() == ["a.toml: context[0].name: is 5", "a.toml: is empty"]
    assert [problem.path for problem in error.problems] == ["context[0].name", ""]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\nb"), "ValueError: a b"),
        (InputError("'x' can't be read"), "'x' can't be read"),
        (DamonError("one", "two"), "one; two"),
        (DamonError(""), "DamonError"),
    ],
)
def test_an_error_as_a_line(error: Exception, line: str) -> None:
    """One that was raised on purpose needs no class to be understood."""
    assert errors.one_line(error) == line
