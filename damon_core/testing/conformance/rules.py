"""A rule, what it is checked on, and what breaking it is reported as."""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
from attrs import define, field, frozen

from damon_core.deprecation import DamonDeprecationWarning
from damon_core.errors import ConfigError, DamonError, InputError, PluginError, one_line
from damon_core.registry.discovery import Plugins
from damon_core.registry.options import structure
from damon_core.testing.conformance.process import preserved_process, unlogged

#: What kind of part rules are for.
Kind: TypeAlias = Literal["primitive", "backend", "policy", "callback", "format", "command"]
#: Options as a configuration file has them, in which "{tmp}" stands for an empty directory; or
#: what returns them, given such a directory, or a context manager of them for what has to be there
#: meanwhile, such as a process.
Options: TypeAlias = (
    Mapping[str, Any]
    | Callable[[Path], Mapping[str, Any] | AbstractContextManager[Mapping[str, Any]]]
)


class BrokenRuleError(AssertionError):
    """A part breaks a rule.

    Attributes:
        rule: The name of the rule.
        part: The part, such as "callback 'csv'".
        seen: What was seen instead.
    """

    def __init__(self, rule: "Rule", part: str, seen: str) -> None:
        super().__init__(f"{part} breaks the rule '{rule.name}': {rule.text}\nSeen: {seen}")
        self.rule = rule.name
        self.part = part
        self.seen = seen


class NotCheckedError(Exception):
    """A rule can't be checked here, and why."""


class OptionsNeededError(NotCheckedError):
    """A rule can't be checked without options, which the author has to give."""


@define(eq=False)
class Subject:
    """What rules are checked on: a part, found by its name as users' files find it.

    Attributes:
        kind: What it is.
        name: Its name.
        plugins: Where it is found.
        options: Its options, as a configuration file has them, or what makes them.
        directory: For what the rules write; emptied between rules by who calls them.
        primitive: Of a backend, the primitive that it is used with.
        grace_s: How long threads and programs may take to end after their part was released, in
            seconds.
    """

    kind: Kind
    name: str
    plugins: Plugins
    options: Options = field(factory=dict)
    directory: Path = Path()
    primitive: str = ""
    grace_s: float = 5.0
    _stack: ExitStack = field(factory=ExitStack, init=False)
    _made: int = field(default=0, init=False)

    def __str__(self) -> str:
        behind = f" of primitive '{self.primitive}'" if self.kind == "backend" else ""
        return f"{self.kind} '{self.name}'{behind}"

    @property
    def part(self) -> Any:
        """What is registered by this name.

        Raises:
            PluginError: Nothing is, or its package can't be used.
        """
        if self.kind == "backend":
            found = self.plugins.backends(self.primitive)
            if self.name not in found:
                raise NotCheckedError(f"there is no {self}")
            return found[self.name]
        if self.kind == "format":
            return next(each for each in self.plugins.formats() if each.name == self.name)
        return getattr(self.plugins, self.kind)(self.name)

    def fresh_directory(self) -> Path:
        """Return a new directory."""
        self._made += 1
        path = self.directory / str(self._made)
        path.mkdir(parents=True)
        return path

    def written(self) -> dict[str, Any]:
        """Return its options as a file has them, with a new directory for each "{tmp}".

        What they need, such as a process, is there until the rule is checked.
        """
        directory = self.fresh_directory()
        options: Any = self.options
        if callable(options):
            options = options(directory)
            if isinstance(options, AbstractContextManager):
                options = self._stack.enter_context(options)
        replaced: dict[str, Any] = _replaced(options, str(directory))
        return replaced

    def checked(self, written: Mapping[str, Any]) -> Any:
        """Return options of the part, checked.

        Raises:
            NotCheckedError: They lack something that the author of a check has to give.
            ConfigError: They are wrong otherwise.
        """
        try:
            return structure(self.part.options, written)
        except ConfigError as error:
            if all(" is missing" in f" {problem.message}" for problem in error.problems):
                missing = ", ".join(problem.path for problem in error.problems)
                raise OptionsNeededError(f"it needs options: {missing}") from error
            if not self.options:
                raise OptionsNeededError(f"it needs options: {_without_place(error)}") from error
            raise

    def make(self, written: Mapping[str, Any] | None = None) -> Any:
        """Return a new object of the part, as contexts have it, with its options.

        Args:
            written: The options; by default new ones, in a directory that no other object has.

        Raises:
            NotCheckedError: It needs options, or doesn't work on this machine.
        """
        written = self.written() if written is None else written
        if self.kind == "backend":
            return self._with_backend(written)
        arguments: list[object] = [self.checked(written)]
        if self.kind == "primitive":
            arguments.append(self.plugins.backends(self.name))
        try:
            return self.part.factory(*arguments)
        except PluginError as error:
            raise NotCheckedError(f"it can't be made here: {error.reason}") from error
        except InputError as error:
            if self.options:
                raise
            raise OptionsNeededError(f"it needs options: {_without_place(error)}") from error

    def _with_backend(self, written: Mapping[str, Any]) -> Any:
        """Return the primitive that uses the backend; its options are those of the primitive."""
        missing = [
            f"{finding.name} ({finding.detail})" if finding.detail else finding.name
            for finding in self.part.findings(self.primitive)
            if finding.required and not finding.works
        ]
        if missing:
            raise NotCheckedError(f"it doesn't work here: {'; '.join(missing)}")
        with_backend = {"backend": self.name, **written}
        primitive = self.plugins.primitive(self.primitive)
        try:
            checked: object = structure(primitive.options, with_backend)
        except ConfigError as error:
            if written:
                raise
            raise OptionsNeededError(
                f"its primitive needs options: {_without_place(error)}"
            ) from error
        return primitive.factory(checked, self.plugins.backends(self.primitive))

    def clear(self) -> None:
        """End what its options needed, and remove what was written."""
        self._stack.close()
        for entry in self.directory.iterdir() if self._made else ():
            if entry.name.isdigit():
                shutil.rmtree(entry)
        self._made = 0


def _without_place(error: InputError) -> str:
    """Return its text in one line, without the name that options have in messages."""
    return one_line(error).removeprefix("options: ")


def _replaced(value: Any, directory: str) -> Any:
    """Return options with "{tmp}" replaced by a directory."""
    if isinstance(value, str):
        return value.replace("{tmp}", directory)
    if isinstance(value, Mapping):
        return {key: _replaced(each, directory) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, directory) for each in value]
    return value


@frozen
class Rule:
    """Something that every part of a kind keeps.

    Attributes:
        name: Its name, by which it is left out and shown.
        text: What the part does, in one sentence.
        body: Checks it, and raises if it is broken; use `check`.
    """

    name: str
    text: str
    body: Callable[[Subject], None]

    def check(self, subject: Subject) -> None:
        """Check the rule.

        Raises:
            BrokenRuleError: It is broken; the message names the rule, the part and what was seen.
            NotCheckedError: It can't be checked here.
        """
        try:
            with preserved_process():
                self.body(subject)
        except NotCheckedError:
            raise
        except (Exception, SystemExit) as error:
            raise BrokenRuleError(self, str(subject), _seen(error)) from error
        finally:
            subject.clear()


def _seen(error: BaseException) -> str:
    """Return what an error says, with its type where that isn't meant for people."""
    if isinstance(error, DamonError):
        return error.message
    text = str(error).strip()
    if isinstance(error, AssertionError) and text:
        return text
    return one_line(error)


@frozen
class Outcome:
    """What became of a rule.

    Attributes:
        part: The part that it was checked on.
        rule: Its name.
        text: What the part has to do.
        state: "kept", "broken", or "not checked".
        detail: What was seen, or why it couldn't be checked.
        deprecations: What the part uses that will go, a line for each.
    """

    part: str
    rule: str
    text: str
    state: Literal["kept", "broken", "not checked"]
    detail: str = ""
    deprecations: tuple[str, ...] = ()


def outcomes(subject: Subject, rules: Sequence[Rule]) -> list[Outcome]:
    """Check rules on a part, one after the other, and return what became of each.

    What the parts log meanwhile isn't shown: much of it is there on purpose. Python's warnings
    aren't, either, but those of what will go are part of the outcome.
    """
    found = []
    for rule in rules:
        outcome = Outcome(str(subject), rule.name, rule.text, "kept")
        try:
            with unlogged(), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always", DamonDeprecationWarning)
                rule.check(subject)
        except NotCheckedError as error:
            outcome = attrs.evolve(outcome, state="not checked", detail=str(error))
        except BrokenRuleError as error:
            outcome = attrs.evolve(outcome, state="broken", detail=error.seen)
        lines = [str(each.message) for each in warned if each.category is DamonDeprecationWarning]
        found.append(attrs.evolve(outcome, deprecations=tuple(dict.fromkeys(lines))))
    return found
