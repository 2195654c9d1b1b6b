"""``damon report``: the group of all reports, each imported only when it is needed."""

import importlib

import click

#: The module of each report's command object, which has the name of the report.
_REPORTS = {
    "summary": "damon_report.summary",
    "regions": "damon_report.regions",
    "wss": "damon_report.wss",
    "idle": "damon_report.idle",
    "diff": "damon_report.diff",
    "heatmap": "damon_report.heatmap.command",
}

_EPILOG = """\b
Examples:
  damon report summary                          # damon.parquet at a glance
  damon report regions --mapping '[heap]'       # its hottest regions, at the end
  damon report wss --over time                  # the size of its working set over time
  damon report summary db*.parquet              # several files, one after the other
  damon report diff before.parquet after.parquet
\b
Every report but diff takes the record as its argument, by default damon.parquet; it may be
several files of different times. TIME counts from the start of the record, like 10s or 1.5h, or
is a time of day, like 2026-11-23T10:00 (of this machine) or 2026-11-23T10:00Z. GLOB is a name
with the wildcards * and ?.
"""


class _Reports(click.Group):
    """Imports a report only when it is run or its help is shown."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_REPORTS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _REPORTS:
            return None
        command: click.Command = getattr(importlib.import_module(_REPORTS[cmd_name]), cmd_name)
        return command


@click.group(cls=_Reports, epilog=_EPILOG)
def report() -> None:
    """Analyse a record: which memory is hot, which is idle, and since when."""
