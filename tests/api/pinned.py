"""The public interface that was accepted, and how the present one differs from it."""

import difflib
from pathlib import Path

from damon_cli.testing import COMMAND_RULES

from damon_core.testing.conformance import RULES
from tests.api.interface import CORE_MODULES, interface, public_modules

FILE = Path(__file__).parents[2] / "docs" / "public-api.txt"

_HEAD = """\
# The public interface of damon-core and damon-cli, a line for each name (docs/api-promise.md).
# Written by `.venv/bin/python -m tests.api --accept`; a test fails if the code differs from it.
"""


def current() -> str:
    """Return the content of the file as the code is now."""
    modules = ["damon_core", *CORE_MODULES, *public_modules("damon_cli")]
    rules = [f"rule {kind} {rule.name}" for kind in RULES for rule in RULES[kind]]
    rules += [f"rule command {rule.name}" for rule in COMMAND_RULES]
    return "\n".join([_HEAD, *interface(modules), "", *rules, ""])


def difference(accepted: str, now: str) -> str:
    """Return what is other than it was, and what to do; empty if nothing is."""
    before, after = accepted.splitlines(), now.splitlines()
    if before == after:
        return ""
    changes = [
        line
        for line in difflib.unified_diff(before, after, lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    gone = any(line.startswith("-") for line in changes)
    advice = (
        "A line that is gone or other (-) may break packages: if it has been released, what was "
        "there stays, deprecated, as docs/api-promise.md says."
        if gone
        else "Only names that weren't there before: no package breaks."
    )
    return "\n".join(
        [
            "The public interface has changed:",
            *changes,
            advice,
            "If this is meant, accept it by `.venv/bin/python -m tests.api --accept`, and say so "
            "in the changelog.",
        ]
    )
