"""Numbers that parts know of themselves, for whatever exports metrics."""

import re
from collections.abc import Mapping

from attrs import Attribute, field, frozen

from damon_core.memory.labels import NO_LABELS, freeze_labels

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def _check_name(_instance: object, _attribute: "Attribute[str]", name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"must be of lower-case letters, digits and _, not {name!r}")


@frozen
class Measure:
    """A number that a part knows of itself: what it has done, what it holds.

    A part gives them in its method ``measures(context)``, and callbacks that export metrics ask
    for them by `Context.measures`: neither needs to know the other.

    Attributes:
        name: What it is called, with its unit if it has one: ``alert_notifications``,
            ``config_last_reload_timestamp_seconds``. Exporters put ``damon_`` before it, and
            ``_total`` behind that of a counter.
        value: The number.
        help: What it is, as a sentence.
        labels: What distinguishes it from others of the same name, which have the same labels.
        counter: Whether it only grows, from 0 on; otherwise it is a state.
        of_context: Whether it is one of the context. Otherwise it is one of the whole program,
            and several contexts give the same.

    Raises:
        ValueError: The name isn't one; it may have lower-case letters, digits and ``_``.
        AttributeValueError: The labels can't be labels.
    """

    name: str = field(validator=_check_name)
    value: float
    help: str
    labels: Mapping[str, str] = field(default=NO_LABELS, converter=freeze_labels)
    counter: bool = field(default=False, kw_only=True)
    of_context: bool = field(default=True, kw_only=True)
