"""`damon doctor`: what works on this machine, and what is missing for the rest."""

import json
from collections.abc import Callable, Iterable, Sequence

import attrs
import pytest
from attrs import field, frozen
from click.testing import CliRunner, Result
from damon_cli.main import main

from damon_core import (
    AUTO,
    AccumulatingSampling,
    Backend,
    BackendOption,
    Callback,
    Costs,
    Finding,
    Plugins,
    Policy,
    Primitive,
    TargetForecast,
    Toll,
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


# -- what monitoring would come to -----------------------------------------------------


@frozen
class ProcessOptions:
    """The options of a primitive for processes."""

    pid: int = 1
    descendants: bool = False


def foretold(options: ProcessOptions) -> Sequence[TargetForecast]:
    """Foretell processes: as many as the pid says."""
    facts = {"resident_bytes": 1 << 30, "mappings": 25}
    return [TargetForecast(f"db[{pid}]", facts=facts) for pid in range(options.pid)]


def costly(name: str, longest_us: int, preference: int = 0, missing: str = "") -> Backend:
    """Return a backend whose walks take a time."""
    return Backend(
        name,
        dict,
        serves=("vaddr",),
        preference=preference,
        probe=lambda: (Finding(missing, False),) if missing else (),
        forecast=lambda _: Costs(
            sampling=AccumulatingSampling,
            check_us=15_000,
            toll=Toll(100_000, 3 * longest_us, longest_us),
            facts={"look_us": longest_us},
        ),
    )


def processes(*backends: Backend) -> Plugins:
    """Return what has a primitive for processes."""
    return package(Primitive("vaddr", dict, ProcessOptions, forecast=foretold), *backends)


def test_a_forecast_for_people() -> None:
    """What is known of the process, a line a backend, what is chosen and why."""
    plugins = processes(costly("walker", 90_000), costly("other", 1, 9, missing="root"))
    lines = doctor(plugins, "--pid", "1").stdout.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["target", "resident", "mappings"],
        ["db[0]", "1.0", "GiB", "25"],
        [],
    ]
    assert [line.split()[0] for line in lines[3:6]] == ["backend", "other", "walker"]
    assert lines[4].rstrip().endswith("doesn't work")
    assert lines[5].split()[2:5:2] == ["max_stall", "90ms"]
    assert lines[7:] == [
        "'auto' takes walker, the only one that works here",
        "other: needs root",
        "walker: look 90ms",
        "walker: a walk is longer than max_stall (50ms), so it is made rarely; what would help: "
        "a higher --max-stall or a backend that doesn't work here yet",
    ]


def test_a_better_backend_is_named_where_walks_are_long() -> None:
    """Whoever would take the walker by its name learns what works as well."""
    lines = doctor(
        processes(costly("walker", 90_000), costly("fine", 1_000, 9)), "--pid", "1"
    ).stdout.splitlines()
    assert "'auto' takes fine, which is preferred to walker" in lines
    assert lines[-1].endswith("what would help: fine works here, too")


def test_what_depends_on_the_process_is_said() -> None:
    """How short intervals are if nothing is accessed."""
    lines = doctor(processes(costly("walker", 15_000)), "--pid", "1").stdout.splitlines()
    assert lines[-1].startswith("walker: an aggregation takes 11.5s if all memory is accessed")


def test_limits_are_those_given() -> None:
    """A stall that is allowed is none."""
    plugins = processes(costly("walker", 90_000))
    given = ["--max-stall", "1s", "--max-slowdown", "50%", "--cpu-budget", "1%", "--json"]
    found = json.loads(doctor(plugins, "--pid", "1", *given).stdout)
    assert found["limits"] == {
        "cpu_budget": 0.01,
        "max_slowdown": 0.5,
        "max_stall_us": 1_000_000,
        "max_staleness_us": 60_000_000,
    }
    (walker,) = found["backends"]
    assert (walker["stalls"], walker["expected"]["limit"]) == (False, "cpu_budget")


def test_a_forecast_for_programs() -> None:
    """Numbers with their units in their names; what isn't known is null."""
    plugins = processes(costly("walker", 90_000), costly("other", 1, 9, missing="root"))
    found = json.loads(doctor(plugins, "--pid", "2", "--json").stdout)
    assert found["targets"][1] == {"name": "db[1]", "resident_bytes": 1 << 30, "mappings": 25}
    assert found["auto"] == "walker"
    other, walker = found["backends"]
    assert (other["works"], other["missing"], other["expected"]) == (False, "root", None)
    assert walker["costs"] == {"look_us": 90_000}
    assert walker["expected"]["longest_stall_us"] == 90_000
    assert walker["expected"]["aggregation_us"] > 100_000


@frozen
class RuleOptions:
    """The options of a primitive for processes that a rule finds."""

    path: str = ""
    cgroups: tuple[str, ...] = ()
    match: dict[str, tuple[str, ...]] = field(factory=dict)
    exclude: dict[str, tuple[str, ...]] = field(factory=dict)
    descendants: bool = False


@pytest.mark.parametrize(
    ("args", "primitive", "options"),
    [
        (["--match", "comm=a*"], "vaddr", RuleOptions(match={"comm": ("a*",)})),
        (
            ["--match", "comm=a*", "--match", "comm=b", "--match", "user=c", "--exclude", "exe=d"],
            "vaddr",
            RuleOptions(match={"comm": ("a*", "b"), "user": ("c",)}, exclude={"exe": ("d",)}),
        ),
        (["--cgroup", "a", "--descendants"], "cgroup", RuleOptions("a", descendants=True)),
        (["--cgroup", "a/*"], "cgroup", RuleOptions(cgroups=("a/*",))),
        (
            ["--cgroup", "a", "--cgroup", "b", "--match", "comm=c"],
            "cgroup",
            RuleOptions(cgroups=("a", "b"), match={"comm": ("c",)}),
        ),
    ],
)
def test_rules_are_those_of_record(args: list[str], primitive: str, options: RuleOptions) -> None:
    """The same words mean the same."""
    given: list[tuple[str, RuleOptions]] = []

    def primitive_named(name: str) -> Primitive:
        def foretell(options: RuleOptions) -> Sequence[TargetForecast]:
            given.append((name, options))
            return ()

        return Primitive(name, dict, RuleOptions, forecast=foretell)

    plugins = package(primitive_named("vaddr"), primitive_named("cgroup"))
    assert doctor(plugins, *args).stdout == "there is no process to monitor now\n"
    assert given == [(primitive, options)]


def test_many_targets_are_added_up() -> None:
    """Ten are listed, all are counted."""
    lines = doctor(processes(costly("walker", 1)), "--pid", "12").stdout.splitlines()
    assert sum(line.startswith("db[") for line in lines) == 10
    assert lines[11].split() == ["all", "12", "12.0", "GiB", "300"]


def test_no_backend_works() -> None:
    """That is said, and is no error: a machine needn't be able to."""
    output = doctor(processes(costly("other", 1, missing="root")), "--pid", "1").stdout
    assert "no backend works here, so nothing can be monitored" in output


def test_a_backend_that_only_knows_something() -> None:
    """Its note is shown in place of figures."""
    vague = Backend(
        "vague",
        dict,
        serves=("vaddr",),
        forecast=lambda _: Costs(sampling=AccumulatingSampling, note="whatever the size"),
    )
    lines = doctor(processes(vague), "--pid", "1").stdout.splitlines()
    assert lines[4].split() == ["vague", "unknown"]
    assert lines[-1] == "vague: whatever the size"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--pid", "1", "--cgroup", "x"], "give only one of --pid and --cgroup"),
        (["--pid", "1", "--match", "comm=x"], "give only one of --pid and --cgroup"),
        (["--max-stall", "5ms"], "limits, --range, --descendants and --exclude need --pid"),
        (["--range", "1000-2000"], "limits, --range"),
        (["--descendants"], "limits, --range, --descendants and --exclude need --pid"),
        (["--exclude", "comm=x"], "limits, --range, --descendants and --exclude need --pid"),
        (["--pid", "1", "--exclude", "comm=x"], "--exclude means nothing without --cgroup"),
        (["--match", "x"], "'x' is not LABEL=PATTERN, such as comm=redis*"),
        (["x.toml", "--match", "comm=x"], "what to monitor and its limits are in FILE"),
        (["--pid", "1", "--max-stall", "0ms"], "max_stall_us is 0: must be above 0"),
        (["--pid", "1", "--max-slowdown", "2"], "'2' is not a share above 0%"),
        (["--cgroup", "x"], "no primitive of this name is installed"),
    ],
)
def test_wrong_input(args: list[str], message: str) -> None:
    """It is a mistake of the user, with one line that says which."""
    result = CliRunner().invoke(main, ["doctor", *args], obj=processes(costly("walker", 1)))
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
