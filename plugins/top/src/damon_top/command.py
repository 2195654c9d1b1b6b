"""``damon top``: what to watch, and the view of it."""

import contextlib

import click
from click.core import ParameterSource
from damon_cli import DURATION, Plugins, WatchOptions, running_contexts, watch_options

from damon_core import Context, DamonError, InputError, build_contexts, load_config
from damon_top.history import History
from damon_top.messages import Messages
from damon_top.picture import Watcher
from damon_top.terminal import can_show, has_colours, is_served, kept_for_view

_EPILOG = """\b
Examples:
  damon top --pid 1234
  damon top --cgroup /sys/fs/cgroup/system.slice --descendants
  damon top --paddr
  damon top examples/service-prometheus.toml
  damon top -- make -j2
"""
#: A column of the heat map is made of so many aggregations at most.
_FRAMES_PER_COLUMN = 4
#: What goes with a configuration file.
_OWN = {"command", "refresh_us", "serve"}


@click.command(epilog=_EPILOG, short_help="Show live which memory is used, in the terminal.")
@watch_options
@click.option(
    "--refresh",
    "refresh_us",
    type=DURATION,
    default="1s",
    show_default=True,
    help="Time between two looks, and that of a column of the heat map.",
)
@click.option(
    "--serve",
    metavar="[HOST:]PORT",
    help="Show it in a browser instead: at this port of the loopback interface, or of HOST.",
)
@click.pass_obj
def top(plugins: Plugins, *, watch: WatchOptions, refresh_us: int, serve: str | None) -> None:
    """Show live which memory a process, a cgroup, a COMMAND or the machine uses.

    Give exactly one of --pid, --cgroup, --paddr, a COMMAND (after --), which is started and
    watched, and a CONFIG.toml, whose contexts run with their callbacks as `damon run` runs them.
    Press ? for help, q to quit.
    """
    # Not before: Textual takes long to import, and `damon --help` imports this module.
    from damon_top.app import TopApp  # noqa: PLC0415

    if serve is not None and not is_served():
        _serve(serve)
        return
    if not can_show():
        raise InputError(
            "damon top needs a terminal for input and output; "
            "elsewhere use damon record or damon run"
        )
    if refresh_us < 100_000:
        raise click.BadParameter("must be at least 100ms", param_hint="'--refresh'")
    history = History(frame_us=refresh_us // _FRAMES_PER_COLUMN)
    contexts, cpu_budget = _contexts(plugins, watch, history)
    messages = Messages()
    app = TopApp(
        [Watcher(context, history) for context in contexts],
        messages,
        refresh_us=refresh_us,
        colour=has_colours(),
    )
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        stack.enter_context(messages.in_place_of_others())
        stack.enter_context(kept_for_view())
        stack.enter_context(running_contexts(contexts, app.stop, cpu_budget))
        app.run(mouse=False)
    if app.return_code:
        raise DamonError("the view failed")


def _serve(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise click.BadParameter(f"'{address}' is not [HOST:]PORT", param_hint="'--serve'")
    try:
        from damon_top.web import serve  # noqa: PLC0415
    except ImportError as error:
        raise InputError("--serve needs textual-serve: pip install 'damon-top[web]'") from error
    serve(host or "127.0.0.1", int(port))


def _contexts(
    plugins: Plugins, watch: WatchOptions, history: History
) -> tuple[list[Context], float | None]:
    """Return the contexts to show, and the CPU budget for all together."""
    if watch.configuration is not None:
        context = click.get_current_context()
        for parameter in context.command.params:
            source = context.get_parameter_source(parameter.name or "")
            if source is ParameterSource.COMMANDLINE and parameter.name not in _OWN:
                raise click.UsageError(
                    f"{parameter.opts[0]} means nothing with a configuration file: "
                    "leave it out, or write it there"
                )
        config = load_config(watch.configuration, plugins)
        return build_contexts(config, plugins, [history]), config.cpu_budget
    use, options = watch.primitive(processes="vaddr", cgroup="cgroup", physical="paddr")
    single = Context(
        plugins.make_primitive(use, options),
        [history],
        intervals=watch.intervals,
        limits=watch.limits,
        cpu_budget=watch.cpu_budget,
        name=use,
    )
    return [single], None
