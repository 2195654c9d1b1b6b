"""`damon doctor`: what works on this machine, and what is missing for the rest."""

import json
from collections.abc import Callable, Iterable, Sequence

import attrs
import pytest
from attrs import frozen
from click.testing import CliRunner, Result
from damon_cli.main import main

from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    Callback,
    Finding,
    Plugins,
    Policy,
    Primitive,
    hookimpl,
)

GOOD = Finding("kernel option", True, "CONFIG_GOOD=y")
LACKING = "none that serves it is installed"
BAD = Finding("privilege", False, "CAP_SYS_ADMIN; run as root")


def package(*parts: Primitive | Backend | Policy | Callback) -> Plugins:
    """Return a manager with some parts."""

    class Package:
        @hookimpl
        def register_primitives(self, register: Callable[[object], None]) -> None:
            self._offer(register, Primitive)

        @hookimpl
        def register_backends(self, register: Callable[[object], None]) -> None:
            self._offer(register, Backend)

        @hookimpl
        def register_policies(self, register: Callable[[object], None]) -> None:
            self._offer(register, Policy)

        @hookimpl
        def register_callbacks(self, register: Callable[[object], None]) -> None:
            self._offer(register, Callback)

        def _offer(self, register: Callable[[object], None], kind: type) -> None:
            for part in parts:
                if isinstance(part, kind):
                    register(part)

    return Plugins({"package": Package()})


def doctor(plugins: Plugins, *args: str) -> Result:
    """Run the command, which succeeds whatever it finds."""
    result = CliRunner().invoke(main, ["doctor", *args], obj=plugins)
    assert result.exit_code == 0
    assert result.stderr == ""
    return result


def diagnosed(*parts: Primitive | Backend | Policy | Callback) -> list[dict[str, object]]:
    """Return the JSON that the command prints."""
    found: list[dict[str, object]] = json.loads(doctor(package(*parts), "--json").stdout)
    return found


def backend(name: str, *findings: Finding) -> Backend:
    """Return a backend that finds something."""
    return Backend(name, dict, serves=("p",), probe=lambda: findings)


def test_nothing_to_find_works() -> None:
    """A part that needs nothing of the machine works."""
    assert diagnosed(Primitive("p", dict, summary="Memory")) == [
        {
            "kind": "primitive",
            "name": "p",
            "summary": "Memory",
            "works": True,
            "findings": [],
            "backends": [],
        }
    ]


def test_what_is_missing_is_told() -> None:
    """One finding that is missing is enough not to work, and all are reported."""
    (found,) = diagnosed(Callback("c", dict, probe=lambda: (GOOD, BAD)))
    assert found["works"] is False
    assert found["findings"] == [
        attrs.asdict(GOOD),
        attrs.asdict(BAD),
    ]


def test_what_is_not_required_only_limits() -> None:
    """A part works, with limits, without what it doesn't require."""
    limit = Finding("processes of others", False, "run as root", required=False)
    part = Callback("c", dict, probe=lambda: (limit,))
    assert diagnosed(part)[0]["works"] is True
    assert "callback c: works, with limits" in doctor(package(part)).stdout


@pytest.mark.parametrize(
    ("backends", "works"),
    [
        ([backend("good", GOOD), backend("bad", BAD)], True),
        ([backend("bad", BAD), backend("worse", BAD)], False),
    ],
)
def test_a_primitive_needs_one_backend(backends: list[Backend], works: bool) -> None:
    """A primitive with backends works if one of them does."""
    (found,) = diagnosed(Primitive("p", dict), *backends)
    assert found["works"] is works


@frozen
class Choice:
    """The options of a primitive that has to have a backend."""

    backend: BackendOption = AUTO


def test_a_primitive_without_a_backend_does_not_work() -> None:
    """Whoever lets a backend be chosen needs one; without that option none is needed."""
    (found,) = diagnosed(Primitive("p", dict, Choice))
    assert found["works"] is False
    assert found["findings"] == [attrs.asdict(Finding("a backend", False, LACKING))]
    assert diagnosed(Primitive("p", dict))[0]["works"] is True


def test_a_backend_is_probed_for_each_primitive() -> None:
    """What works for one primitive needn't for another: a probe may ask which it is for."""

    def probe(primitive: str = "") -> Sequence[Finding]:
        return (Finding("an operation", primitive == "p", primitive),)

    both = Backend("b", dict, serves=("p", "q"), probe=probe)
    found = diagnosed(Primitive("p", dict), Primitive("q", dict), both)
    assert [(each["name"], each["works"]) for each in found] == [("p", True), ("q", False)]


def test_policies_are_probed() -> None:
    """Policies come behind primitives and before callbacks, with what they find."""
    found = diagnosed(
        Callback("c", dict), Policy("e", dict, probe=lambda: (BAD,)), Primitive("p", dict)
    )
    assert [(each["kind"], each["name"], each["works"]) for each in found] == [
        ("primitive", "p", True),
        ("policy", "e", False),
        ("callback", "c", True),
    ]


def _raises() -> Iterable[Finding]:
    raise OSError("two\nlines")


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (_raises, "failed: OSError: two lines"),
        (lambda: None, "failed: TypeError: 'NoneType' object is not iterable"),
        (lambda: ["good"], "failed: AttributeError: 'str' object has no attribute 'works'"),
    ],
)
def test_a_probe_that_fails(probe: Callable[[], list[Finding]], reason: str) -> None:
    """A probe with a bug is a finding about its part alone."""
    found = diagnosed(Callback("c", dict, probe=probe), Callback("d", dict))
    assert [each["works"] for each in found] == [False, True]
    assert found[0]["findings"] == [attrs.asdict(Finding("probe", False, reason))]


def test_packages_that_cannot_be_used() -> None:
    """A package that is skipped is reported, with the reason."""
    plugins = Plugins({"odd": type("Odd", (), {"initt": hookimpl(lambda self: None)})()})
    (found,) = json.loads(doctor(plugins, "--json").stdout)
    assert (found["kind"], found["name"], found["works"]) == ("plugin", "odd", False)
    assert "implements 'initt', which is not a hook" in found["findings"][0]["detail"]


def test_for_people() -> None:
    """Lines for people: each part, each finding, unbroken however long."""
    long = Finding("file", False, "x" * 200 + "[bold] :smile:")
    plugins = package(Primitive("p", dict, summary="Memory"), backend("b", GOOD, long))
    assert doctor(plugins).stdout.splitlines() == [
        "primitive p: does not work (Memory)",
        "    backend b: does not work",
        "        ok      kernel option: CONFIG_GOOD=y",
        f"        missing file: {long.detail}",
    ]
