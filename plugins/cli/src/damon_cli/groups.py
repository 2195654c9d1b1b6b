"""Groups of commands that packages add to: ``damon`` itself, and ``damon plugin``."""

from collections.abc import Mapping
from typing import ClassVar

import click

from damon_cli.commands import InstalledCommand, UnusableCommandError, installed_commands


class InstalledGroup(click.Group):
    """Has the installed commands of its name; each is imported when it is called.

    Attributes:
        within: How entry points of its commands begin, up to the dot: empty for ``damon`` itself.
        elsewhere: Packages that have commands of it, by the names of these.
    """

    within: ClassVar[str] = ""
    elsewhere: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of what is installed."""
        return list(self._installed(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return what help and completion show of a command; `resolve_command` imports it."""
        installed = self._installed(ctx).get(cmd_name)
        return installed.shown() if installed is not None else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called, imported.

        Raises:
            UnusableCommandError: There is none of this name, or it can't be used.
        """
        name, *rest = args
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        try:
            return name, self._load(ctx, name), rest
        except UnusableCommandError:
            if ctx.resilient_parsing:  # Completion is no place for errors.
                return None, None, rest
            raise

    def _installed(self, ctx: click.Context) -> Mapping[str, InstalledCommand]:
        """Return the installed commands, looked for once a run."""
        key = f"{__name__}.{self.within}"
        found: Mapping[str, InstalledCommand] | None = ctx.meta.get(key)
        if found is None:
            found = ctx.meta[key] = installed_commands(self.within)
        return found

    def _load(self, ctx: click.Context, name: str) -> click.Command:
        installed = self._installed(ctx)
        called = f"{self.within} {name}".strip()
        if name not in installed and name in self.elsewhere:
            package = self.elsewhere[name]
            raise UnusableCommandError(f"'damon {called}' is in {package}: pip install {package}")
        if name not in installed:
            import difflib

            close = difflib.get_close_matches(name, [*installed, *self.elsewhere], 1)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(installed)}"
            raise UnusableCommandError(f"there is no command '{called}'; {hint}")
        try:
            return installed[name].load(to_run=not ctx.resilient_parsing)
        except UnusableCommandError as error:
            raise UnusableCommandError(f"command '{called}' can't be used: {error}") from error
