"""What to watch and how: options that are the same for every command that watches."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from attrs import frozen

from damon_cli.params import DURATION, SHARE

if TYPE_CHECKING:
    from damon_core import Intervals, RegionLimits

__all__ = ["WatchOptions", "watch_options"]

T = TypeVar("T")


@frozen
class WatchOptions:
    """What the user wants to be watched, and how.

    Attributes:
        pid: The process with this id.
        cgroup: The processes of the cgroup with this path.
        physical: The physical memory of the machine.
        command: What to start and watch; or a configuration file, see `configuration`.
        backend: How accesses are to be seen; None for what works.
        descendants: Whether to watch child processes, or child cgroups, too.
        intervals: The intervals.
        limits: The region limits.
        cpu_budget: The share of one processor that the worker may use.
    """

    pid: int | None
    cgroup: str | None
    physical: bool
    command: tuple[str, ...]
    backend: str | None
    descendants: bool
    intervals: "Intervals"
    limits: "RegionLimits"
    cpu_budget: float

    @property
    def configuration(self) -> Path | None:
        """The configuration file that stands in place of a command, by its ending ``.toml``."""
        alone = len(self.command) == 1 and self.command[0].endswith(".toml")
        return Path(self.command[0]) if alone else None

    def primitive(
        self, *, processes: str, cgroup: str, physical: str
    ) -> tuple[str, dict[str, object]]:
        """Return the name of the primitive that watches what is wanted, and its options.

        Args:
            processes: The primitive for processes; options ``pid``, ``command``.
            cgroup: The primitive for cgroups; option ``path``.
            physical: The primitive for physical memory.

        Raises:
            click.UsageError: Not exactly one thing to watch was given, or an option that it
                doesn't have.
        """
        given = [self.pid is not None, self.cgroup is not None, self.physical, bool(self.command)]
        if sum(given) != 1:
            raise click.UsageError(
                "give exactly one of --pid, --cgroup, --paddr and a COMMAND after --"
            )
        if self.physical and self.descendants:
            raise click.UsageError("--descendants means nothing with --paddr: leave it out")
        options: dict[str, object] = {} if self.backend is None else {"backend": self.backend}
        if self.physical:
            return physical, options
        options["descendants"] = self.descendants
        if self.cgroup is not None:
            return cgroup, options | {"path": self.cgroup}
        if self.pid is not None:
            return processes, options | {"pid": self.pid}
        return processes, options | {"command": list(self.command)}


_PARAMETERS = (
    click.option("--pid", type=click.IntRange(min=1), metavar="N", help="Watch this process."),
    click.option("--cgroup", metavar="PATH", help="Watch the processes of this cgroup."),
    click.option(
        "--paddr", "physical", is_flag=True, help="Watch the physical memory of the machine (root)."
    ),
    click.option("--backend", metavar="NAME", help="How accesses are seen [default: what works]."),
    click.option("--descendants", is_flag=True, help="Watch child processes or child cgroups too."),
    click.option(
        "--sampling",
        "sampling_us",
        type=DURATION,
        default="5ms",
        show_default=True,
        help="Time between two checks.",
    ),
    click.option(
        "--aggregation",
        "aggregation_us",
        type=DURATION,
        default="100ms",
        show_default=True,
        help="Time over which checks are added up.",
    ),
    click.option(
        "--update",
        "update_us",
        type=DURATION,
        default="1s",
        show_default=True,
        help="Time between two looks for new mappings and processes.",
    ),
    click.option(
        "--min-regions", type=int, metavar="N", default=10, show_default=True, help="Least regions."
    ),
    click.option(
        "--max-regions",
        type=int,
        metavar="N",
        default=1_000,
        show_default=True,
        help="Most regions.",
    ),
    click.option(
        "--cpu-budget",
        type=SHARE,
        metavar="SHARE",
        default="2%",
        show_default=True,
        help="Share of one processor to spend: intervals grow to keep it.",
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
        cgroup: str | None,
        physical: bool,
        command: tuple[str, ...],
        backend: str | None,
        descendants: bool,
        sampling_us: int,
        aggregation_us: int,
        update_us: int,
        min_regions: int,
        max_regions: int,
        cpu_budget: float,
        **own: object,
    ) -> T:
        from damon_core import Intervals, RegionLimits

        watch = WatchOptions(
            pid,
            cgroup,
            physical,
            command,
            backend,
            descendants,
            Intervals(sampling_us, aggregation_us, update_us),
            RegionLimits(min_regions, max_regions),
            cpu_budget,
        )
        return function(*args, watch=watch, **own)

    for parameter in reversed(_PARAMETERS):
        command = parameter(command)
    return command
