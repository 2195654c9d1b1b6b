"""Rules of commands: each is broken by the mistake that it is for."""

from collections.abc import Mapping
from types import SimpleNamespace

import click
import pytest
from damon_cli.testing import COMMAND_RULES

from damon_core import Plugins
from damon_core.testing.conformance import BrokenRuleError, Subject

RULES = {rule.name: rule for rule in COMMAND_RULES}


def offer(monkeypatch: pytest.MonkeyPatch, command: click.Command, module: str = "click") -> None:
    """Let a command be the only one that is installed, by the name "broken"."""
    entry = SimpleNamespace(module=module)
    installed: Mapping[str, object] = {
        "broken": SimpleNamespace(
            load=lambda **_: command, offers=(SimpleNamespace(entry=entry),), shown=lambda: command
        )
    }
    for user in ("damon_cli.testing", "damon_cli.groups"):
        monkeypatch.setattr(f"{user}.installed_commands", lambda _within="": installed)


@click.command("broken", help="Does something.")
@click.option("--silent")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def broken(silent: str, rest: tuple[str, ...]) -> None:
    """Take anything."""


broken.context_settings = {"ignore_unknown_options": True}


@pytest.mark.parametrize(
    ("rule", "module", "seen"),
    [
        ("help", "click", "damon broken --help ends without an example"),
        ("options-help", "click", "damon broken: options without help: --silent"),
        ("unknown-option", "click", "--no-such-option ends with 0, not with 2"),
        ("imports-little", "damon_core", "importing damon_core imports damon_core, numpy"),
    ],
)
def test_a_broken_command_breaks_its_rule(
    monkeypatch: pytest.MonkeyPatch, rule: str, module: str, seen: str
) -> None:
    """The message names command and rule, and says what was seen."""
    offer(monkeypatch, broken, module)
    with pytest.raises(BrokenRuleError) as caught:
        RULES[rule].check(Subject("command", "broken", Plugins({})))
    assert str(caught.value).startswith(f"command 'broken' breaks the rule '{rule}': ")
    assert seen in caught.value.seen


def test_a_command_that_isnt_installed_breaks_the_first_rule() -> None:
    """Its entry point is missing, or the package isn't installed again since it has it."""
    with pytest.raises(BrokenRuleError, match="no command 'no-such' is installed"):
        RULES["loads"].check(Subject("command", "no-such", Plugins({})))
