"""When Python searches for garbage while a command runs."""

import gc
from collections.abc import Iterator

import pytest
from damon_cli.garbage import searched_seldom
from damon_cli.session import run_contexts

from damon_core import Context
from damon_core.testing import Recorder


@pytest.fixture
def searches() -> Iterator[list[str]]:
    """The beginnings and ends of searches from now on."""
    found: list[str] = []

    def note(phase: str, _info: dict[str, int]) -> None:
        found.append(phase)

    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)


def test_what_a_command_makes_is_not_searched(searches: list[str]) -> None:
    """Neither while it is made nor at the end, when Python searches as before."""
    before = gc.get_threshold()
    with searched_seldom():
        made = [[number] for number in range(50_000)]
    made += [[number] for number in range(100)]
    assert searches == []
    assert gc.get_threshold() == before


def test_garbage_of_contexts_that_run_is_searched_for() -> None:
    """As Python does by itself, without all that was imported before."""
    usual = gc.get_threshold()
    found = []

    def note(*_: object) -> bool:
        found.append((gc.get_threshold(), gc.get_freeze_count() > 0))
        return True

    with Context(Recorder(), [Recorder(before_start=note)]) as context, searched_seldom():
        run_contexts([context])
    assert found == [(usual, True)]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, 0)
