"""``damon replay``: its options. What it does is imported when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from damon_cli.params import pass_plugins

from damon_report.files import DEFAULT_PATH
from damon_report.options import RECORD, selection_options

if TYPE_CHECKING:
    from damon_core import Plugins
    from damon_report.selection import Selection

_EPILOG = """\b
Examples:
  damon replay damon.parquet
  systemd-run --user -p MemoryMax=256M damon replay --target 'redis*' redis.parquet
  damon replay --score damon.parquet            # is what is seen of it what was recorded?
"""


@click.command(epilog=_EPILOG, short_help="Access memory as a record says, to try limits")
@click.argument("path", metavar="[RECORD]", default=DEFAULT_PATH, type=RECORD)
@selection_options
@click.option(
    "--score",
    is_flag=True,
    help="Monitor it, and show how far frequencies are from those of RECORD (needs damon-vaddr).",
)
@click.option("--backend", metavar="NAME", default="auto", help="With --score: how to monitor it.")
@click.option("--json", "as_json", is_flag=True, help="With --score: print JSON.")
@pass_plugins
def replay(
    plugins: "Plugins",
    *,
    path: "Path | str",
    selection: "Selection",
    score: bool,
    backend: str,
    as_json: bool,
) -> None:
    """Have as much memory as RECORD, or a part of it, and access it as often, at the same pace.

    It has the memory of all targets, one behind the other, and takes as long as the record. Memory
    that was there and idle is there and idle, what was accessed in a third of the checks is
    accessed in every third sampling interval. For trying limits, backends and schemes without the
    program that was recorded.
    """
    if score:
        from damon_report.replaying.scoring import score_replay

        score_replay(plugins, path, selection, backend, as_json=as_json)
        return
    if as_json:
        raise click.UsageError("--json has no effect without --score")
    if backend != "auto":
        raise click.UsageError("--backend has no effect without --score")
    from damon_report.replaying.playing import replay_record

    replay_record(plugins, path, selection)
