"""Validators: what they allow, and what they say of the rest."""

from typing import Any

import pytest
from attrs import field, frozen, make_class

from damon_core import AttributeValueError, Bytes, Microseconds, validators


def made(validator: Any, value: object, kind: type = object) -> object:
    """Return a value that has passed a validator of an attrs class."""
    cls = make_class("Made", {"x": field(type=kind, validator=validator)}, frozen=True)
    return cls(value).x


@pytest.mark.parametrize(
    ("validator", "value"),
    [
        (validators.positive, 1),
        (validators.share, 1.0),
        (validators.share, 1e-9),
        (validators.above(0), 0.1),
        (validators.at_least(0), 0),
        (validators.at_least(3), 3),
        (validators.between(0, 1), 0),
        (validators.between(0, 1), 1),
        (validators.not_empty, "x"),
        (validators.not_empty, (0,)),
        (validators.printable, "a b"),
        (validators.each(validators.positive), ()),
        (validators.each(validators.positive), (1, 2)),
    ],
)
def test_allowed(validator: Any, value: object) -> None:
    """What is in the range passes, its ends where they belong to it."""
    assert made(validator, value) == value


@pytest.mark.parametrize(
    ("validator", "value", "message"),
    [
        (validators.positive, 0, "x is 0: must be above 0"),
        (validators.positive, 1.5, "x is 1.5: must be a whole number above 0"),
        (validators.positive, True, "x is True: must be a whole number above 0"),
        (validators.share, 0.0, "x is 0.0: must be above 0 and at most 1"),
        (validators.share, 1.1, "x is 1.1: must be above 0 and at most 1"),
        (validators.share, float("nan"), "x is nan: must be above 0 and at most 1"),
        (validators.above(0), 0, "x is 0: must be above 0"),
        (validators.above(0), float("nan"), "x is nan: must be above 0"),
        (validators.at_least(0), -1, "x is -1: must not be negative"),
        (validators.at_least(2), 1, "x is 1: must be at least 2"),
        (validators.between(0, 1), 1.1, "x is 1.1: must be from 0 to 1"),
        (validators.between(0, 1), float("nan"), "x is nan: must be from 0 to 1"),
        (validators.not_empty, " ", "x is ' ': must not be empty"),
        (validators.not_empty, (), "x is (): must have at least one entry"),
        (validators.printable, "", "x is '': must be printable characters, not only spaces"),
        (validators.printable, " ", "x is ' ': must be printable characters, not only spaces"),
        (
            validators.printable,
            "a\nb",
            "x is 'a\\nb': must be printable characters, not only spaces",
        ),
        (validators.each(validators.positive), (1, 0), "x[1] is 0: must be above 0"),
    ],
)
def test_refused(validator: Any, value: object, message: str) -> None:
    """The error says which field, what was found and what is allowed."""
    with pytest.raises(AttributeValueError) as caught:
        made(validator, value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Bytes, "must be at least 1.0 MiB"),
        (Microseconds | None, "must be at least 1.049s"),
        (int, "must be at least 1048576"),
    ],
)
def test_bounds_are_written_as_the_field_is(kind: Any, message: str) -> None:
    """The bound of a duration is a duration, that of a size is a size."""
    with pytest.raises(AttributeValueError) as caught:
        made(validators.at_least(1 << 20), 5, kind)
    assert caught.value.allowed == message


@frozen
class Pair:
    """Two numbers and two durations, each pair in order."""

    low: int = 0
    high: int = field(default=10, validator=validators.not_below("low"))
    short_us: int = 0
    long_us: int = field(
        default=5_000, validator=validators.not_shorter_than("short_us", "the short one")
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": 11}, "high is 10: must not be below low (11)"),
        ({"short_us": 6_000}, "long_us is 5ms: must not be shorter than the short one (6ms)"),
    ],
)
def test_compared_with_another_field(values: dict[str, int], message: str) -> None:
    """The error names both, and durations as people write them."""
    with pytest.raises(AttributeValueError) as caught:
        Pair(**values)
    assert str(caught.value) == message


def test_equal_to_the_other_field() -> None:
    """The bound itself is allowed."""
    assert Pair(10, 10, 5_000, 5_000).high == 10


def test_an_argument() -> None:
    """A validator can be asked about what belongs to no class."""
    validators.check(validators.positive, "count", 1)
    with pytest.raises(AttributeValueError, match=r"^count is 0: must be above 0$"):
        validators.check(validators.positive, "count", 0)
