"""A fault in a part: the methods of what factories make are replaced before damon calls them.

Parts are found as damon finds them: whatever packages register goes through here.
"""

import functools
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from damon_core import RegionPolicy, hookimpl
from damon_core.contract.implementations import HOOK_NAMES, marked
from damon_core.registry import discovery, packages
from tests.faults.places import Place, Reached
from tests.faults.witness import Witness
from tests.lab.needs import GUEST

#: How long a call takes that is slow: longer than any interval of the deployments, which the CPU
#: budget stretches where machines are emulated.
_SLOW_S = 3.0 if GUEST in os.environ else 0.15
_FOREVER_S = 1e6
#: How many aggregations go well before a fault in the loop.
_AGGREGATIONS = 2

Around = Callable[[Place], None]


class Fault:
    """Strikes in a place.

    Args:
        reached: The place; one in the loop is struck once some aggregations have gone well.
        what: What happens, of `FAULTS`.
        folder: Where the file ``struck`` is to say that it has.
        witness: Who knows of aggregations.
        context: The name of the context.
    """

    def __init__(
        self, reached: Reached, what: str, folder: Path, witness: Witness, context: str
    ) -> None:
        self._place = reached.place
        self._what = what
        self._least = _AGGREGATIONS if reached.in_loop else 0
        self._folder = folder
        self._witness = witness
        self._context = context

    def __call__(self, place: Place) -> None:
        """Strike if this is the place, and it is time."""
        if place != self._place:
            return
        if self._witness.aggregations.get(self._context, 0) < self._least:
            return
        (self._folder / "struck").touch()
        if self._what == "raise":
            raise RuntimeError("a fault")
        if self._what == "exit":
            sys.exit(0)
        while self._what == "hang":
            time.sleep(_FOREVER_S)
        time.sleep(_SLOW_S)


class Trace:
    """Notes which places are reached, in the file ``trace``.

    Args:
        folder: Where that is, and the file ``stop`` once the program is to stop.
        witness: Who knows of aggregations.
        context: The name of the context.
    """

    def __init__(self, folder: Path, witness: Witness, context: str) -> None:
        self._folder = folder
        self._witness = witness
        self._context = context
        self._calls: dict[Place, list[int]] = {}

    def __call__(self, place: Place) -> None:
        """Take note of a call."""
        counts = self._calls.setdefault(place, [0, 0, 0])
        counts[0] += 1
        if (self._folder / "stop").exists():
            counts[2] += 1
        elif self._witness.aggregations.get(self._context, 0) >= _AGGREGATIONS:
            counts[1] += 1

    def write(self) -> None:
        """Write what was noted."""
        rows = [
            [place.kind, place.part, place.hook, calls, in_loop > 0, at_end == calls]
            for place, (calls, in_loop, at_end) in self._calls.items()
        ]
        (self._folder / "trace").write_text(json.dumps(rows))


def traced(folder: Path) -> list[Reached]:
    """Return what a `Trace` has written."""
    rows = json.loads((folder / "trace").read_text())
    return [Reached(Place(*row[:3]), *row[3:]) for row in rows]


def install(
    around: Around, primitive: str = "", implemented: Callable[[Place], None] = lambda _: None
) -> None:
    """Call `around` before each call of a part's hooks and methods from now on.

    Of parts that are made several times, only the first is meant.

    Args:
        around: What is called.
        primitive: The primitive that backends serve here.
        implemented: Called with the hooks that parts implement.
    """
    # What damon does with packages isn't public.
    package_class: Any = packages.Package
    registry: Any = discovery
    add, find = package_class._add, registry.installed_packages  # noqa: SLF001
    watching = _Watching(around, primitive, implemented)

    def adding(package: object, kind: str, part: Any) -> None:
        add(package, kind, watching.part(kind, part))

    def finding() -> list[packages.Package]:
        found: list[packages.Package] = find()
        for package in found:
            package.read = functools.partial(watching.package, package.read, package.name)
        return found

    package_class._add = adding  # noqa: SLF001
    registry.installed_packages = finding


@frozen
class _Watching:
    """Makes parts and packages call something first."""

    around: Around
    primitive: str
    implemented: Callable[[Place], None]

    def part(self, kind: str, part: Any) -> Any:
        """Return a part whose factory makes objects that are watched."""
        # One backend may serve several primitives; there is one context with it.
        name = f"{self.primitive}.{part.name}" if kind == "backend" else part.name
        if kind == "format":
            return evolve(part, write=self._factory(kind, name, part.write))
        return evolve(part, factory=self._factory(kind, name, part.factory))

    def _factory(self, kind: str, name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        made_before: list[object] = []

        @functools.wraps(make)
        def factory(*arguments: Any) -> Any:
            first = not made_before
            made_before.append(None)
            if not first:
                return make(*arguments)
            self.around(Place(kind, name, "factory"))
            made = make(*arguments)
            names = _methods(kind, made)
            _watch(made, names, lambda hook: self.around(Place(kind, name, hook)))
            for hook in HOOK_NAMES.intersection(names):
                self.implemented(Place(kind, name, hook))
            return made

        return factory

    def package(self, read: Callable[[], object], name: str) -> object:
        """Return a package whose registration is watched."""
        plugin = read()
        for attribute, hook, _ in list(marked(plugin)):
            place = Place("package", name, hook)
            setattr(plugin, attribute, self._registering(getattr(plugin, attribute), place))
        return plugin

    def _registering(self, function: Callable[[Any], Any], place: Place) -> Any:
        def registering(register: Any) -> Any:
            self.around(place)
            return function(register)

        return hookimpl(registering)


def _methods(kind: str, made: Any) -> list[str]:
    """Return the names of the methods of a part that others call."""
    if kind == "policy":
        return [name for name in vars(RegionPolicy) if not name.startswith("_")]
    if kind == "format":
        return ["write", "close"]
    if kind == "backend":
        cls = type(made)
        public = [name for name in dir(cls) if not name.startswith("_")]
        return [name for name in public if inspect.isfunction(getattr(cls, name))]
    return [attribute for attribute, _, _ in marked(made)]


def _watch(made: Any, names: list[str], before: Callable[[str], None]) -> None:
    """Have something called before methods of an object."""
    cls = type(made)
    methods = {name: _watched(getattr(cls, name), name, before) for name in names}
    watched = type(cls.__name__, (cls,), {**methods, "__slots__": (), "__module__": cls.__module__})
    object.__setattr__(made, "__class__", watched)  # it may be frozen


def _watched(method: Any, name: str, before: Callable[[str], None]) -> Any:
    @functools.wraps(method)
    def watched(*arguments: Any, **others: Any) -> Any:
        before(name)
        return method(*arguments, **others)

    return watched
