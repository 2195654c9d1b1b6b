"""The primitive `cgroup` of damon-core: the memory of all processes of a cgroup."""

from damon_cgroup.hierarchy import Hierarchy, find_cgroup, hierarchies
from damon_cgroup.patterns import CgroupPatterns
from damon_cgroup.plugin import CgroupOptions, make_cgroup
from damon_cgroup.source import CgroupSource

__all__ = [
    "CgroupOptions",
    "CgroupPatterns",
    "CgroupSource",
    "Hierarchy",
    "find_cgroup",
    "hierarchies",
    "make_cgroup",
]
