"""The hook of damon-cgroup: it registers the primitive `cgroup`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast

from attrs import field, frozen
from damon_vaddr import (
    EXCLUDE_HELP,
    GROUP_BY_HELP,
    KINDS_HELP,
    NO_GROUP,
    GroupBy,
    ProcessBackend,
    ProcessForecast,
    ProcessMemory,
    Rule,
    forecast_processes,
    known_names,
    probe_processes,
)

from damon_cgroup.hierarchy import find_cgroup, hierarchies
from damon_cgroup.patterns import CgroupPatterns, known_patterns
from damon_cgroup.source import CgroupSource
from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    Finding,
    Primitive,
    TargetError,
    hookimpl,
    make_backend,
    preferred_backends,
)


@frozen
class CgroupOptions:
    """The options of `cgroup`: exactly one of `path` and `cgroups`."""

    path: str = field(
        default="",
        metadata={"help": "the cgroup: an absolute path, or one like 'system.slice/redis.service'"},
    )
    cgroups: tuple[str, ...] = field(
        default=(),
        validator=known_patterns,
        metadata={
            "help": "all cgroups that match one of these, now and later, such as "
            "'system.slice/*.service'; ** is any number of levels"
        },
    )
    exclude_cgroups: tuple[str, ...] = field(
        default=(),
        validator=known_patterns,
        metadata={"help": "what of these is left out, with all below, likewise"},
    )
    match: dict[str, str | tuple[str, ...]] = field(
        factory=dict,
        validator=known_names,
        metadata={"help": "only processes that are like this: patterns by label, as for vaddr"},
    )
    exclude: dict[str, str | tuple[str, ...]] = field(
        factory=dict, validator=known_names, metadata={"help": EXCLUDE_HELP}
    )
    descendants: bool = field(
        default=False, metadata={"help": "monitor the processes of the cgroups below as well"}
    )
    when_gone: Literal["wait", "end"] = field(
        default="wait",
        metadata={
            "help": "when the last of the cgroups is removed: wait until one is back, as when a "
            "service restarts, or end"
        },
    )
    group_by: GroupBy = field(default=NO_GROUP, metadata={"help": GROUP_BY_HELP})
    kinds: bool = field(default=False, metadata={"help": KINDS_HELP})
    backend: BackendOption = field(
        default=AUTO,
        metadata={"help": "how accesses are detected; 'auto' is the best backend that works"},
    )

    def __attrs_post_init__(self) -> None:
        if bool(self.path) == bool(self.cgroups):
            raise ValueError("must have exactly one of path and cgroups")
        if self.exclude_cgroups and not self.cgroups:
            raise ValueError("has exclude_cgroups, which only goes with cgroups")


def make_cgroup(options: CgroupOptions, backends: Mapping[str, Backend]) -> ProcessMemory:
    """Make the primitive.

    Raises:
        TargetError: The cgroup doesn't exist.
        PluginError: The backend doesn't exist or doesn't work on this machine.
        ConfigError: An option of the backend is wrong.
    """
    waits = options.when_gone == "wait"
    try:
        source = _source(options)
    except TargetError as error:
        # If what is gone is the end, so is what isn't there at the beginning.
        may_come = error.may_come and waits
        raise TargetError(error.target, error.reason, may_come=may_come) from error
    backend = make_backend("cgroup", options.backend, backends)
    return ProcessMemory(
        source,
        cast(ProcessBackend, backend),
        name="cgroup",
        better_backends=partial(preferred_backends, "cgroup", options.backend, backends),
        group_by=options.group_by,
        kinds=options.kinds,
    )


def _source(options: CgroupOptions) -> CgroupSource:
    cgroups: Path | CgroupPatterns
    mounted = None
    if options.path:
        mounted = hierarchies()
        cgroups = find_cgroup(options.path, mounted)
    else:
        cgroups = CgroupPatterns.of_machine(options.cgroups, options.exclude_cgroups)
    rule = Rule(options.match, options.exclude)
    return CgroupSource(cgroups, options.descendants, options.when_gone == "wait", rule, mounted)


def forecast_cgroup(options: CgroupOptions) -> Sequence[ProcessForecast]:
    """Return what is known of the processes that the cgroups have now.

    Raises:
        TargetError: The cgroup doesn't exist.
    """
    return forecast_processes(_source(options))


def count_members(options: CgroupOptions) -> int:
    """Return how many processes the cgroups have now, whatever is left out of them by rules.

    Raises:
        TargetError: The cgroup doesn't exist.
    """
    return _source(options).count()


def probe() -> Sequence[Finding]:
    """Report the mounted hierarchies, and whether processes of other users can be monitored."""
    mounts = ", ".join(f"{found.mount} (v{found.version})" for found in hierarchies())
    return (
        Finding("a mounted cgroup hierarchy", bool(mounts), mounts or "mount one"),
        *probe_processes(),
    )


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register `cgroup`."""
    register(
        Primitive(
            "cgroup",
            make_cgroup,
            CgroupOptions,
            "The memory of a cgroup's processes",
            probe=probe,
            forecast=forecast_cgroup,
            count=count_members,
        )
    )
