"""What will go is said to those who use it: by a warning that names their package."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from damon_core import Context, DamonDeprecationWarning, deprecation, hookimpl, hookspecs
from damon_core.deprecation import deprecated_hook, distribution_of, warn_deprecated

Install = Callable[[str], ModuleType]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return what installs a distribution, damon-racks, with a module of a source."""
    monkeypatch.syspath_prepend(tmp_path)
    deprecation._distributions.cache_clear()  # noqa: SLF001

    def made(source: str) -> ModuleType:
        (tmp_path / "damon_racks.py").write_text(dedent(source))
        info = tmp_path / "damon_racks-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: damon-racks\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[damon]\nracks = damon_racks\n")
        import damon_racks  # type: ignore[import-not-found]

        return damon_racks  # type: ignore[no-any-return]

    yield made
    sys.modules.pop("damon_racks", None)
    deprecation._distributions.cache_clear()  # noqa: SLF001


def old_name() -> None:
    """Stands for a function of the core that will go."""
    warn_deprecated("damon_core.old_name", since="0.2", until="0.4", instead="new_name")


def test_who_calls_what_will_go_is_named(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution, what it uses, since when, until when, and what to use instead."""
    monkeypatch.setitem(old_name.__globals__, "__name__", "damon_core.old")
    racks = install("def call(function):\n    function()\n")
    with pytest.warns(DamonDeprecationWarning) as caught:
        racks.call(old_name)
    (warning,) = caught
    assert str(warning.message) == (
        "damon-racks uses damon_core.old_name, which is deprecated since damon-core 0.2 and goes "
        "in 0.4: use new_name"
    )
    assert (Path(warning.filename).name, warning.lineno) == ("damon_racks.py", 2)


def test_it_can_be_made_an_error(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any DeprecationWarning."""
    monkeypatch.setitem(old_name.__globals__, "__name__", "damon_core.old")
    racks = install("def call(function):\n    function()\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        with pytest.raises(DamonDeprecationWarning):
            racks.call(old_name)


@pytest.fixture
def deprecated_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hook `update` be one that will go."""
    mark = deprecated_hook(since="0.3", until="0.5", instead="after_aggregation")
    monkeypatch.setattr(hookspecs.update, "damon_deprecated", None, raising=False)
    mark(hookspecs.update)


class Updates:
    """A callback that uses the hook."""

    name = "racks"

    @hookimpl
    def update(self) -> None: ...


@pytest.mark.usefixtures("deprecated_update")
def test_a_part_with_a_hook_that_will_go_is_named() -> None:
    """At the line where its hook is."""
    with pytest.warns(DamonDeprecationWarning) as caught:
        Context(object(), [Updates()])
    (warning,) = caught
    assert str(warning.message).startswith("'racks' of ")
    assert "uses the hook 'update', which is deprecated since damon-core 0.3" in str(
        warning.message
    )
    assert Path(warning.filename) == Path(__file__)


def test_other_hooks_warn_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    """None is deprecated now."""
    Context(object(), [Updates()])
    assert list(recwarn) == []


@pytest.mark.usefixtures("deprecated_update")
def test_a_package_with_a_hook_that_will_go_is_named(install: Install) -> None:
    """By its distribution, for hooks of its parts."""
    racks = install(
        """
        from damon_core import hookimpl

        class Racks:
            @hookimpl
            def update(self): ...
        """
    )
    with pytest.warns(DamonDeprecationWarning, match="'Racks' of damon-racks uses the hook"):
        Context(object(), [racks.Racks()])


@pytest.mark.parametrize(
    ("module", "distribution"),
    [("damon_core.loop.context", "damon-core"), ("no_such.module", "no_such.module")],
)
def test_distributions_are_known_by_modules(module: str, distribution: str) -> None:
    """What isn't installed is called by its module."""
    assert distribution_of(module) == distribution
