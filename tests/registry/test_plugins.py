"""Packages of plugins: found, named, imported when used, and skipped alone.

The distributions are real: metadata and modules in a directory of the path, as pip leaves them.
"""

import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest

import tests
from damon_core import (
    AUTO,
    Backend,
    Callback,
    Context,
    InputError,
    NoOptions,
    PluginError,
    PluginInfo,
    Plugins,
    Policy,
    Primitive,
    RecordFormat,
    RegionLimits,
    format_of,
    hookimpl,
    make_backend,
)
from damon_core.policies.kernel import KernelPolicy

FORMAT = """
from damon_core import RecordFormat, hookimpl

@hookimpl
def register_formats(register):
    register(RecordFormat('{0}', ('.{0}',), dict, dict))
"""

OFFER = """
from damon_core import Backend, Callback, Policy, Primitive, hookimpl

@hookimpl
def register_{kinds}(register):
    register({part})
"""


def offering(kind: str, part: str) -> str:
    """Return the source of a module that registers one part."""
    kinds = "policies" if kind == "policy" else f"{kind}s"
    return OFFER.format(kinds=kinds, part=part)


class Site:
    """A directory of installed distributions, each with one module of its name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.modules: list[str] = []

    def install(
        self, name: str, source: str, *entries: str, requires: str = "", version: str = "0.1"
    ) -> str:
        """Install a distribution with a module and entry points; return the module's name."""
        module = name.replace("-", "_")
        (self._path / f"{module}.py").write_text(dedent(source))
        info = self._path / f"{module}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        if requires:
            metadata += f"Requires-Dist: {requires}\n"
        (info / "METADATA").write_text(metadata)
        lines = [entry if "=" in entry else f"{entry} = {module}" for entry in entries]
        (info / "entry_points.txt").write_text("\n".join(["[damon]", *lines, ""]))
        self.modules.append(module)
        return module

    def imported(self) -> list[str]:
        """Return those of its modules that were imported."""
        return [module for module in self.modules if module in sys.modules]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A directory of distributions on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    site = Site(tmp_path)
    yield site
    for module in site.modules:
        sys.modules.pop(module, None)


def info_of(plugins: Plugins, package: str) -> PluginInfo:
    """Return what is known of a distribution."""
    (info,) = (info for info in plugins.infos() if info.package.split()[0] == package)
    return info


def given(**hooks: Callable[..., None]) -> SimpleNamespace:
    """Return a plugin object with the hooks given, marked as implementations."""
    return SimpleNamespace(**{name: hookimpl(hook) for name, hook in hooks.items()})


class TestDiscovery:
    def test_nothing_is_imported_by_discovery(self, site: Site) -> None:
        """Looking for packages reads their metadata only."""
        site.install("t-lazy", offering("primitive", "Primitive('t1', dict)"), "t1")
        Plugins.discover()
        assert site.imported() == []

    def test_a_package_is_imported_when_its_name_is_used(self, site: Site) -> None:
        """Of two packages only the one whose entry point has the name is imported."""
        used = site.install("t-used", offering("callback", "Callback('t2', dict)"), "t2")
        site.install("t-unused", offering("callback", "Callback('t3', dict)"), "t3")
        assert Plugins.discover().callback("t2").name == "t2"
        assert site.imported() == [used]

    def test_a_name_that_is_entered_twice_is_one(self, site: Site) -> None:
        """As when a package is installed in an environment and in another that it sees."""
        source = offering("callback", "Callback('t40', dict)")
        module = site.install("t-twice", source, "t40", "t40")
        plugins = Plugins.discover()
        assert plugins.callback("t40").name == "t40"
        assert info_of(plugins, "t-twice").name == "t40"
        assert site.imported() == [module]

    def test_a_policy_is_imported_when_its_name_is_used(self, site: Site) -> None:
        """Policies of other packages are found like callbacks."""
        used = site.install("t-policy", offering("policy", "Policy('t30', dict)"), "t30")
        site.install("t-unused", offering("policy", "Policy('t31', dict)"), "t31")
        assert Plugins.discover().policy("t30").name == "t30"
        assert site.imported() == [used]

    def test_backends_are_imported_with_their_primitive(self, site: Site) -> None:
        """PRIMITIVE.BACKEND is imported when the backends of the primitive are looked for."""
        backend = offering("backend", "Backend('b1', dict, serves=['t6'])")
        wanted = site.install("t-b1", backend, "t6.b1")
        site.install("t-b2", backend.replace("t6", "t7"), "t7.b1")
        assert list(Plugins.discover().backends("t6")) == ["b1"]
        assert site.imported() == [wanted]

    def test_formats_are_imported_when_formats_are_looked_for(self, site: Site) -> None:
        """format.NAME is imported to choose among the formats of records, nothing else."""
        wanted = site.install("t-f1", FORMAT.format("t32"), "format.t32")
        site.install("t-other2", offering("callback", "Callback('t33', dict)"), "t33")
        assert [each.name for each in Plugins.discover().formats() if each.name == "t32"] == ["t32"]
        assert wanted in site.imported()
        assert "t_other2" not in site.imported()

    def test_a_format_needs_its_entry_point(self, site: Site) -> None:
        """Otherwise it would be found only after something else loaded the package."""
        site.install("t-hidden", FORMAT.format("t34"), "t34")
        reason = "format 't34' needs an entry point 'format.t34'"
        assert info_of(Plugins.discover(), "t-hidden").skipped == reason

    def test_listing_imports_all(self, site: Site) -> None:
        """What packages offer is known only by importing them."""
        site.install("t-one", offering("callback", "Callback('t8', dict)"), "t8")
        site.install("t-two", offering("callback", "Callback('t9', dict)"), "t9")
        infos = Plugins.discover().infos()
        assert site.imported() == ["t_one", "t_two"]
        assert {"t8", "t9"} <= {name for info in infos for name in info.callbacks}

    def test_a_name_without_entry_point_is_looked_for_everywhere(self, site: Site) -> None:
        """A package may offer more than its entry points say."""
        site.install("t-more", offering("primitive", "Primitive('t10-more', dict)"), "t10")
        assert Plugins.discover().primitive("t10-more").name == "t10-more"

    def test_several_entry_points_of_one_object_are_one_package(self, site: Site) -> None:
        """One module under several names is listed once, called by its plain name first."""
        source = offering("backend", "Backend('b', dict, serves=['t11', 'a'])")
        site.install("t-many", source, "a.b", "t11")
        info = info_of(Plugins.discover(), "t-many")
        assert (info.name, info.skipped, info.backends) == ("t11, a.b", "", ("t11.b", "a.b"))

    def test_the_preferred_backend_is_first(self, site: Site) -> None:
        """Backends come in the order of preference, whatever their names."""
        plain = offering("backend", "Backend('a', dict, serves=['t12'])")
        better = offering("backend", "Backend('z', dict, serves=['t12'], preference=5)")
        site.install("t-plain", plain, "t12.a")
        site.install("t-better", better, "t12.z")
        assert list(Plugins.discover().backends("t12")) == ["z", "a"]


BROKEN = {
    "missing module": ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
    "syntax": ("def", "can't be imported: SyntaxError"),
    "exits": ("raise SystemExit(3)", "can't be imported: SystemExit: 3"),
    "long message": ("raise ValueError('one\\ntwo')", "can't be imported: ValueError: one two"),
    "misspelt hook": (
        "from damon_core import hookimpl\n@hookimpl\ndef register_primitive(register): pass",
        "implements 'register_primitive', which is not a hook; did you mean 'register_primitives'?",
    ),
    "misspelt argument": (
        "from damon_core import hookimpl\n@hookimpl\ndef register_primitives(add): pass",
        "'register_primitives' wants 'add', which nobody gives: 'register_primitives' may take ",
    ),
    "raises": (offering("callback", "1 / 0"), "fails to register: ZeroDivisionError"),
    "exits late": (offering("callback", "exit('no')"), "fails to register: SystemExit: no"),
    "not a primitive": (
        offering("primitive", "'t'"),
        "TypeError: register_primitives takes a Primitive, not 't'",
    ),
    "callback among policies": (
        offering("policy", "Callback('t', dict)"),
        "TypeError: register_policies takes a Policy, not Callback(",
    ),
    "callback among primitives": (
        offering("primitive", "Callback('t', dict)"),
        "register_primitives takes a Primitive, not Callback(",
    ),
    "odd name": (
        offering("primitive", "Primitive('a b', dict)"),
        "a name must be of letters, digits, '_' and '-', not 'a b'",
    ),
    "odd factory": (offering("primitive", "Primitive('t', None)"), "'factory' must be callable"),
    "odd options": (
        offering("primitive", "Primitive('t', dict, {'a': 1})"),
        "options must be an attrs class, not {'a': 1}",
    ),
    "serves a string": (
        offering("backend", "Backend('t', dict, serves='vaddr')"),
        "serves must be a sequence of primitives' names, not 'vaddr'",
    ),
    "hidden backend": (
        offering("backend", "Backend('t', dict, serves=['other'])"),
        "backend 't' serves 'other', so the package needs an entry point 'other.t'",
    ),
    "twice": (
        offering("callback", "Callback('t', dict)") + "    register(Callback('t', dict))",
        "registers callback 't' twice",
    ),
    "a backend twice": (
        offering("backend", "Backend('b', dict, serves=['t-broken', 't-broken'])"),
        "registers backend 't-broken.b' twice",
    ),
}


class TestSkipped:
    @pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
    def test_listed_with_the_reason(self, site: Site, source: str, reason: str) -> None:
        """A package that can't be used offers nothing, says why in one line, and hurts nobody."""
        site.install("t-broken", source, "t-broken")
        site.install("t-good", offering("callback", "Callback('t-good', dict)"), "t-good")
        plugins = Plugins.discover()
        info = info_of(plugins, "t-broken")
        assert reason in info.skipped
        assert "\n" not in info.skipped
        assert (info.primitives, info.backends, info.policies) == ((), (), ())
        assert (info.callbacks, info.formats) == ((), ())
        assert info_of(plugins, "t-good").callbacks == ("t-good",)

    @pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
    def test_an_error_when_asked_for(self, site: Site, source: str, reason: str) -> None:
        """Asking for it by name gives the same reason."""
        site.install("t-broken", source, "t-broken")
        with pytest.raises(PluginError) as caught:
            Plugins.discover().primitive("t-broken")
        assert caught.value.message.startswith("plugin 't-broken': ")
        assert reason in caught.value.reason

    @pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
    def test_its_backend_says_why(self, site: Site, source: str, reason: str) -> None:
        """Who names it isn't left without a reason."""
        site.install("t-broken", source, "t-space.ears")
        backends = Plugins.discover().backends("t-space")
        with pytest.raises(PluginError) as caught:
            make_backend("t-space", "ears", backends)
        assert caught.value.reason.startswith(
            "backend 'ears' doesn't work here: its package t-space.ears ("
        )
        assert reason in caught.value.reason

    def test_its_backend_is_never_chosen(self, site: Site) -> None:
        """Whatever else there is, comes first."""
        site.install("t-broken", BROKEN["exits"][0], "t-space.ears")
        part = "Backend('eyes', lambda options: 'eyes', serves=('t-space',), preference=-1000)"
        site.install("t-good", offering("backend", part), "t-space.eyes")
        assert make_backend("t-space", AUTO, Plugins.discover().backends("t-space")) == "eyes"

    @pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
    def test_its_format_says_why(self, site: Site, source: str, reason: str) -> None:
        """Who gives a file of it isn't left without a reason."""
        site.install("t-broken", source, "format.t-rows")
        found = format_of(Path("a.t-rows"), Plugins.discover().formats())
        with pytest.raises(PluginError) as caught:
            found.read(Path("a.t-rows"))
        assert reason in caught.value.reason

    def test_another_core_is_needed(self, site: Site) -> None:
        """A package for another version of the core isn't even imported."""
        source = offering("callback", "Callback('t20', dict)")
        site.install("t-future", source, "t20", requires="damon_core >=99,<100")
        with pytest.raises(PluginError, match=r"needs damon-core <100,>=99, but this is damon-co"):
            Plugins.discover().callback("t20")
        assert site.imported() == []

    @pytest.mark.parametrize(
        ("requires", "reason"),
        [
            ("no-such>=3", "needs no-such, which isn't installed: pip install 'no-such>=3'"),
            ("numpy>=99", "needs numpy >=99, but {numpy} is installed: pip install 'numpy>=99'"),
            (
                "damon-core>=99\nRequires-Dist: no-such",
                "needs damon-core >=99, but this is damon-core {core}; needs no-such, which isn't "
                "installed: pip install 'no-such'",
            ),
        ],
    )
    def test_what_it_requires_is_named(self, site: Site, requires: str, reason: str) -> None:
        """All that is missing or of another version, before anything is imported."""
        source = offering("callback", "Callback('t44', dict)")
        site.install("t-needy", source, "t44", requires=requires)
        core, numpy = metadata.version("damon-core"), metadata.version("numpy")
        expected = reason.format(core=core, numpy=numpy)
        assert info_of(Plugins.discover(), "t-needy").skipped == expected
        assert site.imported() == []

    @pytest.mark.parametrize(
        "requires",
        ["damon-core>=0.0", "other>=99; extra == 'x'", "other; python_version < '3'", "?? rubbish"],
    )
    def test_requirements_that_do_not_matter(self, site: Site, requires: str) -> None:
        """Those that are met, those of extras and of other machines, and what is none."""
        source = offering("callback", "Callback('t21', dict)")
        site.install("t-present", source, "t21", requires=requires)
        assert info_of(Plugins.discover(), "t-present").skipped == ""

    def test_an_entry_point_reserves_its_name(self, site: Site) -> None:
        """The package whose entry point has the name wins, even if it is loaded later."""
        site.install("t-a-thief", offering("callback", "Callback('t22', dict)"), "a-thief")
        site.install("t-owner", offering("callback", "Callback('t22', dict)"), "t22")
        plugins = Plugins.discover()
        assert info_of(plugins, "t-a-thief").contested == (
            "callback 't22' is also offered by t-owner 0.1 (t22)",
        )
        assert info_of(plugins, "t-owner").callbacks == ("t22",)

    def test_two_packages_with_the_same_entry_point(self, site: Site) -> None:
        """Nobody decides by the alphabet: using the name is an error that names both."""
        for name in ("t-first", "t-second"):
            site.install(name, offering("callback", "Callback('t23', dict)"), "t23")
        with pytest.raises(PluginError) as caught:
            Plugins.discover().callback("t23")
        assert caught.value.reason == (
            "callback 't23' is offered by t-first 0.1 and t-second 0.1: "
            "uninstall all of them but one"
        )

    def test_what_else_the_two_offer_works(self, site: Site) -> None:
        """Only the contested name can't be used."""
        for name in ("t-first", "t-second"):
            code = offering("callback", "Callback('t23', dict)")
            site.install(name, f"{code}\n    register(Callback('{name}', dict))", "t23", name)
        plugins = Plugins.discover()
        assert plugins.callback("t-first").name == "t-first"
        assert plugins.callback("t-second").name == "t-second"
        assert info_of(plugins, "t-first").callbacks == ("t-first",)

    def test_contested_names_are_listed(self, site: Site) -> None:
        """Each package says which name it shares with whom."""
        for name in ("t-first", "t-second"):
            site.install(name, offering("callback", "Callback('t23', dict)"), "t23")
        assert info_of(Plugins.discover(), "t-first").contested == (
            "callback 't23' is also offered by t-second 0.1 (t23)",
        )

    def test_contested_backends(self, site: Site) -> None:
        """The automatic choice leaves them out with the reason; so do those who ask for one."""
        for name in ("t-first", "t-second"):
            backend = offering("backend", "Backend('b', dict, serves=['t24'])")
            site.install(name, backend, "t24.b")
        backends = Plugins.discover().backends("t24")
        for wanted in ("auto", "b"):
            with pytest.raises(PluginError, match=r"offered by t-first 0\.1 and t-second 0\.1"):
                make_backend("t24", wanted, backends)

    def test_contested_formats(self, site: Site) -> None:
        """A record isn't read by whichever package comes first."""
        code = offering("format", "RecordFormat('t30', ('.t30',), open, open)")
        code = f"from damon_core import RecordFormat\n{code}"
        for name in ("t-first", "t-second"):
            site.install(name, code, "format.t30")
        found = format_of(Path("a.t30"), Plugins.discover().formats())
        with pytest.raises(PluginError, match=r"offered by t-first 0\.1 and t-second 0\.1"):
            found.read(Path("a.t30"))

    @pytest.mark.parametrize("packages", [1, 2])
    def test_backends_of_different_primitives_share_a_name(self, site: Site, packages: int) -> None:
        """A backend is known by its primitive's name and its name, also within one package."""
        one = offering("backend", "Backend('b', dict, serves=['t28'])")
        other = "    register(Backend('b', list, serves=['t29']))"
        if packages == 1:
            site.install("t-both", one + other, "t28.b", "t29.b")
        else:
            site.install("t-one", one, "t28.b")
            site.install("t-other", offering("backend", other.strip()[9:-1]), "t29.b")
        plugins = Plugins.discover()
        assert {info.skipped for info in plugins.infos()} == {""}
        assert plugins.backends("t28")["b"].factory is dict
        assert plugins.backends("t29")["b"].factory is list

    def test_a_backend_may_be_called_like_another_package(self, site: Site) -> None:
        """Names of backends are behind those of their primitives."""
        site.install("t-a-policy", offering("policy", "Policy('t27', dict)"), "t27")
        site.install(
            "t-backend", offering("backend", "Backend('t27', dict, serves=['x'])"), "x.t27"
        )
        plugins = Plugins.discover()
        assert list(plugins.backends("x")) == ["t27"]
        assert info_of(plugins, "t-a-policy").policies == ("t27",)

    def test_an_entry_point_to_nowhere(self, site: Site) -> None:
        """An entry point may name what the module doesn't have."""
        site.install("t-nowhere", "", "t25 = t_nowhere:plugin")
        assert "AttributeError" in info_of(Plugins.discover(), "t-nowhere").skipped

    def test_two_versions_on_the_path(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is found twice on the path is used once, as by Python: the first."""
        site.install("t-twice", offering("callback", "Callback('t26', dict)"), "t26")
        first = tmp_path / "first"
        first.mkdir()
        Site(first).install(
            "t-twice", offering("callback", "Callback('t26', dict)"), "t26", version="0.2"
        )
        monkeypatch.syspath_prepend(first)
        info = info_of(Plugins.discover(), "t-twice")
        assert (info.package, info.skipped) == ("t-twice 0.2", "")


class TestNotFound:
    def test_the_nearest_name_is_hinted_at(self) -> None:
        """A misspelt name is reported with the nearest one."""
        plugin = given(register_primitives=lambda register: register(Primitive("vaddr", dict)))
        with pytest.raises(PluginError, match=r"no primitive of this name .*mean 'vaddr'\?"):
            Plugins({"mine": plugin}).primitive("vadr")

    def test_a_part_of_another_kind_is_hinted_at(self) -> None:
        """A callback asked for as a primitive is reported to be a callback."""
        plugin = given(register_callbacks=lambda register: register(Callback("csv", dict)))
        with pytest.raises(PluginError, match="there is a callback of this name"):
            Plugins({"csv": plugin}).primitive("csv")

    def test_a_backend_asked_for_as_a_primitive_is_hinted_at(self) -> None:
        """It is found by its name, whichever primitive it serves."""
        backend = Backend("idle", dict, serves=("p",))
        plugin = given(register_backends=lambda register: register(backend))
        with pytest.raises(PluginError, match="there is a backend of this name"):
            Plugins({"mine": plugin}).primitive("idle")

    def test_skipped_packages_are_hinted_at(self) -> None:
        """What is missing may be in a package that can't be used."""
        plugins = Plugins({"broken": given(no_hook=lambda: None)})
        with pytest.raises(PluginError, match=r"\('damon plugins' says why broken can't be used"):
            plugins.primitive("elsewhere")


class TestGiven:
    def test_nothing_but_its_own(self) -> None:
        """A manager made with plugins knows these and no installed ones."""
        plugin = given(
            register_primitives=lambda register: register(Primitive("p", dict)),
            register_backends=lambda register: register(Backend("b", dict, serves=("p",))),
            register_policies=lambda register: register(Policy("e", dict)),
            register_callbacks=lambda register: register(Callback("c", dict)),
            register_formats=lambda register: register(
                RecordFormat("f", (".f",), lambda path: NotImplemented, lambda *_: NotImplemented)
            ),
        )
        assert Plugins({"mine": plugin}).infos() == [
            PluginInfo("mine", "(given)", "", ("p",), ("p.b",), ("e",), ("c",), ("f",))
        ]

    def test_without_plugins_there_is_nothing(self) -> None:
        """There is no global manager behind an empty one."""
        assert Plugins().infos() == []

    def test_backends_of_given_plugins_are_found(self) -> None:
        """Given plugins need no entry point to serve a primitive."""
        plugin = given(
            register_backends=lambda register: register(Backend("b", dict, serves=("p",)))
        )
        assert list(Plugins({"mine": plugin}).backends("p")) == ["b"]

    def test_managers_know_nothing_of_each_other(self) -> None:
        """Two managers of the same plugin are two."""
        plugin = given(register_callbacks=lambda register: register(Callback("c", dict)))
        one, other = Plugins({"one": plugin}), Plugins({"other": plugin})
        assert [info.skipped for info in one.infos() + other.infos()] == ["", ""]


class TestMaking:
    def test_a_primitive_gets_options_and_backends(self) -> None:
        """The factory of a primitive is called with checked options and its backends."""
        backend = Backend("b", dict, serves=("p",))
        plugin = given(
            register_primitives=lambda register: register(
                Primitive("p", lambda options, backends: (options, backends))
            ),
            register_backends=lambda register: register(backend),
        )
        made = Plugins({"mine": plugin}).make_primitive("p", {})
        assert made == (NoOptions(), {"b": backend})

    def test_a_callback_gets_options(self) -> None:
        """The factory of a callback is called with checked options."""
        plugin = given(register_callbacks=lambda register: register(Callback("c", lambda o: [o])))
        assert Plugins({"mine": plugin}).make_callback("c", {}) == [NoOptions()]

    def test_a_part_without_a_probe_needs_nothing(self) -> None:
        """Its findings are none, so that it works everywhere."""
        assert list(Callback("c", dict).probe()) == []

    def test_wrong_options_name_the_part(self) -> None:
        """The source of a mistake is the part whose option it is."""
        plugin = given(register_callbacks=lambda register: register(Callback("c", dict)))
        with pytest.raises(InputError, match=r"^options of callback 'c': x: unknown key; none"):
            Plugins({"mine": plugin}).make_callback("c", {"x": 1})

    def test_a_policy_gets_options(self) -> None:
        """The factory of a policy is called with checked options, for each context anew."""
        plugin = given(register_policies=lambda register: register(Policy("e", lambda o: [o])))
        plugins = Plugins({"mine": plugin})
        made: object = plugins.make_policy("e", {})
        assert made == [NoOptions()]
        assert plugins.make_policy("e", {}) is not plugins.make_policy("e", {})

    def test_wrong_options_name_the_policy(self) -> None:
        """The source of a mistake is the policy whose option it is."""
        plugin = given(register_policies=lambda register: register(Policy("e", dict)))
        with pytest.raises(InputError, match=r"^options of policy 'e': x: unknown key; none"):
            Plugins({"mine": plugin}).make_policy("e", {"x": 1})


def core_metadata() -> str:
    """Return the entry points that the core declares, as an installed package has them."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    entries = project["entry-points"]["damon"].items()
    return "\n".join(["[damon]", *(f"{name} = {value}" for name, value in entries), ""])


class TestCore:
    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Metadata of the core as its pyproject.toml says, whatever is installed here."""
        info = tmp_path / "core" / "damon_core-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: damon-core\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(core_metadata())
        monkeypatch.syspath_prepend(info.parent)

    def test_its_policies_are_found_as_any_others(self) -> None:
        """The core is a package among others, with one name for each policy."""
        info = info_of(Plugins.discover(), "damon-core")
        assert (info.name, info.skipped) == ("evidence, kernel", "")
        assert info.policies == ("evidence", "kernel")

    @pytest.mark.parametrize("name", ["evidence", "kernel"])
    def test_its_policies_can_be_used(self, name: str) -> None:
        """Each is made of its own options, which are checked, and can begin a run."""
        plugins = Plugins.discover()
        policy = plugins.make_policy(name, {"seed": 5})
        policy.begin(RegionLimits())
        Context(object(), policy=policy)
        with pytest.raises(InputError, match=r"seed: found 'x', must be a whole number"):
            plugins.make_policy(name, {"seed": "x"})

    def test_kernel_is_linux_s(self) -> None:
        """The name `kernel` is that of the policy that follows Linux."""
        assert isinstance(Plugins.discover().make_policy("kernel", {}), KernelPolicy)

    def test_its_names_cannot_be_taken(self, site: Site) -> None:
        """A package with the same entry point is skipped, even if its name sorts before."""
        site.install("a-thief", offering("policy", "Policy('kernel', dict)"), "kernel")
        plugins = Plugins.discover()
        (line,) = info_of(plugins, "a-thief").contested
        assert line.startswith("policy 'kernel' is also offered by damon-core ")
        assert info_of(plugins, "damon-core").policies == ("evidence", "kernel")


class TestOf:
    """What some distributions offer."""

    def test_a_distribution_offers_what_it_registers(self) -> None:
        """Its hooks may be in any module: the entry point names it."""
        plugins = Plugins.of("damon-csv")
        assert plugins.callback("csv").name == "csv"

    def test_others_offer_nothing(self) -> None:
        """But the core."""
        names = [name for info in Plugins.of("damon-csv").infos() for name in info.policies]
        assert names == ["evidence", "kernel"]
        assert [name for info in Plugins.of("damon-csv").infos() for name in info.callbacks] == [
            "csv"
        ]

    def test_one_that_offers_nothing_is_refused(self) -> None:
        """With what to do."""
        with pytest.raises(PluginError, match=r"damon-none.*pip install -e \."):
            Plugins.of("damon-none")

    def test_a_module_without_hooks_is_refused(self) -> None:
        """It would offer nothing, and nobody would know why."""
        with pytest.raises(PluginError, match="module tests has no registration hook"):
            Plugins({"tests": tests})
