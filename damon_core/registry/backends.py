"""The choice of a backend: the one that a person named, or the preferred one that works here."""

import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
from attrs import define, field, frozen

from damon_core.contract.implementations import not_an_object
from damon_core.contract.registration import Backend
from damon_core.errors import ConfigError, DamonError, PluginError, Problem, one_line
from damon_core.registry.options import nearest, structure

logger = logging.getLogger(__name__)

#: The name that stands for the automatic choice.
AUTO = "auto"
#: The type of a primitive's option that says which backend: a name, or with options of the
#: backend's own a table: ``{"use": "idle", …}``.
BackendOption: TypeAlias = str | dict[str, Any]


@frozen
class Crowd:
    """How many targets there are, and what may be spent on them: "auto" takes that into account.

    Attributes:
        targets: The number of targets of all contexts that share a CPU budget.
        spare_us: The CPU time that they may take together while values get as old as they may.
    """

    targets: int = 0
    spare_us: float = math.inf

    def excess_us(self, target_us: float) -> float:
        """Return what a backend would take that takes so much for each, if it is too much.

        Backends are preferred by this, the least first, and otherwise by their `preference`.
        """
        needed_us = self.targets * target_us
        return needed_us if needed_us > self.spare_us else 0.0


@define(eq=False)
class KnownBackends:
    """The backends of primitives, whose probes are asked once for many contexts.

    A probe may take longer than all else that it takes to begin to monitor.

    Args:
        find: Returns the backends that serve a primitive, as `Plugins.backends` does.
        valid_s: How long an answer is valid, in seconds: a machine changes.

    Attributes:
        crowd: How many targets there are.
    """

    find: Callable[[str], Mapping[str, Backend]]
    valid_s: float = 60.0
    crowd: Crowd = field(factory=Crowd, init=False)
    _known: dict[str, tuple[float, Mapping[str, Backend]]] = field(factory=dict, init=False)

    def of(self, primitive: str) -> Mapping[str, Backend]:
        """Return the backends that serve a primitive, the preferred first."""
        now_s = time.monotonic()
        known = self._known.get(primitive)
        if known is None or now_s >= known[0]:
            backends = self.find(primitive)
            found = {name: _asked_once(primitive, each) for name, each in backends.items()}
            known = self._known[primitive] = now_s + self.valid_s, found
        # Those that take too much come last.
        by_excess = sorted(known[1].values(), key=lambda each: self.crowd.excess_us(each.target_us))
        return {each.name: each for each in by_excess}

    @property
    def excessive(self) -> dict[str, float]:
        """What backends that are known take for a target, where so many are too much for them."""
        known = (each for _, found in self._known.values() for each in found.values())
        return {each.name: each.target_us for each in known if self.crowd.excess_us(each.target_us)}


def _asked_once(primitive: str, backend: Backend) -> Backend:
    """Return a backend that remembers what it needs to serve a primitive."""
    return attrs.evolve(backend, probe=functools.cache(lambda: backend.findings(primitive)))


def make_backend(primitive: str, wanted: BackendOption, backends: Mapping[str, Backend]) -> object:
    """Make the backend that is wanted, or with "auto" the preferred one that works here.

    Args:
        primitive: The primitive that it is for, to name in errors.
        wanted: Its name or "auto", or a table with that under ``use`` and its options.
        backends: Those registered for the primitive, the preferred first.

    Returns:
        What its factory made.

    Raises:
        PluginError: There is no such backend, it doesn't work here, or none does.
        ConfigError: An option of the backend is wrong.
        DamonError: Its factory fails in another way than it should.
    """
    options = {} if isinstance(wanted, str) else dict(wanted)
    name = wanted if isinstance(wanted, str) else options.pop("use", None)
    if name == AUTO and not options:
        return _make(_preferred(primitive, backends), {})
    if name not in backends:
        raise PluginError(primitive, _unknown(name, backends))
    if missing := missing_of(primitive, backends[name]):
        others = [other for other in backends if not missing_of(primitive, backends[other])]
        hint = f"; what works here: {', '.join(others)}" if others else ""
        raise PluginError(primitive, f"backend '{name}' doesn't work here: {missing}{hint}")
    return _make(backends[name], options)


def backend_problems(options: object, backends: Mapping[str, Backend]) -> list[Problem]:
    """Return what is wrong with the backends that options name, without asking the machine.

    Args:
        options: Checked options of a primitive; fields of the type `BackendOption` are looked at.
        backends: Those registered for the primitive.
    """
    problems = []
    for key, wanted in _wanted(options):
        own = {} if isinstance(wanted, str) else dict(wanted)
        name = wanted if isinstance(wanted, str) else own.pop("use", None)
        try:
            if name in backends:
                structure(backends[str(name)].options, own)
            elif name != AUTO or own:
                problems.append(Problem(key, _unknown(name, backends)))
        except ConfigError as error:
            problems += [Problem(f"{key}.{one.path}", one.message) for one in error.problems]
    return problems


def is_automatic(options: object) -> bool:
    """Return whether options leave the choice of a backend to the program."""
    return any(
        (wanted if isinstance(wanted, str) else wanted.get("use")) == AUTO
        for _, wanted in _wanted(options)
    )


def preferred_backend(primitive: str, backends: Mapping[str, Backend]) -> str:
    """Return the name of the first backend that works here; empty if none does."""
    return next((name for name, each in backends.items() if not missing_of(primitive, each)), "")


def backends_of(options: object, backends: Mapping[str, Backend]) -> tuple[Backend, ...]:
    """Return the backends that a primitive with such options may take; all of them for "auto".

    Args:
        options: Checked options of a primitive, which name backends that exist.
        backends: Those registered for the primitive, the preferred first.
    """
    for _, wanted in _wanted(options):
        name = wanted if isinstance(wanted, str) else wanted.get("use")
        if name in backends:
            return (backends[str(name)],)
    return tuple(backends.values())


def _wanted(options: object) -> Iterator[tuple[str, BackendOption]]:
    """Yield the keys of options that name backends, and what they say."""
    cls: Any = type(options)
    for each in attrs.fields(attrs.resolve_types(cls)):
        if each.type == BackendOption:
            yield str(each.metadata.get("key", each.alias)), getattr(options, each.name)


def _unknown(name: object, backends: Mapping[str, Backend]) -> str:
    """Return what is wrong with a name that no backend has."""
    if name == AUTO:
        return "'auto' takes no options of a backend: name the backend they are for"
    if name is None:
        return 'the table of a backend needs its name: use = "…"'
    return f"there is no backend '{name}'; {nearest(str(name), [AUTO, *backends])}"


def preferred_backends(
    primitive: str, wanted: BackendOption, backends: Mapping[str, Backend]
) -> tuple[str, ...]:
    """Return the names of the backends that work here and come before the wanted one.

    Args:
        primitive: The primitive that it is for.
        wanted: As for `make_backend`; nothing comes before "auto".
        backends: Those registered for the primitive, the preferred first.
    """
    name = wanted if isinstance(wanted, str) else wanted.get("use")
    if name not in backends:
        return ()
    before = itertools.takewhile(lambda other: other != name, backends)
    return tuple(other for other in before if not missing_of(primitive, backends[other]))


def _preferred(primitive: str, backends: Mapping[str, Backend]) -> Backend:
    reasons = []
    for backend in backends.values():
        missing = missing_of(primitive, backend)
        if not missing:
            logger.info("backend '%s' chosen for '%s'", backend.name, primitive)
            return backend
        reasons.append(f"{backend.name}: {missing}")
    raise PluginError(primitive, f"no backend works here: {'; '.join(reasons) or 'none is known'}")


def _make(backend: Backend, options: Mapping[str, object]) -> object:
    checked: object = structure(
        backend.options, options, "backend", f"options of backend '{backend.name}'"
    )
    try:
        made = backend.factory(checked)
    except DamonError:
        raise
    except (Exception, SystemExit) as error:
        raise DamonError(f"backend '{backend.name}' fails: {one_line(error)}") from error
    if (wrong := not_an_object(made)) is not None:
        raise PluginError(backend.name, f"its factory returns {wrong}")
    return made


def missing_of(primitive: str, backend: Backend) -> str:
    """Return what a backend lacks on this machine for a primitive, empty if nothing."""
    try:
        findings = backend.findings(primitive)
    # Whoever wrote it, others' backends must stay usable.
    except (Exception, SystemExit) as error:
        logger.warning("backend '%s': its probe failed", backend.name, exc_info=error)
        return f"its probe failed: {one_line(error)}"
    return "; ".join(
        f"{finding.name} ({finding.detail})" if finding.detail else finding.name
        for finding in findings
        if finding.required and not finding.works
    )
