"""Labels: what a target is known by besides its name, such as its unit, container or pod."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from damon_core.errors import AttributeValueError

#: The labels of a target of which nothing but its name is known.
NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})

#: What labels are called by cAdvisor and kube-state-metrics, where that differs: outputs beside
#: theirs, such as metrics, call them so, too, to be joined.
CADVISOR_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cgroup": "id",
        "container": "container_id",
        "container_name": "container",
        "pod_uid": "uid",
    }
)

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def freeze_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return labels that nobody can change, without the empty ones.

    Raises:
        AttributeValueError: A name has other characters than letters, digits and ``_`` or begins
            with a digit; or a value is not a string of printable characters.
    """
    for name, value in labels.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            allowed = "must be a name of letters, digits and _, not beginning with a digit"
            raise AttributeValueError("labels", repr(name), allowed)
        if not isinstance(value, str) or not value.isprintable():
            allowed = "must be a string of printable characters"
            raise AttributeValueError(f"labels.{name}", repr(value), allowed)
    return MappingProxyType({name: value for name, value in labels.items() if value})
