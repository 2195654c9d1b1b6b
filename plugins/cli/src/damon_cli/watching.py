"""What to watch and how: options that are the same for every command that watches.

They are one more way to write a ``[[context]]`` table: the same check reads it, and the same
function builds the context.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import frozen
from click.core import ParameterSource

from damon_cli.params import SHARE

if TYPE_CHECKING:
    from damon_core import Context, Plugins

__all__ = ["WatchOptions", "watch_options"]

T = TypeVar("T")

#: What makes a pattern of the path of a cgroup.
_MAGIC = frozenset("*?[")
#: Options that are keys of a ``[[context]]`` table as they are.
_KEYS = (
    "sampling_interval",
    "aggregation_interval",
    "update_interval",
    "min_regions",
    "max_regions",
    "cpu_budget",
    "max_slowdown",
    "max_stall",
    "failure_limit",
)


#: Keys that mean nothing for a kdamond that runs already, and their options.
_WITHOUT_KDAMOND = {
    "sampling_interval": "--sampling",
    "aggregation_interval": "--aggregation",
    "update_interval": "--update",
    "min_regions": "--min-regions",
    "max_regions": "--max-regions",
    "max_slowdown": "--max-slowdown",
    "max_stall": "--max-stall",
    "intervals_goal": "--goal",
    "policy": "--policy",
}


@frozen
class WatchOptions:
    """What the user wants to be watched, and how.

    Attributes:
        pid: The process with this id.
        cgroups: The processes of the cgroup with this path, or of those that match one of these.
        match: Processes that are like this, of all or of the cgroups: patterns by label.
        exclude: What of these is left out, likewise.
        physical: The physical memory of the machine.
        command: What to start and watch; or a configuration file, see `configuration`.
        backend: The backend; None for the best available.
        descendants: Whether to watch child processes, or child cgroups, too.
        attributes: What else was given, as keys and values of a ``[[context]]`` table.
        until_gone: Whether it is the end when nothing of it is left, and others aren't waited for.
        group_by: The label that says which group a process belongs to.
        kinds: Whether to find out which kinds of memory it is.
        kdamond: What kdamonds find that run already: which of them.
        ranges: The only ranges of addresses that are watched, as START-END.
    """

    pid: int | None
    cgroups: tuple[str, ...]
    match: Mapping[str, Sequence[str]]
    exclude: Mapping[str, Sequence[str]]
    physical: bool
    command: tuple[str, ...]
    backend: str | None
    descendants: bool
    attributes: Mapping[str, object]
    until_gone: bool = False
    group_by: str | None = None
    kinds: bool = False
    kdamond: str | None = None
    ranges: tuple[str, ...] = ()

    @property
    def configuration(self) -> Path | None:
        """The configuration file that stands in place of a command, by its ending ``.toml``."""
        alone = len(self.command) == 1 and self.command[0].endswith(".toml")
        return Path(self.command[0]) if alone else None

    def build(
        self, plugins: "Plugins", callbacks: Sequence[object] = (), name: str = ""
    ) -> "Context":
        """Build the context that watches what is wanted.

        Args:
            plugins: What parts there are.
            callbacks: The callbacks.
            name: What to call the context; by default as its primitive.

        Raises:
            click.UsageError: Not exactly one thing to watch was given, or an option that it
                doesn't have.
            InputError: The options can't be used.
            DamonError: The context can't be built.
        """
        from damon_cli.building import build_context

        primitive = self.primitive()
        table = {"name": name or primitive["use"], "primitive": primitive, **self.attributes}
        return build_context(table, plugins, callbacks)

    def primitive(self) -> dict[str, object]:
        """Return the primitive and its options, as a table.

        Raises:
            click.UsageError: Not exactly one thing to watch was given, or an option that it
                doesn't have.
        """
        if "" in self.cgroups:
            raise click.UsageError("--cgroup is empty: give the path of a cgroup, or a pattern")
        single = [
            self.pid is not None,
            self.physical,
            bool(self.command),
            self.kdamond is not None,
        ]
        if sum(single) + bool(self.cgroups or self.match) != 1:
            raise click.UsageError(
                "give exactly one of --pid, --cgroup, --match, --paddr, --kdamond and a COMMAND "
                "after --; only --cgroup and --match go together"
            )
        self._check_usage()
        if self.kdamond is not None:
            return {"use": "kdamond", "which": self.kdamond}
        options: dict[str, object] = {} if self.backend is None else {"backend": self.backend}
        if self.kinds:
            options["kinds"] = True
        if self.ranges:
            options["ranges"] = list(self.ranges)
        if self.physical:
            return {"use": "paddr", **options}
        options["descendants"] = self.descendants
        if self.group_by is not None:
            options["group_by"] = self.group_by
        if self.pid is not None:
            return {"use": "vaddr", "pid": self.pid, **options}
        if self.command:
            return {"use": "vaddr", "command": list(self.command), **options}
        for key, patterns in (("match", self.match), ("exclude", self.exclude)):
            if patterns:
                options[key] = {name: list(each) for name, each in patterns.items()}
        if self.until_gone:
            options["when_gone"] = "end"
        return {"use": "cgroup" if self.cgroups else "vaddr", **self._cgroups(), **options}

    def _cgroups(self) -> dict[str, object]:
        """Return the option that says which cgroups are meant; none if all are."""
        if len(self.cgroups) == 1 and _MAGIC.isdisjoint(self.cgroups[0]):
            return {"path": self.cgroups[0]}
        return {"cgroups": list(self.cgroups)} if self.cgroups else {}

    def _check_usage(self) -> None:
        """Refuse options that mean nothing for what is watched."""
        of_processes = [
            ("--descendants", self.descendants),
            ("--group-by", self.group_by is not None),
        ]
        of_ours = [("--backend", self.backend is not None), ("--kinds", self.kinds)]
        of_ours += [(flag, key in self.attributes) for key, flag in _WITHOUT_KDAMOND.items()]
        of_ours.append(("--range", bool(self.ranges)))
        for what, is_watched, flags in (
            ("--cgroup", bool(self.cgroups), [("--range", bool(self.ranges))]),
            ("--paddr", self.physical, of_processes),
            ("--kdamond", self.kdamond is not None, of_processes + of_ours),
        ):
            for flag, is_given in flags:
                if is_watched and is_given:
                    raise click.UsageError(f"{flag} means nothing with {what}: leave it out")
        for flag, given in (("--exclude", bool(self.exclude)), ("--until-gone", self.until_gone)):
            if given and not (self.cgroups or self.match):
                raise click.UsageError(
                    f"{flag} means nothing without --cgroup or --match: leave it out"
                )


def _duration(flag: str, key: str, default: str, help: str) -> Any:
    # Checked with the rest of the table, so that all mistakes are reported at once.
    return click.option(
        flag, key, metavar="DURATION", default=default, show_default=True, help=help
    )


def _number(flag: str, default: int, help: str) -> Any:
    return click.option(flag, type=int, metavar="N", default=default, show_default=True, help=help)


def which_options(verb: str, when: str = "") -> tuple[Any, ...]:
    """Return the options that say which processes.

    Args:
        verb: What is done with them.
        when: When processes may be there that a rule finds.
    """
    return (
        click.option(
            "--pid", type=click.IntRange(min=1), metavar="N", help=f"{verb} this process."
        ),
        click.option(
            "--cgroup",
            "cgroups",
            metavar="PATH",
            multiple=True,
            help=f"{verb} the processes of this cgroup, or of all that match a pattern such as "
            "'system.slice/*.service'; may be repeated.",
        ),
        click.option(
            "--match",
            metavar="LABEL=PATTERN",
            multiple=True,
            callback=_patterns,
            help=f"{verb} the processes that are like this{when}, such as 'comm=redis*' "
            "or user=www-data; may be repeated: all labels must match, one pattern of each.",
        ),
        click.option(
            "--exclude",
            metavar="LABEL=PATTERN",
            multiple=True,
            callback=_patterns,
            help="Leave out those of them that are like this; may be repeated.",
        ),
    )


def _patterns(
    _context: click.Context, option: click.Parameter, written: Sequence[str]
) -> dict[str, list[str]]:
    """Return patterns by label that were written LABEL=PATTERN."""
    patterns: dict[str, list[str]] = {}
    for each in written:
        label, equals, pattern = each.partition("=")
        if not (label and equals):
            raise click.BadParameter(
                f"{each!r} is not LABEL=PATTERN, such as comm=redis*",
                param_hint=f"'{option.opts[0]}'",
            )
        patterns.setdefault(label, []).append(pattern)
    return patterns


#: Defaults are only shown here: what isn't given is left to the table, whose defaults they are.
_PARAMETERS = (
    *which_options("Watch", ", now and later"),
    click.option(
        "--group-by",
        metavar="LABEL",
        help="Name the group of each process by this label, such as unit, cgroup or comm.",
    ),
    click.option(
        "--paddr", "physical", is_flag=True, help="Watch the physical memory of the machine (root)."
    ),
    click.option(
        "--kdamond",
        metavar="WHICH",
        help="Watch what the kernel's DAMON finds that runs already (root): all, a number below "
        "kdamonds/, pid:PID of its thread, or a module such as damon_stat.",
    ),
    click.option(
        "--range",
        "ranges",
        metavar="START-END",
        multiple=True,
        help="Watch only this range of addresses, in hexadecimal as in /proc/PID/maps, or in "
        "/proc/iomem with --paddr; may be repeated.",
    ),
    click.option("--backend", metavar="NAME", help="Backend [default: best available]."),
    click.option(
        "--kinds",
        is_flag=True,
        help="Find out which kinds of memory it is: anonymous, file, huge, dirty, swapped, node.",
    ),
    click.option("--descendants", is_flag=True, help="Watch child processes or child cgroups too."),
    click.option(
        "--until-gone",
        is_flag=True,
        help="End when the last cgroup or process that matches is gone: don't wait for others.",
    ),
    _duration("--sampling", "sampling_interval", "5ms", "Time between two checks."),
    _duration(
        "--aggregation",
        "aggregation_interval",
        "100ms",
        "Time over which checks are added up.",
    ),
    _duration(
        "--update",
        "update_interval",
        "1s",
        "Time between two looks for new mappings and processes.",
    ),
    _number("--min-regions", 10, "Least regions."),
    _number("--max-regions", 1_000, "Most regions."),
    click.option(
        "--cpu-budget",
        type=SHARE,
        metavar="SHARE",
        default="2%",
        show_default=True,
        help="Share of one processor to spend: intervals grow to keep it.",
    ),
    click.option(
        "--max-slowdown",
        type=SHARE,
        metavar="SHARE",
        default="1%",
        show_default=True,
        help="Share of its time that what is watched may lose: intervals grow to keep it.",
    ),
    _duration(
        "--max-stall",
        "max_stall",
        "50ms",
        "Longest time for which it may be held up at once: beyond that, intervals grow.",
    ),
    click.option(
        "--goal",
        type=SHARE,
        metavar="SHARE",
        help="Tune the intervals until this share of possible accesses is seen, such as 4%.",
    ),
    click.option("--policy", metavar="NAME", help="Policy of regions [default: evidence]."),
    click.option(
        "--policy-option",
        "policy_options",
        metavar="KEY=VALUE",
        multiple=True,
        help="Option of the policy, as in a configuration file; may be repeated.",
    ),
    _number(
        "--failure-limit",
        10,
        "Failures in a row in one hook that switch a callback off.",
    ),
    click.argument("command", nargs=-1, type=click.UNPROCESSED),
)


def watch_options(function: Callable[..., T]) -> Callable[..., T]:
    """Give a click command the options that say what to watch; it gets them as `watch`.

    A decorator, above those of the command's own options::

        @click.command()
        @watch_options
        @pass_plugins
        def record(plugins: Plugins, *, watch: WatchOptions) -> None: ...
    """

    @functools.wraps(function)
    def command(
        *args: object,
        pid: int | None,
        cgroups: tuple[str, ...],
        match: Mapping[str, Sequence[str]],
        exclude: Mapping[str, Sequence[str]],
        group_by: str | None,
        physical: bool,
        kdamond: str | None,
        ranges: tuple[str, ...],
        command: tuple[str, ...],
        backend: str | None,
        descendants: bool,
        until_gone: bool,
        kinds: bool,
        goal: float | None,
        policy: str | None,
        policy_options: Sequence[str],
        **others: Any,
    ) -> T:
        given = {key: others.pop(key) for key in _KEYS}
        source = click.get_current_context().get_parameter_source
        attributes: dict[str, object] = {
            key: value for key, value in given.items() if source(key) is not ParameterSource.DEFAULT
        }
        if goal is not None:
            attributes["intervals_goal"] = {"access_share": goal}
        if policy is not None:
            attributes["policy"] = {"use": policy, **_options(policy_options)}
        elif policy_options:
            raise click.UsageError("--policy-option needs --policy")
        watch = WatchOptions(
            pid,
            cgroups,
            match,
            exclude,
            physical,
            command,
            backend,
            descendants,
            attributes,
            until_gone,
            group_by,
            kinds,
            kdamond,
            ranges,
        )
        return function(*args, watch=watch, **others)

    for parameter in reversed(_PARAMETERS):
        command = parameter(command)
    return command


def _options(written: Sequence[str]) -> dict[str, object]:
    """Return options that were written KEY=VALUE, with values as in TOML or as plain words."""
    import tomllib

    options: dict[str, object] = {}
    for each in written:
        key, equals, value = each.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{each!r} is not KEY=VALUE", param_hint="'--policy-option'")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key] = value  # a shell takes the quotes of a string away
    return options
