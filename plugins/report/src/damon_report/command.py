"""``damon report``: the group of all reports, each imported when it is asked for."""

import importlib

import click

#: Where the command object of each report is. It has the name of the report.
_REPORTS = {
    "regions": "damon_report.regions",
    "wss": "damon_report.wss",
    "idle": "damon_report.idle",
}


class _Reports(click.Group):
    """Imports a report only when it is run, or told of."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_REPORTS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _REPORTS:
            return None
        command: click.Command = getattr(importlib.import_module(_REPORTS[cmd_name]), cmd_name)
        return command


@click.group(cls=_Reports, short_help="Tell what a record holds.")
def report() -> None:
    """Tell what a record holds: which memory is hot, which is idle, and since when."""
