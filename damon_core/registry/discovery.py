"""Finding packages and what they offer. There is no global manager: make one, pass it on.

Packages are found through the entry-point group ``damon`` and imported only when used or
listed. The names of entry points tell what for, without importing:

- ``NAME`` is imported when a primitive, policy, callback or command of that name is used;
- ``format.NAME`` when the formats of records are looked for;
- ``PRIMITIVE.BACKEND`` when the backends of a primitive are looked for: a backend that serves
  primitives of other packages needs one such name for each.

A name that no entry point has is looked for in all packages. What the core itself offers is found
in the same way, and its names are its own.
"""

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy
from attrs import define, field, frozen
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from damon_core import hookspecs
from damon_core.contract.implementations import hook_implementations
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.records import RecordFormat
from damon_core.contract.registration import Backend, Callback, Policy, Primitive
from damon_core.errors import PluginError, one_line
from damon_core.registry.options import nearest, structure

if TYPE_CHECKING:
    import click

#: The one entry-point group.
GROUP = "damon"
#: The core's own subcommands, whose names no package can take.
CORE_COMMANDS = frozenset({"check", "doctor", "plugins", "run"})
_CORE = "damon-core"

#: What can be registered but commands, which are click's.
_PARTS: dict[str, type] = {
    "primitive": Primitive,
    "backend": Backend,
    "policy": Policy,
    "callback": Callback,
    "format": RecordFormat,
}

#: What stands before the dot in the entry points of formats; no primitive is called so.
_FORMAT = "format"

PartT = TypeVar("PartT", Primitive, Backend, Policy, Callback)


@frozen
class PluginInfo:
    """What is known of one package, for listings.

    Attributes:
        name: Its entry-point names, or what it was given as.
        package: The distribution and its version.
        skipped: Why it can't be used; empty if it can.
        primitives: Names of the primitives that it offers; likewise the others.
    """

    name: str
    package: str
    skipped: str
    primitives: tuple[str, ...]
    backends: tuple[str, ...]
    policies: tuple[str, ...]
    callbacks: tuple[str, ...]
    formats: tuple[str, ...]
    commands: tuple[str, ...]


@define(eq=False)
class _Package:
    """A package and, once loaded, what it offers."""

    names: list[str]
    package: str
    load: Callable[[], object]
    requires: tuple[str, ...] = ()
    discovered: bool = False
    loaded: bool = False
    skipped: str = ""
    primitives: dict[str, Primitive] = field(factory=dict)
    backends: dict[str, Backend] = field(factory=dict)
    policies: dict[str, Policy] = field(factory=dict)
    callbacks: dict[str, Callback] = field(factory=dict)
    formats: dict[str, RecordFormat] = field(factory=dict)
    commands: dict[str, "click.Command"] = field(factory=dict)

    @property
    def name(self) -> str:
        return self.names[0]

    def tables(self) -> "dict[str, dict[str, Any]]":
        return {
            "primitive": self.primitives,
            "backend": self.backends,
            "policy": self.policies,
            "callback": self.callbacks,
            "format": self.formats,
            "command": self.commands,
        }

    def reserves(self, kind: str, name: str) -> bool:
        """Return whether an entry point has this name."""
        if kind == "format":
            return f"{_FORMAT}.{name}" in self.names
        return name in self.names

    def collect(self) -> None:
        """Import the package and let it register what it has.

        Raises:
            PluginError: It can't be used, for a reason told.
        """
        for text in self.requires:
            if (wrong := _unmet_core_requirement(text)) is not None:
                raise PluginError(self.name, wrong)
        try:
            plugin = self.load()
        except (Exception, SystemExit) as error:
            raise PluginError(self.name, f"can't be imported: {one_line(error)}") from error
        manager = pluggy.PluginManager("damon")
        manager.add_hookspecs(hookspecs)
        try:
            hook_implementations(plugin, self.name)
            manager.register(plugin, self.name)
            for kind, table in self.tables().items():
                getattr(manager.hook, _hook_of(kind))(register=_adder(kind, table))
        except PluginError:
            raise
        except pluggy.PluginValidationError as error:
            raise PluginError(self.name, str(error).splitlines()[-1]) from error
        except (Exception, SystemExit) as error:
            raise PluginError(self.name, f"fails to register: {one_line(error)}") from error
        self._refuse_hidden_backends()
        self._refuse_hidden_formats()

    def _refuse_hidden_backends(self) -> None:
        """Refuse backends that would be found only after something else loaded the package."""
        found_for = {name.split(".")[0] for name in self.names}
        for backend in self.backends.values():
            for primitive in backend.serves:
                if self.discovered and primitive not in found_for:
                    raise PluginError(
                        self.name,
                        f"backend '{backend.name}' serves '{primitive}', so the package needs an "
                        f"entry point '{primitive}.{backend.name}'",
                    )

    def _refuse_hidden_formats(self) -> None:
        for name in self.formats:
            if self.discovered and f"{_FORMAT}.{name}" not in self.names:
                raise PluginError(
                    self.name, f"format '{name}' needs an entry point '{_FORMAT}.{name}'"
                )


def _hook_of(kind: str) -> str:
    return "register_policies" if kind == "policy" else f"register_{kind}s"


def _adder(kind: str, table: dict[str, Any]) -> Callable[[Any], None]:
    def register(part: Any) -> None:
        expected: Any = _class_of(kind)
        if not isinstance(part, expected):
            raise TypeError(f"{_hook_of(kind)} takes a {expected.__name__}, not {part!r}")
        if not (isinstance(part.name, str) and part.name):
            raise ValueError(f"registers a {kind} without a name")
        for key in _keys(part):
            if key in table:
                raise ValueError(f"registers {kind} '{key}' twice")
            table[key] = part

    return register


def _keys(part: Any) -> list[str]:
    """Return what a part is known by: a backend by each primitive and its name."""
    if isinstance(part, Backend):
        return [f"{primitive}.{part.name}" for primitive in part.serves]
    return [part.name]


def _class_of(kind: str) -> type:
    if kind == "command":
        import click  # noqa: PLC0415  # only those who have commands need it

        return click.Command
    return _PARTS[kind]


def _unmet_core_requirement(text: str) -> str | None:
    """Return why a requirement on the core isn't met; None if it is, or is on something else."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    if canonicalize_name(requirement.name) != _CORE:
        return None
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    version = metadata.version(_CORE)
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"needs {_CORE} {requirement.specifier}, but this is {_CORE} {version}"


def _is_core(entry: metadata.EntryPoint) -> bool:
    return entry.dist is not None and canonicalize_name(entry.dist.name) == _CORE


def _origin(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(unknown)"


class Plugins:
    """What can be used: packages, and the parts, formats and commands that they offer.

    Args:
        plugins: The plugins and nothing else, by name: modules or objects with registration
            hooks. `discover` takes the installed ones instead.
    """

    def __init__(self, plugins: Mapping[str, object] | None = None) -> None:
        self._packages = [
            _Package([name], "(given)", lambda plugin=plugin: plugin)  # type: ignore[misc]
            for name, plugin in (plugins or {}).items()
        ]
        self._load_all()

    @classmethod
    def discover(cls) -> "Plugins":
        """Return the installed packages. Nothing is imported yet."""
        found = cls()
        by_object: dict[tuple[str, str], _Package] = {}
        entries = [
            (entry.name, _origin(entry), entry) for entry in metadata.entry_points(group=GROUP)
        ]
        # The core first: nobody takes its names. Plain names before those of backends: a package
        # is called by its first.
        entries.sort(key=lambda each: (not _is_core(each[2]), "." in each[0], *each[:2]))
        for name, package, entry in entries:
            known = by_object.get((package, entry.value))
            if known is not None:
                if name not in known.names:
                    known.names.append(name)
                continue
            requires = tuple(entry.dist.requires or ()) if entry.dist else ()
            by_object[package, entry.value] = _Package(
                [name], package, entry.load, requires, discovered=True
            )
        found._packages = list(by_object.values())
        return found

    # -- looking up ------------------------------------------------------------------

    def primitive(self, name: str) -> Primitive:
        """Return a primitive by name.

        Raises:
            PluginError: No package offers it, or the one that does can't be used.
        """
        return self._find("primitive", name, lambda package: package.primitives)

    def policy(self, name: str) -> Policy:
        """Return a policy of region adjustment by name.

        Raises:
            PluginError: No package offers it, or the one that does can't be used.
        """
        return self._find("policy", name, lambda package: package.policies)

    def callback(self, name: str) -> Callback:
        """Return a callback by name.

        Raises:
            PluginError: No package offers it, or the one that does can't be used.
        """
        return self._find("callback", name, lambda package: package.callbacks)

    def backends(self, primitive: str) -> dict[str, Backend]:
        """Return the backends that serve a primitive, by name, the preferred first."""
        self._load_named(primitive)
        offered = [
            backend
            for package in self._packages
            for backend in package.backends.values()
            if primitive in backend.serves
        ]
        offered.sort(key=lambda backend: -backend.preference)
        return {backend.name: backend for backend in offered}

    def formats(self) -> list[RecordFormat]:
        """Return the formats of records that there are."""
        self._load_named(_FORMAT)
        return [each for package in self._packages for each in package.formats.values()]

    def command(self, name: str) -> "click.Command | None":
        """Return a command by name, or None."""
        for package in self._candidates(name):
            self._load(package)
            if name in package.commands:
                return package.commands[name]
        return None

    def command_names(self) -> list[str]:
        """Return the names of all commands that packages offer."""
        self._load_all()
        return [name for package in self._packages for name in package.commands]

    def why_skipped(self, name: str) -> str:
        """Return why the package with an entry point of this name can't be used, or nothing."""
        named = [package for package in self._packages if name in package.names]
        return next((package.skipped for package in named if package.skipped), "")

    def infos(self) -> list[PluginInfo]:
        """Import all packages and return what each offers, or why it is skipped."""
        self._load_all()
        return [
            PluginInfo(
                ", ".join(package.names),
                package.package,
                package.skipped,
                *(tuple(table) for table in package.tables().values()),
            )
            for package in self._packages
        ]

    # -- making parts ------------------------------------------------------------------

    def make_primitive(self, name: str, options: Mapping[str, object]) -> object:
        """Return a new primitive with options as a configuration file has them.

        Raises:
            PluginError: The primitive can't be found.
            ConfigError: An option is wrong.
            InputError: The options can't be used on this machine now.
        """
        part = self.primitive(name)
        checked: object = structure(part.options, options, source=f"options of primitive '{name}'")
        return part.factory(checked, self.backends(name))

    def make_policy(self, name: str, options: Mapping[str, object]) -> RegionPolicy:
        """Return a new policy, for one context, with options as a configuration file has them.

        Raises:
            PluginError: The policy can't be found.
            ConfigError: An option is wrong.
            InputError: The options can't be used on this machine now.
        """
        part = self.policy(name)
        checked: object = structure(part.options, options, source=f"options of policy '{name}'")
        return cast(RegionPolicy, part.factory(checked))

    def make_callback(self, name: str, options: Mapping[str, object]) -> object:
        """Return a new callback with options as a configuration file has them.

        Raises:
            PluginError: The callback can't be found.
            ConfigError: An option is wrong.
            InputError: The options can't be used on this machine now.
        """
        part = self.callback(name)
        checked: object = structure(part.options, options, source=f"options of callback '{name}'")
        return part.factory(checked)

    # -- loading -----------------------------------------------------------------------

    def _candidates(self, name: str) -> list[_Package]:
        """Return the packages that may offer `name`: the one of that name, or else all."""
        named = [package for package in self._packages if name in package.names]
        return named or self._packages

    def _find(
        self, kind: str, name: str, table: Callable[[_Package], Mapping[str, PartT]]
    ) -> PartT:
        candidates = self._candidates(name)
        for package in candidates:
            self._load(package)
            if name in table(package):
                return table(package)[name]
        if reason := self.why_skipped(name):
            raise PluginError(name, reason)
        raise PluginError(name, f"no {kind} of this name is installed; {self._hint(kind, name)}")

    def _hint(self, kind: str, name: str) -> str:
        """Return what may be meant by a name that no part of this kind has."""
        self._load_all()
        for package in self._packages:
            for other, table in package.tables().items():
                if name in table:
                    return f"there is a {other} of this name, in {package.package}"
        hint = nearest(
            name, [each for package in self._packages for each in package.tables()[kind]]
        )
        skipped = [package.name for package in self._packages if package.skipped]
        if not skipped:
            return hint
        return f"{hint} ('damon plugins' tells why {', '.join(skipped)} can't be used)"

    def _load_named(self, first: str) -> None:
        """Load the packages that have an entry point whose name begins so, up to a dot."""
        for package in self._packages:
            if any(name.split(".")[0] == first for name in package.names):
                self._load(package)

    def _load_all(self) -> None:
        for package in self._packages:
            self._load(package)

    def _load(self, package: _Package) -> None:
        if package.loaded:
            return
        package.loaded = True
        try:
            package.collect()
            self._refuse_clashes(package)
        except PluginError as error:
            package.skipped = error.reason
            for table in package.tables().values():
                table.clear()

    def _refuse_clashes(self, package: _Package) -> None:
        for name in package.commands:
            if name in CORE_COMMANDS:
                raise PluginError(package.name, f"command '{name}' clashes with {_CORE}'s own")
        for kind, table in package.tables().items():
            for name in table:
                for other in self._packages:
                    if other is package:
                        continue
                    # An entry point reserves its name, so who wins doesn't depend on who is first.
                    reserved = other.reserves(kind, name) and (
                        not package.reserves(kind, name)
                        or self._packages.index(other) < self._packages.index(package)
                    )
                    if reserved or name in other.tables()[kind]:
                        raise PluginError(
                            package.name,
                            f"{kind} '{name}' clashes with {other.package} ({other.name})",
                        )
