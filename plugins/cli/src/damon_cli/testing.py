"""Is a command correct? Rules that every command of `damon` keeps, for tests of packages.

Two lines in a file of tests turn them on, with a test for each rule::

    from damon_cli.testing import command_rules

    test_command = command_rules("rows")
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

import click
from click.testing import CliRunner, Result

from damon_cli.commands import InstalledCommand, UnusableCommandError, installed_commands
from damon_cli.main import main
from damon_core import Plugins
from damon_core.testing.conformance import Rule, Subject, Suite, as_test

__all__ = ["COMMAND_RULES", "command_rules"]

_UNKNOWN = "--no-such-option"


def command_rules(name: str, *, without: Mapping[str, str] | None = None) -> Callable[..., None]:
    """Return a test for pytest, which it calls for each rule of commands.

    Args:
        name: The command's name, as in ``damon NAME``, or ``plugin new`` for one within another;
            its package has to be installed.
        without: Rules that aren't for it, by their names, each with the reason.

    Raises:
        ValueError: `without` names a rule that isn't there.
    """

    def subject(directory: object) -> Subject:
        return Subject("command", name, Plugins({}))

    return as_test(Suite(subject, COMMAND_RULES), without)


def _installed(subject: Subject) -> InstalledCommand:
    *within, name = subject.name.split()
    installed = installed_commands(".".join(within))
    if name not in installed:
        raise AssertionError(f"no command '{subject.name}' is installed")
    return installed[name]


def _command(subject: Subject) -> click.Command:
    try:
        return _installed(subject).load()
    except UnusableCommandError as error:
        raise AssertionError(f"it can't be used: {error}") from error


def _all(words: list[str], command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
    """Yield a command and those within it, each with the words that call it.

    Those of other packages aren't its own: they have tests of theirs.
    """
    yield words, command
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _all([*words, str(inner.name)], inner)


def _called(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def _can_be_loaded(subject: Subject) -> None:
    _command(subject)


def _shows_help(subject: Subject) -> None:
    for words, _ in _all(subject.name.split(), _command(subject)):
        line = " ".join(words)
        result = _called(*words, "--help")
        assert result.exit_code == 0, f"damon {line} --help ends with {result.exit_code}"
        shown = " ".join(result.output.split())
        assert f"damon {line}" in shown.partition("Options:")[2], (
            f"damon {line} --help ends without an example, such as 'Example: damon {line} …'"
        )


def _explains_options(subject: Subject) -> None:
    for words, command in _all(subject.name.split(), _command(subject)):
        missing = [
            parameter.opts[0]
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.help and not parameter.hidden
        ]
        line = " ".join(words)
        assert not missing, f"damon {line}: options without help: {', '.join(missing)}"
        assert command.get_short_help_str(), f"damon {line} says nowhere what it does"


def _refuses_unknown_options(subject: Subject) -> None:
    for words, _ in _all(subject.name.split(), _command(subject)):
        result = _called(*words, _UNKNOWN)
        line = f"damon {' '.join(words)} {_UNKNOWN}"
        assert result.exit_code == 2, f"{line} ends with {result.exit_code}, not with 2"
        last = result.output.strip().splitlines()[-1]
        assert _UNKNOWN in last, (
            f"{line} ends with the line {last!r}, which doesn't name the option"
        )


_IMPORTED = """
import importlib, sys
importlib.import_module({module!r})
print(*{{name.split(".")[0] for name in sys.modules}})
"""
#: What takes long to import, and no help needs.
_SLOW = frozenset({"damon_core", "numpy", "pyarrow"})


def _imports_little(subject: Subject) -> None:
    """Importing its module is what help and completion of its options wait for."""
    _command(subject)
    (offer,) = _installed(subject).offers
    module = offer.entry.module
    found = subprocess.run(
        [sys.executable, "-c", _IMPORTED.format(module=module)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, f"importing {module} alone fails: {found.stderr.strip()}"
    imported = set(found.stdout.split()) & _SLOW
    assert not imported, f"importing {module} imports {', '.join(sorted(imported))}"


#: In the order in which they are checked.
COMMAND_RULES = (
    Rule("loads", "It can be loaded, and its requirements are met.", _can_be_loaded),
    Rule("help", "Its help has an example, and so has that of commands in it.", _shows_help),
    Rule("options-help", "Every option has a help text.", _explains_options),
    Rule(
        "unknown-option",
        "An unknown option is named in the last line, with exit code 2.",
        _refuses_unknown_options,
    ),
    Rule(
        "imports-little",
        "Importing its module imports neither the core nor numpy: help comes at once.",
        _imports_little,
    ),
)
