"""The hooks of damon-vaddr: they register the primitive `vaddr` and the backend `referenced`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, cast

from attrs import field, frozen
from attrs.validators import optional

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
    validators,
)
from damon_vaddr import referenced
from damon_vaddr.backend import ProcessBackend
from damon_vaddr.forecast import ProcessForecast, forecast_processes, forecast_referenced
from damon_vaddr.identity import NO_GROUP
from damon_vaddr.options import (
    EXCLUDE_HELP,
    GROUP_BY_HELP,
    KINDS_HELP,
    MATCH_HELP,
    RANGES_HELP,
    GroupBy,
    check_ranges,
    known_names,
    parse_ranges,
)
from damon_vaddr.primitive import ProcessMemory
from damon_vaddr.procfs import may_read_others, proc_problem
from damon_vaddr.selection import Rule, RuleSource
from damon_vaddr.sources import CommandSource, PidSource, ProcessSource

_PID = validators.between(1, (1 << 31) - 1)


@frozen
class VaddrOptions:
    """The options of `vaddr`: exactly one of `pid`, `pids`, `command` and `match`."""

    pid: int | None = field(
        default=None, validator=optional(_PID), metadata={"help": "the process to monitor"}
    )
    pids: tuple[int, ...] = field(
        default=(),
        validator=validators.each(_PID),
        metadata={"help": "several processes to monitor"},
    )
    command: tuple[str, ...] = field(
        default=(), metadata={"help": "a program and its arguments, to start and monitor"}
    )
    match: dict[str, str | tuple[str, ...]] = field(
        factory=dict, validator=known_names, metadata={"help": MATCH_HELP}
    )
    exclude: dict[str, str | tuple[str, ...]] = field(
        factory=dict, validator=known_names, metadata={"help": EXCLUDE_HELP}
    )
    when_gone: Literal["wait", "end"] = field(
        default="wait",
        metadata={"help": "with match, when the last of them has ended: wait for others, or end"},
    )
    descendants: bool = field(
        default=False,
        metadata={"help": "monitor the children, grandchildren and so on as well"},
    )
    ranges: tuple[str, ...] = field(
        default=(), validator=check_ranges, metadata={"help": RANGES_HELP}
    )
    group_by: GroupBy = field(default=NO_GROUP, metadata={"help": GROUP_BY_HELP})
    kinds: bool = field(default=False, metadata={"help": KINDS_HELP})
    backend: BackendOption = field(
        default=AUTO,
        metadata={"help": "how accesses are detected; 'auto' is the best backend that works"},
    )

    def __attrs_post_init__(self) -> None:
        given = (self.pid is not None, self.pids, self.command, self.match)
        if sum(map(bool, given)) != 1:
            raise ValueError("must have exactly one of pid, pids, command and match")
        if self.exclude and not (self.match or self.descendants):
            raise ValueError("has exclude, which only goes with match or descendants")


def make_vaddr(options: VaddrOptions, backends: Mapping[str, Backend]) -> ProcessMemory:
    """Make the primitive.

    Raises:
        TargetError: A process doesn't exist or may not be read, or the program doesn't exist.
        PluginError: The backend doesn't exist or doesn't work on this machine.
        ConfigError: An option of the backend is wrong.
    """
    source = _source(options)
    backend = make_backend("vaddr", options.backend, backends)
    return ProcessMemory(
        source,
        cast(ProcessBackend, backend),
        better_backends=partial(preferred_backends, "vaddr", options.backend, backends),
        group_by=options.group_by,
        kinds=options.kinds,
        ranges=parse_ranges(options.ranges),
    )


def _source(options: VaddrOptions) -> ProcessSource:
    if options.match:
        rule = Rule(options.match, options.exclude)
        return RuleSource(rule, options.descendants, options.when_gone == "wait")
    if options.command:
        return CommandSource(options.command, options.descendants, exclude=options.exclude)
    pids = options.pids if options.pid is None else (options.pid,)
    return PidSource(pids, options.descendants, options.exclude)


def forecast_vaddr(options: VaddrOptions) -> Sequence[ProcessForecast]:
    """Return what is known of the processes.

    Raises:
        TargetError: A process doesn't exist or may not be read, or a program is to be started.
    """
    if options.command:
        raise TargetError(
            f"command '{options.command[0]}'", "nothing is foretold of a program before it runs"
        )
    return forecast_processes(_source(options), parse_ranges(options.ranges))


def count_processes(options: VaddrOptions) -> int:
    """Return how many processes are named; to find those of a rule takes longer."""
    return len(options.pids) or int(not options.match)


def probe_processes() -> Sequence[Finding]:
    """Report whether processes, and those of other users, can be monitored."""
    problem = proc_problem()
    found = Finding("/proc of this pid namespace", problem is None, problem or "")
    name = "processes of other users"
    if may_read_others():
        return (found, Finding(name, True))
    detail = (
        "only your processes can be monitored: run as root, or with CAP_SYS_PTRACE and "
        "CAP_DAC_OVERRIDE, to monitor others"
    )
    return (found, Finding(name, False, detail, required=False))


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register `vaddr`."""
    register(
        Primitive(
            "vaddr",
            make_vaddr,
            VaddrOptions,
            "The memory of processes",
            probe=probe_processes,
            forecast=forecast_vaddr,
            count=count_processes,
        )
    )


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register `referenced`."""
    register(
        Backend(
            "referenced",
            referenced.Referenced,
            referenced.ReferencedOptions,
            summary="clear_refs and smaps: whole mappings, on every kernel, without root",
            probe=referenced.probe,
            forecast=forecast_referenced,
            serves=("vaddr", "cgroup"),
        )
    )
