"""Which commands are installed: known without an import, imported when one is called.

A package offers commands by entry points of the group ``damon.commands``, whose objects are click
commands: ``record = "damon_record.command:record"``. One within another command has a dot in its
name: ``"plugin.new"`` is ``damon plugin new``.
"""

import functools
from collections.abc import Iterable
from importlib import metadata

import click
from attrs import frozen

from damon_cli.sources import described

#: The entry-point group.
GROUP = "damon.commands"
#: Whose names no other package can take.
_OWN = "damon-cli"
#: What runs now: the versions of others are those that are installed.
_NEEDED = ("damon-core", _OWN)


class UnusableCommandError(Exception):
    """A command can't be used, for a reason in one line."""


@frozen
class Offer:
    """An entry point of a command, with what is known of its distribution.

    Attributes:
        entry: The entry point.
        distribution: The normalized name of the distribution.
        package: The distribution and its version.
        summary: What the distribution is for, in one line.
        requires: What the distribution requires.
    """

    entry: metadata.EntryPoint
    distribution: str
    package: str
    summary: str
    requires: tuple[str, ...]


@frozen
class InstalledCommand:
    """A command that packages offer; nothing of it is imported.

    Attributes:
        name: What it is called by, such as ``plugin new``.
        offers: Its entry points; with more than one it can't be used.
    """

    name: str
    offers: tuple[Offer, ...]

    @property
    def package(self) -> str:
        """The distribution and its version; of several all."""
        return " and ".join(offer.package for offer in self.offers)

    def shown(self) -> click.Command:
        """Return what help and completion show of it.

        That is the help in its source, or if that can't be read the summary of its distribution;
        but damon-cli's own commands themselves, which import nothing.
        """
        first, *others = self.offers
        if others:
            return click.Command(self.name, short_help=f"(can't be used: {self._clash()})")
        if first.distribution == _OWN:
            command: click.Command = first.entry.load()
            return command
        found = described(self.name, first.entry)
        return found or click.Command(self.name, short_help=first.summary)

    def load(self, *, to_run: bool = True) -> click.Command:
        """Import the command.

        Args:
            to_run: Whether it may run, so that what its package requires must be there; to
                complete its options that doesn't matter.

        Raises:
            UnusableCommandError: It can't be imported, is no command, its package needs what isn't
                installed or is of another version, or several packages offer it.
        """
        if len(self.offers) > 1:
            raise UnusableCommandError(self._clash())
        (offer,) = self.offers
        if to_run and (unmet := _unmet_requirements(offer.requires)):
            raise UnusableCommandError(f"{self.package} {unmet}")
        try:
            command = offer.entry.load()
        except (Exception, SystemExit) as error:
            import traceback

            # Not the core's own way to put it, as it may be the core that can't be imported.
            text = " ".join(traceback.format_exception_only(error)[-1].split())
            raise UnusableCommandError(f"{self.package} can't be imported: {text}") from error
        if not isinstance(command, click.Command):
            raise UnusableCommandError(
                f"{self.package} offers {command!r} ({offer.entry.value}), which is not a click "
                "command"
            )
        return command

    def _clash(self) -> str:
        return f"both {self.package} offer it"


def installed_commands(within: str = "") -> dict[str, InstalledCommand]:
    """Return the commands of all packages, by name, in the order of their names.

    Args:
        within: Those of this command; by default those of ``damon`` itself.
    """
    return _commands(within, metadata.entry_points(group=GROUP))


def all_installed_commands() -> list[InstalledCommand]:
    """Return all commands, those of ``damon`` itself first."""
    entries = metadata.entry_points(group=GROUP)
    groups = {entry.name.rpartition(".")[0] for entry in entries}
    return [command for group in sorted(groups) for command in _commands(group, entries).values()]


def _commands(within: str, entries: metadata.EntryPoints) -> dict[str, InstalledCommand]:
    read = functools.cache(_read_metadata)  # Several commands may be of one distribution.
    found: dict[str, list[Offer]] = {}
    for entry in entries:
        group, _, name = entry.name.rpartition(".")
        if group == within:
            found.setdefault(name, []).append(Offer(entry, *read(entry.dist)))
    commands = {}
    for name, offers in sorted(found.items()):
        own = [offer for offer in offers if offer.distribution == _OWN]
        offers.sort(key=lambda offer: offer.package)
        called = f"{within} {name}".strip()
        commands[name] = InstalledCommand(called, tuple(own or offers))
    return commands


def _read_metadata(
    distribution: metadata.Distribution | None,
) -> tuple[str, str, str, tuple[str, ...]]:
    """Return the normalized name of a distribution, that with its version, summary, requirements.

    They are parsed here, once: each attribute of a distribution would parse them anew.
    """
    if distribution is None:
        return "", "(unknown)", "", ()
    fields = distribution.metadata
    name = fields["Name"]
    (summary,) = fields.get_all("Summary") or ("",)
    requires = tuple(fields.get_all("Requires-Dist") or ())
    return name.lower().replace("_", "-"), f"{name} {fields['Version']}", summary, requires


def _unmet_requirements(requires: Iterable[str]) -> str:
    """Return what the package needs that isn't there, in one line; empty if all is.

    The core says the same of its plugins, but importing it is what help mustn't wait for.
    """
    return "; ".join(filter(None, map(_unmet, requires)))


def _unmet(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return ""
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return ""
    name, wanted = requirement.name, str(requirement.specifier)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"needs {name}, which isn't installed: pip install '{name}{wanted}'"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    if (own := canonicalize_name(name)) in _NEEDED:
        return f"needs {own} {wanted}, but this is {own} {version}"
    return f"needs {name} {wanted}, but {version} is installed: pip install '{name}{wanted}'"
