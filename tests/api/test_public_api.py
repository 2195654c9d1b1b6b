"""The public interface is the accepted one, and what isn't is shown."""

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests.api.interface import interface
from tests.api.pinned import FILE, current, difference


def test_the_public_interface_is_the_accepted_one() -> None:
    """Names, signatures and types; the message says how a change is accepted."""
    change = difference(FILE.read_text(encoding="utf-8"), current())
    if change:
        pytest.fail(change, pytrace=False)


Lines = Callable[[str], list[str]]


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Return what makes a module of a source and returns its interface, without the name."""
    monkeypatch.syspath_prepend(tmp_path)

    def described(source: str) -> list[str]:
        name = tmp_path.name
        (tmp_path / f"{name}.py").write_text(dedent(source))
        try:
            return [line.replace(f"{name}.", "") for line in interface([name])]
        finally:
            sys.modules.pop(name, None)

    return described


def test_functions_have_their_signature_as_it_is_written(lines: Lines) -> None:
    """Kinds of arguments, types and defaults."""
    source = """
    import contextlib
    from collections.abc import Iterator

    def add(one: int, /, other: "int | None" = None, *, times: float = 1.0) -> list[int]: ...

    @contextlib.contextmanager
    def opened(path: str) -> Iterator[int]: ...

    def _hidden() -> None: ...
    """
    assert lines(source) == [
        "def add(one: int, /, other: 'int | None'=None, *, times: float=1.0) -> list[int]",
        "@contextlib.contextmanager def opened(path: str) -> Iterator[int]",
    ]


def test_attrs_classes_have_their_constructor_and_fields(lines: Lines) -> None:
    """Help texts and validators aren't part of it."""
    source = """
    from attrs import field, frozen

    @frozen
    class Options:
        size: int = field(metadata={"help": "a size"})
        names: tuple[str, ...] = field(factory=tuple)
        _inner: float = field(default=0.5, alias="outer", kw_only=True)

        @property
        def double(self) -> int: ...
    """
    assert lines(source) == [
        "@frozen class Options",
        "def Options.__init__(size, names=..., *, outer=...)",
        "Options.size: int",
        "Options.names: tuple[str, ...] = tuple()",
        "property Options.double -> int",
    ]


def test_plain_classes_have_their_methods_and_attributes(lines: Lines) -> None:
    """What the constructor sets is public, too."""
    source = """
    class Clock:
        name = "clock"

        def __init__(self, start_us: int = 0) -> None:
            self.now_us = start_us
            self.events: list[str] = []
            self._private = 1

        def now(self) -> int: ...
    """
    assert lines(source) == [
        "class Clock",
        "Clock.name = 'clock'",
        "def Clock.__init__(self, start_us: int=0) -> None",
        "Clock.now_us",
        "Clock.events: list[str]",
        "def Clock.now(self) -> int",
    ]


def test_a_name_that_has_gone_is_shown_with_what_to_do() -> None:
    """It may break packages."""
    change = difference("def a()\ndef b()\n", "def a()\n")
    assert change.splitlines()[1] == "-def b()"
    assert "may break packages" in change
    assert "python -m tests.api --accept" in change


def test_a_new_name_breaks_nothing() -> None:
    """It is shown as such."""
    change = difference("def a()\n", "def a()\ndef b()\n")
    assert change.splitlines()[1] == "+def b()"
    assert "no package breaks" in change


def test_a_signature_that_is_another_shows_both() -> None:
    """The old one first."""
    assert difference("def a()\n", "def a(x)\n").splitlines()[1:3] == ["-def a()", "+def a(x)"]


def test_without_a_change_nothing_is_said() -> None:
    """The text is empty."""
    assert difference("def a()\n", "def a()\n") == ""
