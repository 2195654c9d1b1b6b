"""``damon plugin check``: exit codes, table and JSON."""

import json
from collections.abc import Sequence

import pytest
from attrs import field, frozen
from click.testing import CliRunner, Result
from damon_cli.main import main

from damon_core import Callback, Plugins, hookimpl, hookspecs
from damon_core.deprecation import deprecated_hook


class Good:
    """A callback that does nothing."""

    name = "good"

    def __init__(self, options: object) -> None: ...


class Bad(Good):
    """A callback that takes the first target, though there may be none."""

    @hookimpl
    def after_aggregation(self, context: object) -> None:
        context.snapshot.targets[0]  # type: ignore[attr-defined]


@frozen
class Needs:
    """Options that have to be given."""

    path: str = field(metadata={"help": "a file"})


class Package:
    """Offers them, and one that needs options."""

    @hookimpl
    def register_callbacks(self, register: object) -> None:
        register(Callback("good", Good, summary="does nothing"))  # type: ignore[operator]
        register(Callback("bad", Bad, summary="does wrong"))  # type: ignore[operator]
        register(Callback("needy", Good, options=Needs))  # type: ignore[operator]


def checked(*arguments: str) -> Result:
    """Run the command with the package's parts installed."""
    plugins = Plugins({"package": Package()})
    words: Sequence[str] = ["plugin", "check", *arguments]
    return CliRunner().invoke(main, words, obj=plugins)


def test_what_keeps_all_rules_is_one_line() -> None:
    """Nothing else is of interest."""
    result = checked("good")
    assert (result.exit_code, result.output.count("\n")) == (0, 1)
    assert result.output.startswith("callback 'good': ")


@pytest.mark.slow
def test_a_broken_rule_is_named_and_is_a_failure() -> None:
    """With what was seen."""
    result = checked("bad")
    assert result.exit_code == 1
    (line,) = (line for line in result.output.splitlines() if " no-targets " in line)
    assert line.startswith("callback 'bad'")
    assert "failed in after_aggregation: IndexError" in line


@pytest.mark.slow
def test_a_rule_can_be_left_out() -> None:
    """One that the part isn't meant to keep."""
    assert checked("bad", "--without", "no-targets", "--without", "changing-targets").exit_code == 0


@pytest.mark.slow
def test_json_has_every_rule() -> None:
    """Kept ones, too."""
    found = json.loads(checked("bad", "--json").output)
    assert {each["state"] for each in found} == {"kept", "broken"}


@pytest.mark.slow
def test_what_will_go_is_shown_below_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the part that uses it: it works, so it isn't a failure."""
    gone = deprecated_hook(since="0.3", until="0.5", instead="label_targets")
    monkeypatch.setattr(hookspecs.after_aggregation, "damon_deprecated", None, raising=False)
    gone(hookspecs.after_aggregation)
    result = checked("bad", "--without", "no-targets", "--without", "changing-targets")
    *_, last = result.output.splitlines()
    assert result.exit_code == 0
    assert last.startswith("deprecated: 'bad' of ")
    assert "uses the hook 'after_aggregation', which is deprecated since damon-core 0.3" in last


def test_a_command_has_rules_too() -> None:
    """Also one within another, by its distribution."""
    assert checked("damon-author").output == "command 'plugin new': 5 kept\n"


def test_missing_options_are_asked_for() -> None:
    """Below the table, where it says what can't be checked without."""
    assert "give options with --options" in checked("needy").output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["none"], "damon: nothing called 'none' is installed"),
        (["needy", "--options", "paht = 'x'"], "damon: --options of callback 'needy': paht: "),
        (["good", "--without", "no-such"], "damon: --without: no rule is called no-such"),
        (["good", "--options", "x ="], "damon: --options: Invalid value"),
    ],
)
def test_mistakes_are_one_line(arguments: Sequence[str], text: str) -> None:
    """And exit code 2."""
    result = checked(*arguments)
    assert result.exit_code == 2
    assert result.output.startswith(text)
    assert result.output.count("\n") == 1
