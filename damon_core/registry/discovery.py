"""What is installed. There is no global manager: make one, pass it on.

Packages are found through the entry-point group ``damon`` and imported only when used or
listed. The names of entry points say what for, without importing:

- ``NAME`` is imported when a primitive, policy or callback of that name is used;
- ``format.NAME`` when the formats of records are looked for;
- ``PRIMITIVE.BACKEND`` when the backends of a primitive are looked for: a backend that serves
  primitives of other packages needs one such name for each.

A name that no entry point has is looked for in all packages. What the core itself offers is found
in the same way, and its names are its own. A name that two packages claim with equal right belongs
to neither: using it is an error that names both, and everything else of both works.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeVar, cast

from attrs import evolve
from packaging.utils import canonicalize_name

from damon_core.contract.implementations import marked, not_an_object
from damon_core.contract.policy import RegionPolicy
from damon_core.contract.records import RecordFormat
from damon_core.contract.registration import (
    Backend,
    Callback,
    Finding,
    NoOptions,
    Policy,
    Primitive,
    is_name,
)
from damon_core.errors import PluginError
from damon_core.registry.options import nearest, structure
from damon_core.registry.packages import (
    FORMAT,
    GROUP,
    Package,
    PluginInfo,
    backend_key,
    installed_packages,
)
from damon_core.registry.requirements import CORE

PartT = TypeVar("PartT", Primitive, Policy, Callback)


class Plugins:
    """What can be used: packages, and the parts and formats that they offer.

    Args:
        plugins: The plugins and nothing else, by name: modules or objects with registration
            hooks. `discover` takes the installed ones instead, and `of` those of distributions.

    Raises:
        PluginError: One has no registration hook, so it would offer nothing.
    """

    def __init__(self, plugins: Mapping[str, object] | None = None) -> None:
        self._packages = [
            Package([name], "(given)", lambda plugin=plugin: plugin)  # type: ignore[misc]
            for name, plugin in (plugins or {}).items()
        ]
        for name, plugin in (plugins or {}).items():
            if isinstance(plugin, ModuleType) and not any(True for _ in marked(plugin)):
                reason = (
                    f"module {plugin.__name__} has no registration hook: give the module that its "
                    "entry point names, or use Plugins.of with the distribution"
                )
                raise PluginError(name, reason)
        self._load_all()

    @classmethod
    def discover(cls) -> "Plugins":
        """Return the installed packages. Nothing is imported yet."""
        found = cls()
        found._packages = installed_packages()
        return found

    @classmethod
    def of(cls, *distributions: str) -> "Plugins":
        """Return what some installed distributions offer, and the core, but nothing else.

        For tests of a package: what it registers is found as users find it, by entry points.

        Args:
            distributions: Their names, as pip has them.

        Raises:
            PluginError: One isn't installed, or offers nothing by entry points.
        """
        wanted = {canonicalize_name(name): name for name in (CORE, *distributions)}
        found = cls()
        found._packages = [
            package
            for package in installed_packages()
            if canonicalize_name(package.origin.split(" ")[0]) in wanted
        ]
        there = {canonicalize_name(package.origin.split(" ")[0]) for package in found._packages}
        for key, name in wanted.items():
            if key not in there:
                reason = (
                    f"no distribution of this name with entry points in the group '{GROUP}' is "
                    "installed: install it (pip install -e .), again after they have changed"
                )
                raise PluginError(name, reason)
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
        """Return the backends that serve a primitive, by name, the preferred first.

        Those of packages that can't be used are there, too, and say why they don't work.
        """
        self._load_named(primitive)
        offered = [
            backend
            for key, backend in self._owned("backend", _refusing_backend)
            if key == backend_key(primitive, backend.name)
        ]
        offered.sort(key=lambda backend: -backend.preference)
        found = {backend.name: backend for backend in offered}
        for name, package in self._skipped(primitive):
            found.setdefault(name, _missing_backend(primitive, name, package))
        return found

    def formats(self) -> list[RecordFormat]:
        """Return the formats of records that there are.

        Those of packages that can't be used are there, too, and refuse with the reason.
        """
        self._load_named(FORMAT)
        found = [each for _, each in self._owned("format", _refusing_format)]
        taken = {suffix for each in found for suffix in each.suffixes}
        for name, package in self._skipped(FORMAT):
            if f".{name}" not in taken:
                found.append(_missing_format(name, package))
        return found

    def infos(self) -> list[PluginInfo]:
        """Import all packages and return what each offers, or why it is skipped."""
        self._load_all()
        return [self._info(package) for package in self._packages]

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
        return _object(name, part.factory(checked, self.backends(name)))

    def make_policy(self, name: str, options: Mapping[str, object]) -> RegionPolicy:
        """Return a new policy, for one context, with options as a configuration file has them.

        Raises:
            PluginError: The policy can't be found.
            ConfigError: An option is wrong.
            InputError: The options can't be used on this machine now.
        """
        part = self.policy(name)
        checked: object = structure(part.options, options, source=f"options of policy '{name}'")
        return cast(RegionPolicy, _object(name, part.factory(checked)))

    def make_callback(self, name: str, options: Mapping[str, object]) -> object:
        """Return a new callback with options as a configuration file has them.

        Raises:
            PluginError: The callback can't be found.
            ConfigError: An option is wrong.
            InputError: The options can't be used on this machine now.
        """
        part = self.callback(name)
        checked: object = structure(part.options, options, source=f"options of callback '{name}'")
        return _object(name, part.factory(checked))

    # -- loading -----------------------------------------------------------------------

    def _candidates(self, name: str) -> list[Package]:
        """Return the packages that may offer `name`: the one of that name, or else all."""
        named = [package for package in self._packages if name in package.names]
        return named or self._packages

    def _find(self, kind: str, name: str, table: Callable[[Package], Mapping[str, PartT]]) -> PartT:
        candidates = self._candidates(name)
        for package in candidates:
            self._load(package)
        claims = self._claims(kind, name)
        if len(claims) > 1:
            raise self._contest(kind, name)
        if claims:
            return table(claims[0])[name]
        for package in candidates:
            if package.skipped and name in package.names:
                raise PluginError(name, package.skipped)
        raise PluginError(name, f"no {kind} of this name is installed; {self._hint(kind, name)}")

    def _hint(self, kind: str, name: str) -> str:
        """Return what may be meant by a name that no part of this kind has."""
        self._load_all()
        for package in self._packages:
            for other, table in package.tables().items():
                if any(part.name == name for part in table.values()):
                    return f"there is a {other} of this name, in {package.origin}"
        hint = nearest(
            name, [each for package in self._packages for each in package.tables()[kind]]
        )
        skipped = [package.name for package in self._packages if package.skipped]
        if not skipped:
            return hint
        return f"{hint} ('damon plugins' says why {', '.join(skipped)} can't be used)"

    def _load_named(self, first: str) -> None:
        """Load the packages that have an entry point whose name begins so, up to a dot."""
        for package in self._packages:
            if any(name.split(".")[0] == first for name in package.names):
                self._load(package)

    def _load_all(self) -> None:
        for package in self._packages:
            self._load(package)

    def _load(self, package: Package) -> None:
        if package.loaded:
            return
        try:
            package.load()
        except PluginError as error:
            package.skip(error.reason)

    def _skipped(self, first: str) -> Iterator[tuple[str, Package]]:
        """Yield the packages that can't be used and have an entry point ``first.NAME``."""
        for package in self._packages:
            for key in package.names if package.skipped else ():
                before, dot, name = key.partition(".")
                if dot and before == first and is_name(name):
                    yield name, package

    # -- names that several packages claim ---------------------------------------------

    def _claims(self, kind: str, name: str) -> list[Package]:
        """Return the packages that a name belongs to: more than one if it is contested.

        The core's names are its own, and an entry point reserves its name.
        """
        offering = [package for package in self._packages if name in package.tables()[kind]]
        core = [package for package in offering if package.is_core]
        reserving = [package for package in offering if package.reserves(kind, name)]
        return core or reserving or offering

    def _owns(self, package: Package, kind: str, name: str) -> bool:
        """Return whether a name is this package's alone."""
        return self._claims(kind, name) == [package]

    def _contest(self, kind: str, name: str) -> PluginError:
        """Return the error of using a name that several packages claim."""
        origins = " and ".join(package.origin for package in self._claims(kind, name))
        return PluginError(
            name, f"{kind} '{name}' is offered by {origins}: uninstall all of them but one"
        )

    def _owned(
        self, kind: str, replace: Callable[[Any, PluginError], Any]
    ) -> list[tuple[str, Any]]:
        """Return all parts of a kind, each contested one once and replaced by what refuses."""
        found: dict[str, Any] = {}
        for package in self._packages:
            for name, part in package.tables()[kind].items():
                claims = self._claims(kind, name)
                if claims == [package]:
                    found[name] = part
                elif package in claims:
                    found[name] = replace(part, self._contest(kind, name))
        return list(found.items())

    def _info(self, package: Package) -> PluginInfo:
        """Return what a package offers, and what of it others claim as well."""
        info = package.info()
        owned: dict[str, tuple[str, ...]] = {}
        contested = []
        for (kind, table), key in zip(package.tables().items(), _INFO_KEYS, strict=True):
            owned[key] = tuple(name for name in table if self._owns(package, kind, name))
            for name in table:
                others = [each for each in self._claims(kind, name) if each is not package]
                if others:
                    origins = ", ".join(f"{each.origin} ({each.name})" for each in others)
                    contested.append(f"{kind} '{name}' is also offered by {origins}")
        return PluginInfo(
            info.name, info.package, info.skipped, **owned, contested=tuple(contested)
        )


#: The attributes of `PluginInfo` by kind, in the order of `Package.tables`.
_INFO_KEYS = ("primitives", "backends", "policies", "callbacks", "formats")


def _refusing_backend(backend: Backend, contest: PluginError) -> Backend:
    """Return what stands for a backend that can't be used, because its name is contested."""

    def refuse(_options: object) -> object:
        raise contest

    return evolve(
        backend,
        factory=refuse,
        options=NoOptions,
        probe=lambda: [Finding("its name", False, contest.reason)],
        forecast=None,
    )


def _refusing_format(record_format: RecordFormat, contest: PluginError) -> RecordFormat:
    """Return what stands for a format that can't be used, because its name is contested."""

    def refuse(*_: object) -> Any:
        raise contest

    return evolve(record_format, read=refuse, write=refuse)


def _missing_backend(primitive: str, name: str, package: Package) -> Backend:
    """Return what stands for a backend whose package can't be used: the last to be chosen."""
    finding = Finding(f"its package {package.name}", False, package.skipped)

    def refuse(_options: object) -> object:
        raise PluginError(package.name, package.skipped)

    return Backend(
        name, refuse, serves=(primitive,), preference=-sys.maxsize, probe=lambda: [finding]
    )


def _missing_format(name: str, package: Package) -> RecordFormat:
    """Return what stands for a format whose package can't be used."""

    def refuse(*_: object) -> Any:
        raise PluginError(package.name, package.skipped)

    return RecordFormat(name, (f".{name}",), refuse, refuse, problem=package.skipped)


def _object(name: str, made: object) -> object:
    """Return what a factory made.

    Raises:
        PluginError: It is no object with hooks.
    """
    if (wrong := not_an_object(made)) is not None:
        raise PluginError(name, f"its factory returns {wrong}")
    return made
