"""What options of primitives of processes have in common: rules, and groups."""

from typing import Any, Final, Literal, TypeAlias

from attrs import Attribute

from damon_vaddr.selection import Patterns, check_names

#: Labels that groups are named after; or none.
GroupBy: TypeAlias = Literal[
    "none", "cgroup", "unit", "user_unit", "container", "pod_uid", "comm", "exe", "user", "pid"
]

MATCH_HELP: Final = (
    "all processes that are like this, now and later: patterns by label, such as "
    '{ comm = "redis*", user = ["redis", "www-data"] }'
)
KINDS_HELP: Final = (
    "find out which kinds of memory regions have: anonymous, file, huge, dirty, swapped, NUMA node"
)
EXCLUDE_HELP: Final = "what of these is left out, likewise"
GROUP_BY_HELP: Final = (
    "the label that processes of one group have in common, such as unit, cgroup, container, comm "
    "or pid: it is their label 'group'"
)


def known_names(_instance: object, attribute: "Attribute[Any]", value: Patterns) -> None:
    """Refuse patterns by names that nothing is compared with."""
    check_names(attribute.name, value)
