"""The work of ``damon top``: contexts that run, and the view of them."""

from collections.abc import Sequence

import click
from click.core import ParameterSource
from damon_cli.session import closing_contexts, running_contexts
from damon_cli.watching import WatchOptions

from damon_core import Context, DamonError, InputError, Plugins, build_contexts, load_config
from damon_top.app import TopApp
from damon_top.history import History
from damon_top.messages import Messages
from damon_top.picture import Watcher
from damon_top.terminal import can_show, has_colours, is_served, kept_for_view

#: A column of the heat map is made of so many aggregations at most.
_FRAMES_PER_COLUMN = 4
#: What goes with a configuration file.
_OWN = {"command", "refresh_us", "by", "serve"}


def show_live(
    plugins: Plugins,
    watch: WatchOptions,
    *,
    refresh_us: int,
    by: Sequence[str],
    serve: str | None,
) -> None:
    """Run contexts and show them until the user quits or all have ended.

    Args:
        plugins: What is installed.
        watch: What to watch, and how.
        refresh_us: Microseconds between two looks.
        by: The labels by which targets are added up to lines.
        serve: ``[HOST:]PORT`` to show it in a browser instead.
    """
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
    with closing_contexts(contexts):
        app = TopApp(
            [Watcher(context, history) for context in contexts],
            messages,
            refresh_us=refresh_us,
            colour=has_colours(),
            by=by,
        )
        with (
            messages.in_place_of_others(),
            kept_for_view(),
            running_contexts(contexts, app.stop, cpu_budget),
        ):
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
    return [watch.build(plugins, [history])], None
