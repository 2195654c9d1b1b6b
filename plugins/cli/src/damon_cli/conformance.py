"""Rules checked on what is installed: the work of ``damon plugin check``."""

import json
import tempfile
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from damon_cli.commands import all_installed_commands
from damon_cli.testing import COMMAND_RULES
from damon_core import ConfigError, InputError, Plugins
from damon_core.testing.conformance import (
    RULES,
    NotCheckedError,
    Outcome,
    Subject,
    outcomes,
    subjects_of,
)

_STYLES = {"kept": "green", "broken": "red", "not checked": "yellow"}
_RULES = {**RULES, "command": COMMAND_RULES}
#: Characters of a line that isn't broken.
_UNBROKEN = 10_000


def check_installed(
    plugins: Plugins,
    name: str,
    options_text: str,
    without: Collection[str],
    *,
    show_all: bool,
    as_json: bool,
) -> int:
    """Check the rules on what is installed by a name, and print what became of each.

    Returns:
        The exit code: 1 if a rule is broken.

    Raises:
        InputError: Nothing of this name is installed, or what was given can't be used.
    """
    try:
        options = tomllib.loads(options_text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"--options: {error}: write them as in a configuration file") from error
    known = {rule.name for rules in _RULES.values() for rule in rules}
    if unknown := sorted(set(without) - known):
        raise InputError(f"--without: no rule is called {', '.join(unknown)}")
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="damon-check-") as directory:
        subjects = list(_subjects(plugins, name, options, Path(directory)))
        if options:
            for subject in subjects:
                _check_options(subject)
        for subject in subjects:
            rules = [rule for rule in _RULES[subject.kind] if rule.name not in without]
            found += outcomes(subject, rules)
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in found], indent=2))
    else:
        _show(found, show_all)
    return int(any(each.state == "broken" for each in found))


def _subjects(
    plugins: Plugins, name: str, options: dict[str, object], directory: Path
) -> Iterator[Subject]:
    commands = [
        Subject("command", each.name, plugins)
        for each in all_installed_commands()
        if name in (each.name, *(offer.package.split(" ")[0] for offer in each.offers))
    ]
    subjects = [*subjects_of(name, plugins, options, directory), *commands]
    if subjects:
        yield from subjects
        return
    for info in plugins.infos():
        if info.skipped and name in (*info.name.split(", "), info.package.split(" ")[0]):
            raise InputError(f"'{name}' can't be used: {info.skipped}")
    raise InputError(
        f"nothing called '{name}' is installed: 'damon plugins' lists packages and their parts"
    )


def _check_options(subject: Subject) -> None:
    """Check given options once: mistakes in them aren't the part's.

    Raises:
        InputError: They are wrong.
    """
    if subject.kind in ("command", "format"):
        return
    taking = subject
    if subject.kind == "backend":  # They are its primitive's.
        taking = attrs.evolve(subject, kind="primitive", name=subject.primitive)
    try:
        taking.checked(taking.written())
    except NotCheckedError:
        pass  # Each rule says what is missing.
    except ConfigError as error:
        text = "; ".join(str(each).removeprefix("options: ") for each in error.problems)
        raise InputError(f"--options of {taking}: {text}") from error
    finally:
        taking.clear()


def _show(found: Sequence[Outcome], show_all: bool) -> None:
    table = Table("part", "rule", "state", "what was seen", box=None, pad_edge=False)
    # What a machine lacks is the same for many rules.
    alike = Counter((each.part, each.detail) for each in found if each.state == "not checked")
    for each in found:
        if each.state == "kept" and not show_all:
            continue
        text = " ".join((each.detail or each.text).split())
        rule = each.rule
        if each.state == "not checked" and not show_all:
            if not (count := alike.pop((each.part, each.detail), 0)):
                continue
            rule = rule if count == 1 else f"({count} rules)"
        table.add_row(
            Text(each.part), Text(rule), Text(each.state, _STYLES[each.state]), Text(text)
        )
    console = Console()
    if not console.is_terminal:
        console.width = _UNBROKEN
    if table.row_count:
        console.print(table)
    for part in dict.fromkeys(each.part for each in found):
        counts = {
            state: sum(each.part == part and each.state == state for each in found)
            for state in _STYLES
        }
        summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        click.echo(f"{part}: {summary}")
    if any(each.state == "not checked" and "needs options" in each.detail for each in found):
        click.echo("give options with --options, such as --options 'path = \"{tmp}/rows.csv\"'")
    for line in dict.fromkeys(line for each in found for line in each.deprecations):
        click.echo(f"deprecated: {line}")
