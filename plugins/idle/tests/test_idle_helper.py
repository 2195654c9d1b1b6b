"""The helper: how it is found, and what is said of one that is of no use."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damon_idle import IdleOptions, ProcessIdle
from damon_idle.helper import Helper, find_helper, probe_helper

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return what installs a helper: the only ones found are those."""
    find_helper.cache_clear()
    # Whatever else is installed isn't found, and neither is what this environment has of helpers.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    def add(
        distribution: str, code: str = "def mark(*_): ...", name: str = "v1", value: str = "mark"
    ) -> None:
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        )
        entry = f"[damon_idle.helper]\n{name} = {module}:{value}\n"
        (info / "entry_points.txt").write_text(entry)

    yield add
    find_helper.cache_clear()


def test_without_a_helper_checks_are_in_python(install: Install) -> None:
    """Which isn't a limit; what would help is said."""
    assert find_helper() == Helper()
    found = probe_helper()
    assert (found.name, found.works) == ("checks in Python", True)
    assert "damon-idle[native]" in found.detail


def test_the_installed_helper_is_found(install: Install) -> None:
    """By its entry point, whatever it is called."""
    install("t-helper-found")
    helper = find_helper()
    assert helper.mark is sys.modules["t_helper_found"].mark
    assert (helper.package, helper.problem) == ("t-helper-found 1.2", "")
    assert probe_helper().detail == "t-helper-found 1.2"


def test_a_helper_is_looked_for_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment may have a thousand backends, and all packages are looked through."""
    install("t-helper-once")
    found = find_helper()
    monkeypatch.setattr(sys, "path", [])
    assert find_helper() is found


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"code": "import nothing_of_this_name"}, "can't be imported: ModuleNotFoundError: No mo"),
        ({"code": "raise SystemExit(3)"}, "can't be imported: SystemExit: 3"),
        ({"value": "other"}, "can't be imported: AttributeError: module 't_helper_"),
        ({"code": "mark = 5"}, "has no function t_helper_"),
        ({"name": "v0"}, "is for another version of damon-idle: upgrade both"),
    ],
)
def test_a_helper_of_no_use_is_named(
    install: Install,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, str],
    problem: str,
) -> None:
    """In the log of who monitors, and by `damon doctor`; Python checks pages then."""
    name = f"t-helper-{abs(hash(request.node.name))}"
    install(name, **options)
    found = probe_helper()
    assert (found.name, found.works, found.required) == ("compiled checks", False, False)
    assert found.detail.startswith(f"{name} 1.2 {problem}")
    with caplog.at_level(logging.WARNING):
        ProcessIdle(IdleOptions(flush_tlb=False)).close()
    assert caplog.messages == [found.detail]


def test_of_two_helpers_none_is_taken(install: Install) -> None:
    """Which one would be left to chance."""
    install("t-helper-one")
    install("t-helper-two")
    assert find_helper() == Helper(
        "t-helper-one 1.2 and t-helper-two 1.2", None, "are both installed: uninstall all but one"
    )
