"""Is a part correct? Rules that every part of its kind keeps, checked on one that is installed.

Three lines in a file of tests turn them on, with a test for each rule::

    from damon_core.testing.conformance import callback_rules

    test_tally = callback_rules("tally", {"path": "{tmp}/tally.db"})

The part is found by its name, as a configuration file finds it, so its package has to be installed
(``pip install -e .``). Options are those of a configuration file; ``{tmp}`` stands for an empty
directory, another one for each object that is made. ``damon plugin check NAME`` checks the same
without a file of tests. pytest finds what makes tests of rules by its entry point; nothing here
needs pytest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from damon_core.registry.discovery import Plugins
from damon_core.testing.conformance.callbacks import CALLBACK_RULES
from damon_core.testing.conformance.formats import FORMAT_RULES
from damon_core.testing.conformance.policies import POLICY_RULES
from damon_core.testing.conformance.primitives import BACKEND_RULES, PRIMITIVE_RULES
from damon_core.testing.conformance.rules import (
    BrokenRuleError,
    Kind,
    NotCheckedError,
    Options,
    OptionsNeededError,
    Outcome,
    Rule,
    Subject,
    outcomes,
)

__all__ = [
    "RULES",
    "BrokenRuleError",
    "NotCheckedError",
    "Options",
    "OptionsNeededError",
    "Outcome",
    "Rule",
    "Subject",
    "Suite",
    "as_test",
    "backend_rules",
    "callback_rules",
    "format_rules",
    "outcomes",
    "policy_rules",
    "primitive_rules",
    "subjects_of",
]

#: The rules of each kind of part, in the order in which they are checked.
RULES: Mapping[Kind, Sequence[Rule]] = {
    "primitive": PRIMITIVE_RULES,
    "backend": BACKEND_RULES,
    "policy": POLICY_RULES,
    "callback": CALLBACK_RULES,
    "format": FORMAT_RULES,
}


@frozen
class Suite:
    """Rules, and the part that they are checked on.

    Attributes:
        subject: Returns what they are checked on, given an empty directory.
        rules: The rules.
    """

    subject: Callable[[Path], Any]
    rules: Sequence[Any]


def as_test(suite: Suite, without: Mapping[str, str] | None = None) -> Callable[..., None]:
    """Return a test for pytest, which it calls for each rule of a suite.

    Args:
        suite: The suite.
        without: Rules that aren't for this part, by their names, each with the reason.

    Raises:
        ValueError: There is no such rule.
    """
    left_out = without or {}
    known = [rule.name for rule in suite.rules]
    if unknown := sorted(set(left_out) - set(known)):
        raise ValueError(f"no rule is called {', '.join(unknown)}; there are {', '.join(known)}")
    rules = [rule for rule in suite.rules if rule.name not in left_out]

    def test(damon_rule: Any, damon_subject: Any, damon_skip: Callable[[str], object]) -> None:
        try:
            damon_rule.check(damon_subject)
        except OptionsNeededError:
            raise
        except NotCheckedError as error:
            damon_skip(str(error))

    test.damon_suite = Suite(suite.subject, rules)  # type: ignore[attr-defined]
    return test


def _test(
    kind: Kind,
    name: str,
    options: Options | None = None,
    *,
    plugins: Plugins | None,
    without: Mapping[str, str] | None,
    primitive: str = "",
) -> Callable[..., None]:
    def subject(directory: Path) -> Subject:
        found = plugins or Plugins.discover()
        return Subject(kind, name, found, options or {}, directory, primitive)

    return as_test(Suite(subject, RULES[kind]), without)


def callback_rules(
    name: str,
    options: Options | None = None,
    *,
    plugins: Plugins | None = None,
    without: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Return a test for pytest, which it calls for each rule of callbacks.

    Args:
        name: The callback's name.
        options: Its options, as a configuration file has them, with ``{tmp}`` for an empty
            directory. Or a function that is given such a directory and returns them, or a context
            manager of them, for what has to be there meanwhile.
        plugins: Where it is found; by default what is installed.
        without: Rules that aren't for it, by their names, each with the reason: a callback that
            prints is none that ``prints-nothing`` is for.

    Raises:
        ValueError: `without` names a rule that isn't there.
    """
    return _test("callback", name, options, plugins=plugins, without=without)


def primitive_rules(
    name: str,
    options: Options | None = None,
    *,
    plugins: Plugins | None = None,
    without: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Return a test for pytest, which it calls for each rule of primitives.

    Args:
        name: The primitive's name.
        options: As for `callback_rules`: of something that is there, and stays the same.
        plugins: Where it is found; by default what is installed.
        without: Rules that aren't for it, by their names, each with the reason.

    Raises:
        ValueError: `without` names a rule that isn't there.
    """
    return _test("primitive", name, options, plugins=plugins, without=without)


def backend_rules(
    name: str,
    primitive: str,
    options: Options | None = None,
    *,
    plugins: Plugins | None = None,
    without: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Return a test for pytest, which it calls for each rule of backends.

    These are those of primitives, checked on the primitive with this backend.

    Args:
        name: The backend's name.
        primitive: The primitive that it serves.
        options: As for `callback_rules`, of the primitive; its ``backend`` is this one, unless
            they say otherwise.
        plugins: Where both are found; by default what is installed.
        without: Rules that aren't for it, by their names, each with the reason.

    Raises:
        ValueError: `without` names a rule that isn't there.
    """
    return _test("backend", name, options, plugins=plugins, without=without, primitive=primitive)


def policy_rules(
    name: str,
    options: Options | None = None,
    *,
    plugins: Plugins | None = None,
    without: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Return a test for pytest, which it calls for each rule of policies.

    Args:
        name: The policy's name.
        options: As for `callback_rules`.
        plugins: Where it is found; by default what is installed.
        without: Rules that aren't for it, by their names, each with the reason.

    Raises:
        ValueError: `without` names a rule that isn't there.
    """
    return _test("policy", name, options, plugins=plugins, without=without)


def format_rules(
    name: str,
    *,
    plugins: Plugins | None = None,
    without: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Return a test for pytest, which it calls for each rule of formats of records.

    Args:
        name: The format's name.
        plugins: Where it is found; by default what is installed.
        without: Rules that aren't for it, by their names, each with the reason.

    Raises:
        ValueError: `without` names a rule that isn't there.
    """
    return _test("format", name, plugins=plugins, without=without)


def subjects_of(
    name: str, plugins: Plugins, options: Options, directory: Path
) -> Iterator[Subject]:
    """Yield what is installed by a name, each with the options.

    Args:
        name: The name of a part, of a backend also ``PRIMITIVE.BACKEND``, or of a distribution:
            then all that it offers.
        plugins: What is installed.
        options: The options of parts, or of the primitive that a backend is used with.
        directory: For what the rules write.
    """
    for info in plugins.infos():
        whole = info.package.split(" ")[0] == name
        for kind, names in (
            ("primitive", info.primitives),
            ("policy", info.policies),
            ("callback", info.callbacks),
            ("format", info.formats),
        ):
            for each in names:
                if whole or each == name:
                    yield Subject(kind, each, plugins, options, directory)  # type: ignore[arg-type]
        for key in info.backends:
            primitive, _, backend = key.partition(".")
            if whole or name in (key, backend):
                yield Subject("backend", backend, plugins, options, directory, primitive)
