"""Which commands are installed: known from metadata alone, imported when one is called.

A package offers commands by entry points of the group ``damon.commands``, whose objects are click
commands: ``record = "damon_record.command:record"``.
"""

from importlib import metadata

import click
from attrs import frozen

#: The entry-point group.
GROUP = "damon.commands"
#: Whose names no other package can take.
_OWN = "damon-cli"
#: What a package must get along with for its commands to be used.
_NEEDED = ("damon-core", _OWN)


class UnusableCommandError(Exception):
    """A command can't be used, for a reason in one line."""


@frozen
class InstalledCommand:
    """A command that packages offer; nothing of it is imported.

    Attributes:
        name: What it is called by.
        offers: The entry points of this name; with more than one it can't be used.
    """

    name: str
    offers: tuple[metadata.EntryPoint, ...]

    @property
    def package(self) -> str:
        """The distribution and its version; of several all."""
        return " and ".join(map(_origin, self.offers))

    def shown(self) -> click.Command:
        """Return what help and completion show of it.

        That is its name and the summary of its distribution, but damon-cli's own commands
        themselves, which import nothing.
        """
        (first, *others) = self.offers
        if others:
            summary = f"(can't be used: {self._clash()})"
        elif _distribution(first) == _OWN:
            command: click.Command = first.load()
            return command
        else:
            summary = (first.dist.metadata["Summary"] if first.dist else None) or ""
        return click.Command(self.name, short_help=summary)

    def load(self) -> click.Command:
        """Import the command.

        Raises:
            UnusableCommandError: It can't be imported, is no command, its package needs another
                damon-core or damon-cli, or several packages offer it.
        """
        if len(self.offers) > 1:
            raise UnusableCommandError(self._clash())
        (entry,) = self.offers
        if unmet := _unmet_requirement(entry):
            raise UnusableCommandError(f"{self.package} {unmet}")
        try:
            command = entry.load()
        except (Exception, SystemExit) as error:
            from damon_core import one_line

            raise UnusableCommandError(
                f"{self.package} can't be imported: {one_line(error)}"
            ) from error
        if not isinstance(command, click.Command):
            raise UnusableCommandError(
                f"{self.package} offers {command!r} ({entry.value}), which is not a click command"
            )
        return command

    def _clash(self) -> str:
        return f"both {self.package} offer it"


def installed_commands() -> dict[str, InstalledCommand]:
    """Return the commands of all packages, by name, in the order of their names."""
    offers: dict[str, list[metadata.EntryPoint]] = {}
    for entry in metadata.entry_points(group=GROUP):
        offers.setdefault(entry.name, []).append(entry)
    for entries in offers.values():
        entries.sort(key=_origin)
        if own := [entry for entry in entries if _distribution(entry) == _OWN]:
            entries[:] = own
    return {name: InstalledCommand(name, tuple(offers[name])) for name in sorted(offers)}


def _distribution(entry: metadata.EntryPoint) -> str:
    return entry.dist.name.lower().replace("_", "-") if entry.dist else ""


def _origin(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(unknown)"


def _unmet_requirement(entry: metadata.EntryPoint) -> str:
    """Return what the package needs of damon itself that isn't so, or nothing."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for text in (entry.dist.requires if entry.dist else None) or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        name = canonicalize_name(requirement.name)
        if name not in _NEEDED:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(version := metadata.version(name), prereleases=True):
            return f"needs {name} {requirement.specifier}, but this is {name} {version}"
    return ""
