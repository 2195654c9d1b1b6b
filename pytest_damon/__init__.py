"""The pytest plugin of damon-core: tests made of rules (`damon_core.testing.conformance`).

pytest finds it by its entry point. It imports nothing of damon-core, so that a run of tests that
have nothing to do with it costs nothing, and coverage sees the core's modules imported.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

__all__ = ["damon_rule", "damon_skip", "damon_subject", "pytest_generate_tests"]


class _Suite(Protocol):
    """What a test of rules has as its attribute ``damon_suite``."""

    rules: Sequence[Any]

    def subject(self, directory: Path) -> Any:
        """Return what the rules are checked on."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each rule of a suite, called by its name."""
    suite: _Suite | None = getattr(metafunc.function, "damon_suite", None)
    if suite is not None:
        names = [rule.name for rule in suite.rules]
        metafunc.parametrize("damon_rule", suite.rules, ids=names)


@pytest.fixture
def damon_rule(request: pytest.FixtureRequest) -> Any:
    """Return the rule to check; a suite's tests are called once for each."""
    return request.param


@pytest.fixture
def damon_skip() -> Callable[[str], object]:
    """Return what skips a test whose rule can't be checked here, given the reason."""
    return pytest.skip


@pytest.fixture
def damon_subject(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return what the suite's rules are checked on, in a directory that pytest removes."""
    return request.function.damon_suite.subject(tmp_path)
