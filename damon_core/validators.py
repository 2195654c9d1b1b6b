"""Validators of attrs fields, for attributes and options: one clear message each.

They raise `AttributeValueError`, whose `allowed` follows "found …, " where a mistake is
reported. Those that look at another field read it from the instance, so they run beside the
others and every mistake is reported at once. For a field that may be None they go into
`attrs.validators.optional`.
"""

import grp
from collections.abc import Callable
from typing import Any, cast, get_args

from attrs import Attribute, frozen

from damon_core.errors import AttributeValueError
from damon_core.units import Bytes, Microseconds, format_duration, format_size

#: What attrs takes as a validator: called with the instance, the field and the value.
Validator = Callable[[Any, "Attribute[Any]", Any], None]


@frozen
class _Argument:
    """What validators use of a field, for a value that is none's."""

    name: str
    type: Any = None


def check(validator: Validator, name: str, value: object) -> None:
    """Ask a validator about an argument, which belongs to no attrs class.

    Raises:
        AttributeValueError: The validator refuses it.
    """
    validator(None, cast("Attribute[Any]", _Argument(name)), value)


def positive(_instance: object, attribute: "Attribute[Any]", value: object) -> None:
    """Allow whole numbers above 0.

    Raises:
        AttributeValueError: It is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise AttributeValueError(attribute.name, repr(value), "must be a whole number above 0")
    if value < 1:
        raise AttributeValueError(attribute.name, value, "must be above 0")


def share(_instance: object, attribute: "Attribute[Any]", value: float) -> None:
    """Allow numbers above 0 and at most 1, such as a share of a processor.

    Raises:
        AttributeValueError: It is something else.
    """
    if not 0.0 < value <= 1.0:
        raise AttributeValueError(attribute.name, value, "must be above 0 and at most 1")


def group(_instance: object, attribute: "Attribute[Any]", value: str) -> None:
    """Allow names of groups of this machine.

    Raises:
        AttributeValueError: There is none of this name.
    """
    try:
        grp.getgrnam(value)
    except (KeyError, ValueError) as error:
        raise AttributeValueError(
            attribute.name, repr(value), "must be the name of a group of this machine"
        ) from error


@frozen
class Bounds:
    """A validator of numbers that says what it allows, for schemas.

    Attributes:
        least: The least number that is allowed; None: there is none.
        greatest: The greatest one.
        above: Numbers have to be above this one.
    """

    least: float | None = None
    greatest: float | None = None
    above: float | None = None

    def __call__(self, _instance: object, attribute: "Attribute[Any]", value: float) -> None:
        """Allow numbers within the bounds.

        Raises:
            AttributeValueError: It is outside of them.
        """
        if not (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.greatest is None or value <= self.greatest)
        ):
            raise AttributeValueError(attribute.name, value, f"must {self._allowed(attribute)}")

    def _allowed(self, attribute: "Attribute[Any]") -> str:
        if self.above is not None:
            return f"be above {_written(self.above, attribute)}"
        if self.least is None:
            return f"be at most {_written(self.greatest or 0, attribute)}"
        if self.greatest is None:
            return (
                f"be at least {_written(self.least, attribute)}"
                if self.least
                else "not be negative"
            )
        return f"be from {_written(self.least, attribute)} to {_written(self.greatest, attribute)}"


def above(bound: float) -> Validator:
    """Return a validator that allows numbers above `bound`."""
    return Bounds(above=bound)


def at_least(bound: float) -> Validator:
    """Return a validator that allows `bound` and all above; 0 forbids negative numbers."""
    return Bounds(least=bound)


def at_most(bound: float) -> Validator:
    """Return a validator that allows `bound` and all below."""
    return Bounds(greatest=bound)


def between(least: float, greatest: float) -> Validator:
    """Return a validator that allows `least`, `greatest` and what is between them."""
    return Bounds(least=least, greatest=greatest)


def not_empty(_instance: object, attribute: "Attribute[Any]", value: Any) -> None:
    """Allow lists with entries, and texts that have more than spaces.

    Raises:
        AttributeValueError: It is something else.
    """
    is_text = isinstance(value, str)
    if not (value.strip() if is_text else value):
        allowed = "must not be empty" if is_text else "must have at least one entry"
        raise AttributeValueError(attribute.name, repr(value), allowed)


def printable(_instance: object, attribute: "Attribute[Any]", value: str) -> None:
    """Allow names: printable characters, not only spaces.

    Raises:
        AttributeValueError: It is something else.
    """
    if not (value.strip() and value.isprintable()):
        raise AttributeValueError(
            attribute.name, repr(value), "must be printable characters, not only spaces"
        )


@frozen
class Each:
    """A validator of lists that asks another about every entry.

    Attributes:
        validator: The other one.
    """

    validator: Validator

    def __call__(self, instance: object, attribute: "Attribute[Any]", value: Any) -> None:
        """Allow lists whose entries are all allowed.

        Raises:
            AttributeValueError: An entry is refused.
        """
        for index, entry in enumerate(value):
            try:
                self.validator(instance, attribute, entry)
            except AttributeValueError as error:
                name = f"{attribute.name}[{index}]"
                raise AttributeValueError(name, error.found, error.allowed) from None


def each(validator: Validator) -> Validator:
    """Return a validator that asks another about every entry of a list."""
    return Each(validator)


def not_below(other: str) -> Validator:
    """Return a validator that allows numbers from that of the field `other` on."""

    def validate(instance: object, attribute: "Attribute[Any]", value: float) -> None:
        least = getattr(instance, other)
        if value < least:
            raise AttributeValueError(attribute.name, value, f"must not be below {other} ({least})")

    return validate


def not_shorter_than(other: str, called: str) -> Validator:
    """Return a validator that allows durations from that of the field `other` on.

    Args:
        other: The name of the field, microseconds.
        called: What people call it.
    """

    def validate(instance: object, attribute: "Attribute[Any]", value: int) -> None:
        least = getattr(instance, other)
        if value < least:
            raise AttributeValueError(
                attribute.name,
                format_duration(value),
                f"must not be shorter than {called} ({format_duration(least)})",
            )

    return validate


def _written(number: float, field: "Attribute[Any]") -> str:
    """Return a bound as people write numbers of the field's type."""
    kinds = (field.type, *get_args(field.type))
    if Microseconds in kinds:
        return format_duration(number)
    return format_size(number) if Bytes in kinds else str(number)
