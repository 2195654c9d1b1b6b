"""Errors: one root, two ways to leave the program, errno where the contract has one."""

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
    PluginError,
    Problem,
    TargetError,
    errors,
)

EXAMPLES = [
    DamonError("failed"),
    InputError("wrong"),
    BusyError("busy", ["a"]),
    NotRunningError("not running", ["a"]),
    AttributeValueError("sampling_us", 0, "must be at least 1"),
    TargetError("pid 1", "no such process"),
    PluginError("csv", "not installed"),
    ConfigError("a.toml", [Problem("context[0]", "wrong")]),
]


def test_every_error_has_an_example() -> None:
    """So that the tests of this file know all of them."""
    classes = {
        value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and not name.startswith("_")
    }
    assert classes == {type(error) for error in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_has_the_root_and_a_message(error: DamonError) -> None:
    """`except DamonError` catches all that is raised on purpose; its text is the message."""
    assert isinstance(error, DamonError)
    assert str(error) == error.message != ""


@pytest.mark.parametrize("error", EXAMPLES[2:4], ids=lambda error: type(error).__name__)
def test_lifecycle_errors_are_failures(error: DamonError) -> None:
    """A context in the way is not an input to mend."""
    assert not isinstance(error, InputError)


@pytest.mark.parametrize("error", EXAMPLES[4:], ids=lambda error: type(error).__name__)
def test_errors_of_the_user_s_input_are_input_errors(error: DamonError) -> None:
    """These are the user's to mend."""
    assert isinstance(error, InputError)


@pytest.mark.parametrize(
    ("error", "code"), [(EXAMPLES[2], errno.EBUSY), (EXAMPLES[3], errno.EPERM)]
)
def test_lifecycle_errors_are_os_errors(error: BusyError | NotRunningError, code: int) -> None:
    """With the errno of the kernel's contract, its text, and the contexts meant."""
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror, error.contexts) == (code, os.strerror(code), ("a",))


def test_a_value_out_of_range_is_a_value_error() -> None:
    """What validators and Python's own checks expect."""
    error = AttributeValueError("sampling_us", 0, "must be at least 1")
    assert isinstance(error, ValueError)
    assert (error.attribute, error.found, error.allowed) == (
        "sampling_us", 0, "must be at least 1",
    )  # fmt: skip


def test_a_configuration_tells_all_its_problems() -> None:
    """One line each, with the file in front."""
    error = ConfigError("a.toml", [Problem("context[0].name", "is 5"), Problem("", "is empty")])
    assert str(error).splitlines() == ["a.toml: context[0].name: is 5", "a.toml: is empty"]
    assert [problem.path for problem in error.problems] == ["context[0].name", ""]
