"""The options that say what to watch and how: what they build, and what is said of mistakes."""

from collections.abc import Iterator, Mapping
from typing import Any

import click
import pytest
from attrs import field, fields, frozen
from click.testing import CliRunner
from damon_cli.building import build_context
from damon_cli.params import pass_plugins
from damon_cli.session import closing_contexts
from damon_cli.watching import WatchOptions, watch_options

from damon_core import (
    Backend,
    ConfigError,
    Context,
    ContextConfig,
    DamonError,
    EvidencePolicy,
    InputError,
    Intervals,
    PageSampling,
    Plugins,
    Policy,
    Primitive,
    RegionLimits,
    VirtualClock,
    format_duration,
    hookimpl,
    start,
    validators,
)
from damon_core.testing import Recorder


@frozen
class MemoryOptions:
    pid: int = 0
    path: str = ""
    command: tuple[str, ...] = ()
    descendants: bool = False
    cgroups: tuple[str, ...] = ()
    match: dict[str, tuple[str, ...]] = field(factory=dict)
    exclude: dict[str, tuple[str, ...]] = field(factory=dict)
    when_gone: str = "wait"
    group_by: str = "none"
    backend: str = "auto"


class Memory(Recorder):
    """A primitive that keeps what it was made with."""

    sampling = PageSampling

    def __init__(self, options: MemoryOptions, backends: Mapping[str, Backend]) -> None:
        super().__init__()
        if options.pid == 404:
            raise InputError("pid 404: there is no such process")
        self.options = options


@frozen
class PolicyOptions:
    seed: int = field(default=0, validator=validators.at_least(0))
    word: str = ""


class ThePolicy(Recorder, EvidencePolicy):
    """Stands for a policy, which no test here runs."""

    def __init__(self, options: PolicyOptions) -> None:
        super().__init__(name="steady")
        self.options = options


class Package:
    """The primitives that the options are for, and a policy; notes what was made."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    @hookimpl
    def register_primitives(self, register: Any) -> None:
        def make(options: MemoryOptions, backends: Mapping[str, Backend]) -> Memory:
            self.made.append(Memory(options, backends))
            return self.made[-1]  # type: ignore[no-any-return]

        for name in ("vaddr", "cgroup", "paddr"):
            register(Primitive(name, make, MemoryOptions))

    @hookimpl
    def register_policies(self, register: Any) -> None:
        def make(options: PolicyOptions) -> ThePolicy:
            self.made.append(ThePolicy(options))
            return self.made[-1]  # type: ignore[no-any-return]

        register(Policy("steady", make, PolicyOptions))


class Called:
    """A command with the options, and what they built.

    Attributes:
        package: The parts that were made.
        callbacks: What to give the contexts.
        contexts: The contexts that were built.
    """

    def __init__(self) -> None:
        self.package = Package()
        self.plugins = Plugins({"package": self.package})
        self.callbacks: list[object] = []
        self.contexts: list[Context] = []

    def __call__(self, *arguments: str) -> Context:
        """Call the command and return the context that it built."""

        @click.command()
        @watch_options
        @pass_plugins
        def command(plugins: Plugins, *, watch: WatchOptions) -> None:
            self.contexts.append(watch.build(plugins, self.callbacks))

        result = CliRunner().invoke(
            command, arguments, obj=self.plugins, catch_exceptions=False, standalone_mode=False
        )
        if result.exception is not None:
            raise result.exception
        return self.contexts[-1]

    def mistakes(self, *arguments: str) -> list[str]:
        """Return the lines that are said of wrong options."""
        with pytest.raises(ConfigError) as caught:
            self(*arguments)
        return caught.value.message.splitlines()


@pytest.fixture
def called() -> Called:
    """A command with the options, not called yet."""
    return Called()


@pytest.mark.parametrize(
    ("arguments", "primitive", "options"),
    [
        (["--pid", "5"], "vaddr", MemoryOptions(pid=5)),
        (["--cgroup", "/a"], "cgroup", MemoryOptions(path="/a")),
        (["--cgroup", "/a", "--until-gone"], "cgroup", MemoryOptions(path="/a", when_gone="end")),
        (["--cgroup", "a/*"], "cgroup", MemoryOptions(cgroups=("a/*",))),
        (["--cgroup", "/a", "--cgroup", "/b"], "cgroup", MemoryOptions(cgroups=("/a", "/b"))),
        (["--match", "comm=a*"], "vaddr", MemoryOptions(match={"comm": ("a*",)})),
        (
            ["--match", "comm=a", "--match", "comm=b", "--match", "user=c"],
            "vaddr",
            MemoryOptions(match={"comm": ("a", "b"), "user": ("c",)}),
        ),
        (
            ["--cgroup", "/a", "--match", "comm=b", "--exclude", "exe=/c=d"],
            "cgroup",
            MemoryOptions(path="/a", match={"comm": ("b",)}, exclude={"exe": ("/c=d",)}),
        ),
        (
            ["--match", "comm=a", "--group-by", "unit"],
            "vaddr",
            MemoryOptions(match={"comm": ("a",)}, group_by="unit"),
        ),
        (["--paddr"], "paddr", MemoryOptions()),
        (["--", "make", "-j2"], "vaddr", MemoryOptions(command=("make", "-j2"))),
        (["--pid", "5", "--descendants"], "vaddr", MemoryOptions(pid=5, descendants=True)),
        (["--paddr", "--backend", "idle"], "paddr", MemoryOptions(backend="idle")),
    ],
)
def test_what_is_watched(
    arguments: list[str], primitive: str, options: MemoryOptions, called: Called
) -> None:
    """The target chooses the primitive, whose name the context has."""
    assert called(*arguments).name == primitive
    assert called.package.made[-1].options == options


def test_defaults(called: Called) -> None:
    """Without further options the context is like one of a file without further keys."""
    context = called("--pid", "5")
    assert (context.intervals, context.limits) == (Intervals(), RegionLimits())
    assert (context.cpu_budget, context.policy_name) == (0.02, "evidence")


def test_how_it_is_watched(called: Called) -> None:
    """Intervals, limits and the budget reach the context."""
    intervals = ["--sampling", "1ms", "--aggregation", "20ms", "--update", "0.5s"]
    limits = ["--min-regions", "5", "--max-regions", "50", "--cpu-budget", "50%"]
    context = called("--pid", "5", *intervals, *limits)
    assert context.intervals == Intervals(1_000, 20_000, 500_000)
    assert (context.limits, context.cpu_budget) == (RegionLimits(5, 50), 0.5)


def test_what_targets_may_lose(called: Called) -> None:
    """Both limits reach the context, a stall in microseconds."""
    context = called("--pid", "5", "--max-slowdown", "0.5%", "--max-stall", "3ms")
    assert (context.max_slowdown, context.max_stall_us) == (0.005, 3_000)


def test_policy(called: Called) -> None:
    """A policy by name, with options whose values are those of TOML, or plain words."""
    options = ["--policy-option", "seed=3", "--policy-option", "word=steady"]
    assert called("--pid", "5", "--policy", "steady", *options).policy_name == "steady"
    assert called.package.made[-1].options == PolicyOptions(3, "steady")


def test_policy_option_in_quotes(called: Called) -> None:
    """Where a word looks like a number, quotes make it a word, as in a file."""
    called("--pid", "5", "--policy", "steady", "--policy-option", 'word="3"')
    assert called.package.made[-1].options == PolicyOptions(0, "3")


def test_goal(called: Called) -> None:
    """With a goal, the run begins with a sampling interval that tuning may choose."""
    seen: list[Intervals] = []

    class Look:
        @hookimpl
        def after_sampling(self, context: Context) -> bool:
            seen.append(context.intervals)
            return True

    called.callbacks = [Look()]
    context = called("--pid", "5", "--goal", "4%", "--sampling", "1ms")
    start(context)
    assert context.wait(30)
    assert seen == [Intervals(5_000, 500_000, 1_000_000)]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--sampling", "0ms"], ["--sampling: found '0ms', must be above 0"]),
        (
            ["--sampling", "5"],
            ["--sampling: found '5', write a duration like '5ms', '1.5s' or '10m'"],
        ),
        (
            ["--sampling", "1s", "--aggregation", "100ms"],
            ["--aggregation: found '100ms', must not be shorter than the sampling interval (1s)"],
        ),
        (
            ["--sampling", "2s"],
            [
                "--aggregation: is 100ms by default, "
                "must not be shorter than the sampling interval (2s)",
                "--update: is 1s by default, must not be shorter than the sampling interval (2s)",
            ],
        ),
        (
            ["--min-regions", "20", "--max-regions", "10"],
            ["--max-regions: found 10, must not be below min_regions (20)"],
        ),
        (
            ["--min-regions", "0", "--max-regions", "-1", "--update", "x"],
            [
                "--update: found 'x', write a duration like '5ms', '1.5s' or '10m'",
                "--min-regions: found 0, must be above 0",
                "--max-regions: found -1, must be above 0",
            ],
        ),
        (["--failure-limit", "0"], ["--failure-limit: found 0, must be from 1 to 1000000"]),
        (
            ["--policy", "stedy"],
            [
                "--policy: plugin 'stedy': no policy of this name is installed; "
                "did you mean 'steady'?"
            ],
        ),
        (
            ["--policy", "steady", "--policy-option", "sed=1", "--policy-option", "seed=-1"],
            [
                "--policy-option sed: unknown key; did you mean 'seed'?",
                "--policy-option seed: found -1, must not be negative",
            ],
        ),
    ],
)
def test_mistakes(arguments: list[str], lines: list[str], called: Called) -> None:
    """Each is reported at its option, all at once, and nothing was made."""
    assert called.mistakes("--pid", "5", *arguments) == lines
    assert called.package.made == []


def test_a_target_that_is_not_there(called: Called) -> None:
    """What the primitive says names the target, and needs nothing in front."""
    assert called.mistakes("--pid", "404") == ["pid 404: there is no such process"]


def test_a_primitive_that_is_not_installed() -> None:
    """What is missing is said as for a file."""
    called = Called()
    called.plugins = Plugins({})
    (line,) = called.mistakes("--cgroup", "/a")
    assert line == "plugin 'cgroup': no primitive of this name is installed; none is known"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "give exactly one of --pid, --cgroup, --match, --paddr, --kdamond and a COMMAND after",
        ),
        (["--pid", "5", "--match", "comm=a"], "only --cgroup and --match go together"),
        (["--pid", "5", "--paddr"], "give exactly one of"),
        (["--paddr", "--descendants"], "--descendants means nothing with --paddr"),
        (["--paddr", "--group-by", "unit"], "--group-by means nothing with --paddr"),
        (["--kdamond", "0", "--pid", "5"], "give exactly one of"),
        (["--kdamond", "0", "--sampling", "5ms"], "--sampling means nothing with --kdamond"),
        (["--kdamond", "all", "--descendants"], "--descendants means nothing with --kdamond"),
        (["--pid", "5", "--until-gone"], "--until-gone means nothing without --cgroup or --match"),
        (["--pid", "5", "--exclude", "comm=a"], "--exclude means nothing without --cgroup"),
        (["--match", "redis"], "'redis' is not LABEL=PATTERN, such as comm=redis*"),
        (["--pid", "5", "--goal", "400%"], "'400%' is not a share above 0%, up to 100%"),
        (["--pid", "5", "--policy-option", "seed=3"], "--policy-option needs --policy"),
        (["--pid", "5", "--policy", "a", "--policy-option", "seed"], "'seed' is not KEY=VALUE"),
    ],
)
def test_usage(arguments: list[str], message: str, called: Called) -> None:
    """Options that don't go together are a mistake of usage."""
    with pytest.raises(click.UsageError) as caught:
        called(*arguments)
    assert message in caught.value.message


def shown_defaults() -> Iterator[tuple[str, object]]:
    """Yield the defaults that the help shows, by the name of the parameter."""

    @click.command()
    @watch_options
    def command(watch: WatchOptions) -> None: ...

    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.show_default:
            yield str(parameter.name), parameter.default


def test_shown_defaults_are_those_in_force() -> None:
    """The help says what the model of a configuration has by default."""
    intervals, limits = Intervals(), RegionLimits()
    model = fields(ContextConfig)
    assert dict(shown_defaults()) == {
        "sampling_interval": format_duration(intervals.sampling_us),
        "aggregation_interval": format_duration(intervals.aggregation_us),
        "update_interval": format_duration(intervals.update_us),
        "min_regions": limits.min_regions,
        "max_regions": limits.max_regions,
        "cpu_budget": f"{model.cpu_budget.default:.0%}",
        "max_slowdown": f"{model.max_slowdown.default:.0%}",
        "max_stall": format_duration(model.max_stall_us.default or 0),
        "failure_limit": model.failure_limit.default,
    }


class TestBuilding:
    def test_clock_and_callbacks(self, called: Called) -> None:
        """A command may give callbacks of its own, and another clock."""
        callback = Recorder()
        table = {"name": "mine", "primitive": {"use": "vaddr"}}
        context = build_context(table, called.plugins, [callback], VirtualClock)
        assert (context.name, context.callbacks) == ("mine", (callback,))
        assert isinstance(context.clock, VirtualClock)

    def test_keys_without_an_option(self, called: Called) -> None:
        """A mistake that no option stands for is reported with its key."""
        with pytest.raises(ConfigError, match=r"^primitive\.pidd: unknown key"):
            build_context({"primitive": {"use": "vaddr", "pidd": 1}}, called.plugins)


class TestClosing:
    def test_the_last_first(self) -> None:
        """All are closed, in reverse order."""
        events: list[str] = []
        contexts = [Context(Recorder(events, name)) for name in ("one", "other")]
        with closing_contexts(contexts) as given:
            assert list(given) == contexts
        assert events == ["other:cleanup", "other:release", "one:cleanup", "one:release"]

    def test_one_that_runs_is_stopped(self) -> None:
        """Whatever happens inside, nothing is left running."""
        context = Context(Recorder())

        def fail() -> None:
            with closing_contexts([context]):
                start(context)
                raise KeyError("on purpose")

        with pytest.raises(KeyError, match="on purpose"):
            fail()
        assert not context.running

    def test_one_that_cannot_be_closed(self) -> None:
        """The others are closed before that is raised."""
        events: list[str] = []

        def fail(_: object) -> None:
            raise OSError("on purpose")

        failing = Context(Recorder(events, "failing", cleanup=fail), name="failing")
        line = (
            "context 'failing' can't be closed: primitive 'failing' failed in cleanup: "
            "OSError: on purpose"
        )
        with (
            pytest.raises(DamonError, match=f"^{line}$"),
            closing_contexts([Context(Recorder(events, "one")), failing]),
        ):
            pass
        assert events[-2:] == ["one:cleanup", "one:release"]
