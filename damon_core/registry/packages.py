"""Installed packages: found without importing them, and what each registers once it is used."""

import functools
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import pluggy
from attrs import define, field, frozen
from packaging.utils import canonicalize_name

from damon_core import hookspecs
from damon_core.contract.implementations import hook_implementations
from damon_core.contract.records import RecordFormat
from damon_core.contract.registration import Backend, Callback, Policy, Primitive
from damon_core.errors import PluginError, one_line
from damon_core.registry.requirements import CORE, unmet_requirements

#: The entry-point group.
GROUP = "damon"
#: What stands before the dot in the entry points of formats; no primitive is called so.
FORMAT = "format"


@frozen
class _Kind:
    """A kind of what can be registered: by which hook, as objects of which class."""

    hook: str
    cls: type[Any]


_KINDS: Mapping[str, _Kind] = {
    "primitive": _Kind("register_primitives", Primitive),
    "backend": _Kind("register_backends", Backend),
    "policy": _Kind("register_policies", Policy),
    "callback": _Kind("register_callbacks", Callback),
    "format": _Kind("register_formats", RecordFormat),
}


@frozen
class PluginInfo:
    """What is known of one package, for listings.

    Attributes:
        name: Its entry-point names, or what it was given as.
        package: The distribution and its version.
        skipped: Why it can't be used; empty if it can.
        primitives: Names of the primitives that it offers; likewise policies, callbacks, formats.
        backends: ``PRIMITIVE.BACKEND`` for each primitive that a backend serves.
        contested: What of it another package offers as well, one line each; not in the others.
    """

    name: str
    package: str
    skipped: str
    primitives: tuple[str, ...]
    backends: tuple[str, ...]
    policies: tuple[str, ...]
    callbacks: tuple[str, ...]
    formats: tuple[str, ...]
    contested: tuple[str, ...] = ()


@define(eq=False)
class Package:
    """A package and, once loaded, what it offers.

    Attributes:
        names: Its entry-point names, or the one that it was given as.
        origin: The distribution and its version.
        read: Imports it and returns the plugin, an object with registration hooks.
        requires: What its distribution requires.
        discovered: Whether it was found by its entry points.
        is_core: Whether it is the core itself.
        loaded: Whether `load` was called.
        skipped: Why it can't be used; empty if it can, or isn't loaded yet.
        primitives: What it offers, by name; likewise policies, callbacks, formats.
        backends: What it offers, by ``PRIMITIVE.BACKEND``.
    """

    names: list[str]
    origin: str
    read: Callable[[], object]
    requires: tuple[str, ...] = ()
    discovered: bool = False
    is_core: bool = False
    loaded: bool = False
    skipped: str = ""
    primitives: dict[str, Primitive] = field(factory=dict)
    backends: dict[str, Backend] = field(factory=dict)
    policies: dict[str, Policy] = field(factory=dict)
    callbacks: dict[str, Callback] = field(factory=dict)
    formats: dict[str, RecordFormat] = field(factory=dict)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.names[0]

    def tables(self) -> Mapping[str, dict[str, Any]]:
        """Return what it offers, by kind."""
        return {
            "primitive": self.primitives,
            "backend": self.backends,
            "policy": self.policies,
            "callback": self.callbacks,
            "format": self.formats,
        }

    def reserves(self, kind: str, name: str) -> bool:
        """Return whether one of its entry points has this name."""
        return (f"{FORMAT}.{name}" if kind == "format" else name) in self.names

    def info(self) -> PluginInfo:
        """Return what is known of it."""
        offered = (tuple(table) for table in self.tables().values())
        return PluginInfo(", ".join(self.names), self.origin, self.skipped, *offered)

    def load(self) -> None:
        """Import the package and let it register what it has.

        Raises:
            PluginError: It can't be used; the reason is one line.
        """
        self.loaded = True
        if wrong := unmet_requirements(self.requires):
            raise PluginError(self.name, wrong)
        try:
            plugin = self.read()
        except (Exception, SystemExit) as error:
            raise PluginError(self.name, f"can't be imported: {one_line(error)}") from error
        manager = pluggy.PluginManager("damon")
        manager.add_hookspecs(hookspecs)
        try:
            hook_implementations(plugin, self.name)
            manager.register(plugin, self.name)
            for kind, part in _KINDS.items():
                hook = getattr(manager.hook, part.hook)
                hook(register=functools.partial(self._add, kind))
        except PluginError:
            raise
        except pluggy.PluginValidationError as error:
            raise PluginError(self.name, str(error).splitlines()[-1]) from error
        except (Exception, SystemExit) as error:
            raise PluginError(self.name, f"fails to register: {one_line(error)}") from error
        self._refuse_hidden_backends()
        self._refuse_hidden_formats()

    def skip(self, reason: str) -> None:
        """Offer nothing, for a reason."""
        self.skipped = reason
        for table in self.tables().values():
            table.clear()

    def _add(self, kind: str, part: Any) -> None:
        """Take what the package registers: called by its registration hooks."""
        hook, cls = _KINDS[kind].hook, _KINDS[kind].cls
        if not isinstance(part, cls):
            raise TypeError(f"{hook} takes a {cls.__name__}, not {part!r}")
        names = [part.name]
        if isinstance(part, Backend):
            names = [backend_key(primitive, part.name) for primitive in part.serves]
        table = self.tables()[kind]
        for name in names:
            if name in table:
                raise ValueError(f"registers {kind} '{name}' twice")
            table[name] = part

    def _refuse_hidden_backends(self) -> None:
        """Refuse backends that would be found only after something else loaded the package."""
        found_for = {name.split(".")[0] for name in self.names}
        for key, backend in self.backends.items():
            primitive = key.split(".")[0]
            if self.discovered and primitive not in found_for:
                raise PluginError(
                    self.name,
                    f"backend '{backend.name}' serves '{primitive}', so the package needs an "
                    f"entry point '{key}'",
                )

    def _refuse_hidden_formats(self) -> None:
        for name in self.formats:
            if self.discovered and not self.reserves("format", name):
                raise PluginError(
                    self.name, f"format '{name}' needs an entry point '{FORMAT}.{name}'"
                )


def backend_key(primitive: str, backend: str) -> str:
    """Return the name by which a backend of a primitive is known among all."""
    return f"{primitive}.{backend}"


@frozen
class _Distribution:
    """What the metadata of a distribution say, parsed once.

    Attributes:
        name: Its normalized name; empty if it isn't known.
        origin: Its name and version.
        requires: What it requires.
    """

    name: str
    origin: str
    requires: tuple[str, ...]

    @classmethod
    def of(cls, found: metadata.Distribution | None) -> "_Distribution":
        """Return what is known of a distribution."""
        if found is None:
            return cls("", "(unknown)", ())
        fields = found.metadata
        requires = tuple(fields.get_all("Requires-Dist") or ())
        return cls(
            canonicalize_name(fields["Name"]), f"{fields['Name']} {fields['Version']}", requires
        )


def installed_packages() -> list[Package]:
    """Return the installed packages, the core first. Nothing is imported yet."""
    read = functools.cache(_Distribution.of)  # Most have several entry points.
    entries = [(entry, read(entry.dist)) for entry in metadata.entry_points(group=GROUP)]
    # The core first: nobody takes its names. Plain names before those of backends: a package
    # is called by its first.
    entries.sort(
        key=lambda each: (each[1].name != CORE, "." in each[0].name, each[0].name, each[1].origin)
    )
    by_object: dict[tuple[str, str], Package] = {}
    for entry, dist in entries:
        known = by_object.get((dist.origin, entry.value))
        if known is not None:
            if entry.name not in known.names:
                known.names.append(entry.name)
            continue
        by_object[dist.origin, entry.value] = Package(
            [entry.name],
            dist.origin,
            entry.load,
            dist.requires,
            discovered=True,
            is_core=dist.name == CORE,
        )
    return list(by_object.values())
