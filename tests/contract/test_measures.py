"""Numbers that parts know of themselves."""

import logging

import pytest

from damon_core import AttributeValueError, Context, HookContext, Measure
from damon_core.testing import Recorder, ScriptedMemory


class Counting:
    """A part that counts."""

    name = "counting"

    def measures(self, context: HookContext) -> list[Measure]:
        return [Measure("sent", 3, "What was sent.", {"to": context.name}, counter=True)]


class Failing:
    """A part whose numbers can't be had."""

    name = "failing"

    def measures(self, context: HookContext) -> list[Measure]:
        raise RuntimeError("no")


def memory() -> ScriptedMemory:
    """Return some memory, which is never monitored."""
    return ScriptedMemory({})


def test_a_context_has_those_of_its_parts() -> None:
    """Whoever asks the context needs to know no part."""
    context = Context(memory(), [Recorder(), Counting()], name="db")
    assert context.measures() == [Measure("sent", 3, "What was sent.", {"to": "db"}, counter=True)]


def test_a_part_that_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The others still say what they know; the failure is logged once."""
    context = Context(memory(), [Failing(), Counting()], name="db")
    with caplog.at_level(logging.ERROR):
        found = [context.measures() for _ in range(2)]
    assert [len(each) for each in found] == [1, 1]
    assert [each.getMessage() for each in caplog.records] == [
        "context 'db': 'failing' failed in measures: RuntimeError: no"
    ]


@pytest.mark.parametrize("name", ["", "Sent", "sent-now", "1st", 7])
def test_names_are_names_of_metrics(name: str) -> None:
    """Exporters can use every one as it is."""
    with pytest.raises(ValueError, match="lower-case"):
        Measure(name, 1, "A number.")


def test_labels_are_labels() -> None:
    """The same as those of targets."""
    with pytest.raises(AttributeValueError):
        Measure("sent", 1, "A number.", {"a-b": "c"})
