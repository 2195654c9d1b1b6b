"""``damon doctor``: what works on this machine, and what monitoring would take and come to."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from damon_cli.params import DURATION, SHARE, pass_plugins
from damon_cli.watching import WatchOptions, which_options

if TYPE_CHECKING:
    from damon_core import Plugins

T = TypeVar("T")


def _which(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that say which processes."""
    for option in reversed(which_options("Foretell for")):
        command = option(command)
    return command


@click.command(
    epilog="Example: damon doctor /etc/damon/damon.toml",
    short_help="Show what works on this machine, and what monitoring a process would cost",
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@_which
@click.option(
    "--range",
    "ranges",
    metavar="START-END",
    multiple=True,
    help="Foretell for this range of addresses, in hexadecimal as in /proc/PID/maps; may be "
    "repeated.",
)
@click.option("--descendants", is_flag=True, help="Count child processes or child cgroups, too.")
@click.option(
    "--cpu-budget",
    type=SHARE,
    metavar="SHARE",
    help="Share of one processor to spend [default: 2%].",
)
@click.option(
    "--max-slowdown",
    type=SHARE,
    metavar="SHARE",
    help="Share of its time that a process may lose [default: 1%].",
)
@click.option(
    "--max-stall",
    "max_stall_us",
    type=DURATION,
    metavar="DURATION",
    help="Time for which a memory map may be locked at once [default: 50ms].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_plugins
def doctor(
    plugins: "Plugins",
    /,
    *,
    file: Path | None,
    pid: int | None,
    cgroups: tuple[str, ...],
    match: Mapping[str, Sequence[str]],
    exclude: Mapping[str, Sequence[str]],
    ranges: tuple[str, ...],
    descendants: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """Show what works on this machine and what is missing for the rest.

    With --pid, --cgroup or --match: show instead what monitoring would come to with each backend
    that works, and what 'auto' would take. The processes aren't touched; their memory is looked at
    for some milliseconds. Numbers are for processes that access all of their memory.

    With FILE, a configuration of 'damon run': show what each of its contexts needs of this machine,
    what has to be done, and what it is expected to cost. Capabilities are those that this command
    has. The exit code is 0 if all can run, or wait for their targets, and otherwise 1.

    Without FILE it exits with 0 whatever it finds: a machine needn't be able to do everything.
    """
    given = {key: value for key, value in limits.items() if value is not None}
    if pid is not None and (cgroups or match):
        raise click.UsageError("give only one of --pid and --cgroup; --match goes with --cgroup")
    is_given = pid is not None or bool(cgroups or match)
    others = bool(given or descendants or exclude or ranges)
    if file is not None:
        if is_given or others:
            raise click.UsageError("what to monitor and its limits are in FILE: give no other")
        from damon_cli.readiness import examine, show_readiness
        from damon_core import load_config

        found = examine(load_config(file, plugins), plugins)
        show_readiness(found, as_json)
        if not all(each.works for each in found):
            click.get_current_context().exit(1)
        return
    if not is_given:
        if others:
            raise click.UsageError(
                "limits, --range, --descendants and --exclude need --pid, --cgroup or --match"
            )
        from damon_cli.diagnosis import diagnose, diagnose_commands, show

        show([*diagnose(plugins), *diagnose_commands()], as_json)
        return
    from damon_cli.forecasting import show_forecast
    from damon_core import Limits, make_forecast

    watch = WatchOptions(
        pid, cgroups, match, exclude, False, (), None, descendants, {}, ranges=ranges
    )
    options = watch.primitive()
    use = str(options.pop("use"))
    forecast = make_forecast(plugins, use, options, limits=Limits(**given))
    show_forecast(forecast, as_json)
