"""Configuration files: what they become, and every mistake of one reported at once."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from attrs import field, frozen

from damon_core import (
    Backend,
    Bytes,
    Callback,
    ConfigError,
    Context,
    DamonError,
    InputError,
    Intervals,
    IntervalsGoal,
    Plugins,
    Policy,
    Primitive,
    RegionLimits,
    VirtualClock,
    build_contexts,
    hookimpl,
    load_config,
    validators,
)
from damon_core.policies.kernel import KernelPolicy
from damon_core.testing import run


@frozen
class MemoryOptions:
    size: Bytes = field(default=Bytes(1 << 20), metadata={"help": "bytes"})
    busy: bool = False


@frozen
class LogOptions:
    path: Path = field(metadata={"help": "the file"})
    every: int = field(default=1, validator=validators.at_least(1))


class Memory:
    def __init__(self, options: MemoryOptions, backends: Mapping[str, Backend]) -> None:
        if options.busy:
            raise InputError("memory is busy")
        self.options, self.backends = options, backends


class Log:
    def __init__(self, options: LogOptions) -> None:
        if options.path.name == "taken":
            raise InputError("the file is taken")
        if options.path.name == "bug":
            raise IndexError("out of range")
        if options.path.name == "exits":
            raise SystemExit
        if options.path.name == "other":
            raise DamonError("needs another version")
        self.options = options


@frozen
class WideOptions:
    parts: int = field(default=2, validator=validators.at_least(2))


class WidePolicy(KernelPolicy):
    def __init__(self, options: WideOptions) -> None:
        super().__init__()
        if options.parts > 9:
            raise InputError("no memory for so many")
        self.options = options


class Misspelt:
    @hookimpl
    def before_strat(self) -> None:
        pass


class Package:
    """A plugin with one part of each kind."""

    @hookimpl
    def register_primitives(self, register: object) -> None:
        assert callable(register)
        register(Primitive("memory", Memory, MemoryOptions))

    @hookimpl
    def register_backends(self, register: object) -> None:
        assert callable(register)
        register(Backend("eyes", dict, serves=("memory",)))

    @hookimpl
    def register_policies(self, register: object) -> None:
        assert callable(register)
        register(Policy("wide", WidePolicy, WideOptions))

    @hookimpl
    def register_callbacks(self, register: object) -> None:
        assert callable(register)
        register(Callback("log", Log, LogOptions))
        register(Callback("misspelt", lambda _options: Misspelt()))


@pytest.fixture
def plugins() -> Plugins:
    """A manager with nothing but the plugin of this file."""
    return Plugins({"package": Package()})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the configuration file is."""
    return tmp_path / "damon.toml"


def built(path: Path, plugins: Plugins, text: str) -> list[Context]:
    """Return the contexts of a configuration file."""
    path.write_text(dedent(text))
    return build_contexts(load_config(path, plugins), plugins)


def mistakes(path: Path, plugins: Plugins, text: str) -> list[str]:
    """Return the mistakes reported for a configuration file."""
    with pytest.raises(ConfigError) as caught:
        built(path, plugins, text)
    assert caught.value.source == str(path)
    return [str(problem) for problem in caught.value.problems]


def callback(name: str) -> str:
    """Return the lines of a callback, to follow those of a context."""
    return f"[[context.callback]]\nuse = '{name}'\n"


def in_context(lines: str) -> str:
    """Return a configuration that is right but for lines of its one context."""
    return f"[[context]]\n{lines}\n[context.primitive]\nuse = 'memory'\n"


class TestRight:
    def test_everything_written(self, path: Path, plugins: Plugins) -> None:
        """All keys of a context reach it."""
        text = """
            [[context]]
            name = "db"
            sampling_interval = "1ms"
            aggregation_interval = "20ms"
            update_interval = "0.5s"
            min_regions = 5
            max_regions = 50
            failure_limit = 3
            cpu_budget = 0.5
            [context.intervals_goal]
            access_share = 0.1
            aggregations = 5
            min_sampling = "2ms"
            max_sampling = "1s"
            [context.policy]
            use = "wide"
            parts = 3
            [context.primitive]
            use = "memory"
            size = "64MiB"
            [[context.callback]]
            use = "log"
            path = "db.log"
            [[context.callback]]
            use = "log"
            path = "other.log"
            every = 2
        """
        path.write_text(dedent(text))
        (config,) = load_config(path, plugins).contexts
        assert config.name == "db"
        assert config.intervals == Intervals(1_000, 20_000, 500_000)
        assert config.limits == RegionLimits(5, 50)
        assert config.failure_limit == 3
        assert config.cpu_budget == 0.5
        assert config.goal == IntervalsGoal(0.1, 5, 2_000, 1_000_000)
        assert config.policy is not None
        assert (config.policy.part.name, config.policy.options) == ("wide", WideOptions(3))
        assert config.primitive.options == MemoryOptions(Bytes(64 << 20))
        assert [callback.options for callback in config.callbacks] == [
            LogOptions(Path("db.log")),
            LogOptions(Path("other.log"), 2),
        ]

    def test_defaults(self, path: Path, plugins: Plugins) -> None:
        """A context needs a primitive and nothing else."""
        (context,) = built(path, plugins, in_context(""))
        assert (context.name, context.intervals, context.limits) == (
            "context",
            Intervals(),
            RegionLimits(),
        )

    def test_defaults_of_pacing(self, path: Path, plugins: Plugins) -> None:
        """Without a word the policy is the default one, with a budget of 2 %, and without goal."""
        path.write_text(in_context(""))
        config = load_config(path, plugins)
        (context,) = config.contexts
        assert (context.policy, context.goal, context.cpu_budget) == (None, None, 0.02)
        assert (context.max_slowdown, context.max_stall_us) == (0.01, 50_000)
        assert config.cpu_budget is None

    def test_a_goal_may_be_empty(self, path: Path, plugins: Plugins) -> None:
        """The table alone asks for the usual goal: 4 % over 3 aggregations, from 5 ms to 10 s."""
        path.write_text(in_context("intervals_goal = {}"))
        (context,) = load_config(path, plugins).contexts
        assert context.goal == IntervalsGoal(0.04, 3, 5_000, 10_000_000)

    def test_what_targets_may_lose_reaches_the_context(self, path: Path, plugins: Plugins) -> None:
        """A share of their time, and a duration."""
        (context,) = built(path, plugins, in_context("max_slowdown = 0.002\nmax_stall = '5ms'"))
        assert (context.max_slowdown, context.max_stall_us) == (0.002, 5_000)

    def test_pacing_reaches_the_context(self, path: Path, plugins: Plugins) -> None:
        """The context that is built has the budget and begins within the bounds of the goal."""
        text = in_context("cpu_budget = 1\nintervals_goal = {min_sampling = '50ms'}")
        (context,) = built(path, plugins, text)
        assert context.cpu_budget == 1.0
        seen: list[Intervals] = []

        class Look:
            @hookimpl
            def after_sampling(self, context: Context) -> bool:
                seen.append(context.intervals)
                return True

        (context,) = built(path, Plugins({"p": Looking(Look)}), text + callback("look"))
        run(context)
        assert seen == [Intervals(50_000, 1_000_000, 1_000_000)]

    def test_each_context_has_a_policy_of_its_own(self, path: Path) -> None:
        """A policy keeps state, so two contexts never share one."""
        made: list[object] = []

        class Noting(Package):
            @hookimpl
            def register_policies(self, register: object) -> None:
                assert callable(register)

                def make(options: WideOptions) -> object:
                    made.append(WidePolicy(options))
                    return made[-1]

                register(Policy("wide", make, WideOptions))

        one = in_context("name = 'a'\npolicy = {use = 'wide'}")
        other = in_context("name = 'b'\npolicy = {use = 'wide', parts = 4}")
        contexts = built(path, Plugins({"package": Noting()}), one + other)
        assert [policy.options.parts for policy in made] == [2, 4]  # type: ignore[attr-defined]
        assert [context._policy for context in contexts] == made  # noqa: SLF001  # nothing else shows it

    def test_the_budget_of_all(self, path: Path, plugins: Plugins) -> None:
        """The budget above all contexts may be more than one processor."""
        path.write_text("cpu_budget = 1.5\n" + in_context(""))
        assert load_config(path, plugins).cpu_budget == 1.5

    def test_primitives_get_their_backends(self, path: Path) -> None:
        """The factory of a primitive is given the backends that serve it."""
        made: list[Mapping[str, Backend]] = []

        class Noting(Package):
            @hookimpl
            def register_primitives(self, register: object) -> None:
                assert callable(register)

                def make(_options: object, backends: Mapping[str, Backend]) -> object:
                    made.append(backends)
                    return object()

                register(Primitive("memory", make))

        built(path, Plugins({"package": Noting()}), in_context(""))
        assert [list(backends) for backends in made] == [["eyes"]]

    def test_loading_makes_nothing(self, path: Path, plugins: Plugins) -> None:
        """Checking a file opens and binds nothing: the factories aren't called."""
        path.write_text("[[context]]\n[context.primitive]\nuse = 'memory'\nbusy = true\n")
        assert len(load_config(path, plugins).contexts) == 1


class Holding(Package):
    """The same with a callback `holds`, whose instances are counted and note their release."""

    def __init__(self) -> None:
        self.made = 0
        self.released: list[int] = []

    @hookimpl
    def register_callbacks(self, register: object) -> None:
        assert callable(register)
        Package.register_callbacks(self, register)
        register(Callback("holds", self._make))

    def _make(self, _options: object) -> object:
        self.made += 1
        number, released = self.made, self.released

        class Holds:
            @hookimpl
            def release(self) -> None:
                released.append(number)

        return Holds()


class Looking(Package):
    """The same with a callback `look`."""

    def __init__(self, look: type) -> None:
        self._look = look

    @hookimpl
    def register_callbacks(self, register: object) -> None:
        assert callable(register)
        register(Callback("look", lambda _options: self._look()))


class TestUnreadable:
    def test_missing(self, path: Path, plugins: Plugins) -> None:
        """A file that isn't there is reported in one line."""
        with pytest.raises(ConfigError, match=r"damon\.toml: can't be read: No such file or dir"):
            load_config(path, plugins)

    def test_directory(self, path: Path, plugins: Plugins) -> None:
        """A directory is no file."""
        path.mkdir()
        with pytest.raises(ConfigError, match=r"damon\.toml: can't be read: Is a directory"):
            load_config(path, plugins)

    @pytest.mark.parametrize(
        "content", [b"context: []", b"a = 1\na = 2", b"a = [", b"a = " + b"[" * 5_000]
    )
    def test_not_toml(self, path: Path, plugins: Plugins, content: bytes) -> None:
        """What isn't TOML is reported in one line with the place."""
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"^[^\n]*damon\.toml: is not valid TOML: [^\n]+$"):
            load_config(path, plugins)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["context: is missing (one or more [[context]] tables)"]),
        ("context = []", ["context: found a list, must have at least one entry"]),
        ("context = 5", ["context: found 5, must be a list"]),
        (
            "context = [5]",
            [
                "context[0]: found 5, must be a table of primitive, policy, callback, name, "
                "sampling_interval, aggregation_interval, update_interval, min_regions, "
                "max_regions, intervals_goal, cpu_budget, max_slowdown, max_stall, max_staleness, "
                "stop_timeout, failure_limit, labels"
            ],
        ),
        (
            "[context]\nname = 'x'",
            ["context: found a table, must be a list: in TOML, write [[…]] for each"],
        ),
        ("[[context]]", ['context[0].primitive: is missing (a table with use = "…")']),
        (
            "[[context]]\nprimitive = 'memory'",
            ["context[0].primitive: found 'memory', must be a table"],
        ),
        (
            "[[contexts]]",
            [
                "contexts: unknown key; did you mean 'context'?",
                "context: is missing (one or more [[context]] tables)",
            ],
        ),
        (
            in_context("sampling_intervall = '5ms'"),
            ["context[0].sampling_intervall: unknown key; did you mean 'sampling_interval'?"],
        ),
        (
            in_context("sampling_interval = 5"),
            [
                "context[0].sampling_interval: found 5, must be a duration: "
                "write a duration like '5ms', '1.5s' or '10m'"
            ],
        ),
        (
            in_context("sampling_interval = '0ms'"),
            ["context[0].sampling_interval: found '0ms', must be above 0"],
        ),
        (
            in_context("aggregation_interval = '1ms'\nupdate_interval = '2ms'"),
            [
                "context[0].aggregation_interval: found '1ms', "
                "must not be shorter than the sampling interval (5ms)",
                "context[0].update_interval: found '2ms', "
                "must not be shorter than the sampling interval (5ms)",
            ],
        ),
        (
            in_context("sampling_interval = '2s'\nupdate_interval = '3s'"),
            [
                "context[0].aggregation_interval: is 100ms by default, "
                "must not be shorter than the sampling interval (2s)"
            ],
        ),
        (
            in_context("min_regions = 20\nmax_regions = 10"),
            ["context[0].max_regions: found 10, must not be below min_regions (20)"],
        ),
        (
            in_context("min_regions = 2000"),
            ["context[0].max_regions: is 1000 by default, must not be below min_regions (2000)"],
        ),
        (
            in_context("min_regions = 0\nmax_regions = -1"),
            [
                "context[0].min_regions: found 0, must be above 0",
                "context[0].max_regions: found -1, must be above 0",
            ],
        ),
        (
            "cpu_budget = 0\n" + in_context("cpu_budget = 1.5"),
            [
                "context[0].cpu_budget: found 1.5, must be above 0 and at most 1",
                "cpu_budget: found 0, must be above 0",
            ],
        ),
        (
            in_context("cpu_budget = '2%'"),
            ["context[0].cpu_budget: found '2%', must be a finite number"],
        ),
        (
            in_context("policy = 'kernel'"),
            ["context[0].policy: found 'kernel', must be a table"],
        ),
        (
            in_context("policy = {parts = 3}"),
            ["context[0].policy.use: is missing, must be the name of a plugin"],
        ),
        (
            in_context("policy = {use = 'wid'}"),
            [
                "context[0].policy.use: plugin 'wid': no policy of this name is installed; "
                "did you mean 'wide'?"
            ],
        ),
        (
            in_context("policy = {use = 'wide', parts = 1, seed = 2}"),
            [
                "context[0].policy.seed: unknown key; known: parts",
                "context[0].policy.parts: found 1, must be at least 2",
            ],
        ),
        (
            in_context("intervals_goal = 5"),
            [
                "context[0].intervals_goal: found 5, must be a table of access_share, "
                "aggregations, min_sampling, max_sampling"
            ],
        ),
        (
            in_context("intervals_goal = {min_samplin = '1s', max_sampling = 3}"),
            [
                "context[0].intervals_goal.min_samplin: unknown key; did you mean 'min_sampling'?",
                "context[0].intervals_goal.max_sampling: found 3, must be a duration: "
                "write a duration like '5ms', '1.5s' or '10m'",
            ],
        ),
        (
            in_context(
                "intervals_goal = {access_share = 4, aggregations = 0, min_sampling = '0s'}"
            ),
            [
                "context[0].intervals_goal.access_share: found 4, must be above 0 and at most 1",
                "context[0].intervals_goal.aggregations: found 0, must be above 0",
                "context[0].intervals_goal.min_sampling: found '0s', must be above 0",
            ],
        ),
        (
            in_context("intervals_goal = {min_sampling = '11s'}"),
            [
                "context[0].intervals_goal.max_sampling: is 10s by default, "
                "must not be shorter than the shortest sampling interval (11s)"
            ],
        ),
        (
            in_context("failure_limit = 0"),
            ["context[0].failure_limit: found 0, must be from 1 to 1000000"],
        ),
        (
            in_context("name = ''"),
            ["context[0].name: found '', must be printable characters, not only spaces"],
        ),
        (
            in_context('name = "a\\nb"'),
            [
                "context[0].name: found 'a\\nb', must be printable characters, not only spaces",
            ],
        ),
        (
            in_context("callback = {use = 'log'}"),
            ["context[0].callback: found a table, must be a list: in TOML, write [[…]] for each"],
        ),
        (
            in_context("") + "size = 1.5\nbusi = true",
            [
                "context[0].primitive.busi: unknown key; did you mean 'busy'?",
                "context[0].primitive.size: found 1.5, must be a size: "
                "write a size like '4096', '64MiB' or '1.5GB'",
            ],
        ),
        (
            in_context("") + "[[context.callback]]\nuse = 'log'",
            ["context[0].callback[0].path: is missing (the file)"],
        ),
        (
            in_context("") + "[[context.callback]]\nuse = 'lo'\n[[context.callback]]",
            [
                "context[0].callback[0].use: plugin 'lo': no callback of this name is installed; "
                "did you mean 'log'?",
                "context[0].callback[1].use: is missing, must be the name of a plugin",
            ],
        ),
        (
            "[[context]]\n[context.primitive]\nuse = 5",
            ["context[0].primitive.use: found 5, must be the name of a plugin"],
        ),
        (
            "[[context]]\n[context.primitive]\nuse = 'log'",
            [
                "context[0].primitive.use: plugin 'log': no primitive of this name is installed; "
                "there is a callback of this name, in (given)"
            ],
        ),
    ],
)
def test_mistakes(path: Path, plugins: Plugins, text: str, expected: list[str]) -> None:
    """Each mistake is reported with its path, what was found and what is allowed."""
    assert mistakes(path, plugins, text) == expected


def test_same_names_are_told_beside_other_mistakes(path: Path, plugins: Plugins) -> None:
    """Names of contexts are unique, and this is reported even where they have other mistakes."""
    text = in_context("name = 'a'\nmin_regions = 0") + in_context("name = 'a'")
    assert mistakes(path, plugins, text) == [
        "context[0].min_regions: found 0, must be above 0",
        "context[1].name: 'a' is taken; give another",
    ]


def test_all_mistakes_at_once(path: Path, plugins: Plugins) -> None:
    """Mistakes in any part of a file are all reported, in lines that begin with the file."""
    text = (
        "other = 1\n"
        + in_context("sampling_interval = 'x'\nmin_regions = 5000")
        + "size = 'x'\n[[context.callback]]\nuse = 'log'\nevery = 0\n"
        + in_context("name = 5")
    )
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, plugins)
    lines = caught.value.message.splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert sorted(problem.path for problem in caught.value.problems) == [
        "context[0].callback[0].every",
        "context[0].callback[0].path",
        "context[0].max_regions",
        "context[0].primitive.size",
        "context[0].sampling_interval",
        "context[1].name",
        "other",
    ]


class TestBuilding:
    def test_all_parts_that_fail_are_told(self, path: Path, plugins: Plugins) -> None:
        """Every factory is asked, and what each objects to is reported with its place."""
        text = (
            in_context("name = 'a'")
            + "busy = true\n[[context.callback]]\nuse = 'log'\npath = 'taken'\n"
            + in_context("name = 'b'")
            + "[[context.callback]]\nuse = 'log'\npath = 'x'\n"
            + "[[context.callback]]\nuse = 'log'\npath = 'taken'\n"
        )
        assert mistakes(path, plugins, text) == [
            "context[0].primitive: memory is busy",
            "context[0].callback[0]: the file is taken",
            "context[1].callback[1]: the file is taken",
        ]

    def test_parts_are_released_if_another_cannot_be_made(self, path: Path) -> None:
        """What was made is released, the last first; in other contexts as well."""
        text = (
            in_context("name = 'a'\npolicy = {use = 'wide'}")
            + callback("holds")
            + in_context("name = 'b'")
            + callback("holds")
            + "[[context.callback]]\nuse = 'log'\npath = 'taken'\n"
        )
        holding = Holding()
        assert mistakes(path, Plugins({"package": holding}), text) == [
            "context[1].callback[1]: the file is taken"
        ]
        assert holding.released == [2, 1]

    def test_parts_are_released_if_a_factory_has_a_bug(self, path: Path) -> None:
        """So they are if the error is nobody's to mend."""
        holding = Holding()
        text = (
            in_context("") + callback("holds") + "[[context.callback]]\nuse = 'log'\npath = 'bug'"
        )
        with pytest.raises(DamonError, match="'log' fails"):
            built(path, Plugins({"package": holding}), text)
        assert holding.released == [1]

    def test_parts_are_released_if_the_context_cannot_be_made(self, path: Path) -> None:
        """So they are if a part has a hook that doesn't exist."""
        holding = Holding()
        text = in_context("") + callback("holds") + callback("misspelt")
        with pytest.raises(ConfigError, match="before_strat"):
            built(path, Plugins({"package": holding}), text)
        assert holding.released == [1]

    def test_parts_of_contexts_that_were_built_are_not_released(self, path: Path) -> None:
        """They are the contexts' from then on, which release them when they are closed."""
        holding = Holding()
        contexts = built(path, Plugins({"package": holding}), in_context("") + callback("holds"))
        assert holding.released == []
        contexts[0].close()
        assert holding.released == [1]

    def test_clocks_are_the_caller_s(self, path: Path, plugins: Plugins) -> None:
        """Each context runs on a clock of its own, of the kind that is asked for."""
        path.write_text(in_context("name = 'a'") + in_context("name = 'b'"))
        contexts = build_contexts(load_config(path, plugins), plugins, make_clock=VirtualClock)
        clocks = [context.clock for context in contexts]
        assert [type(clock) for clock in clocks] == [VirtualClock, VirtualClock]
        assert clocks[0] is not clocks[1]

    def test_further_callbacks(self, path: Path, plugins: Plugins) -> None:
        """A callback that isn't in the file can be given to every context of it."""
        path.write_text(in_context("name = 'a'") + in_context("name = 'b'"))
        further = object()
        contexts = build_contexts(load_config(path, plugins), plugins, [further])
        assert [context.callbacks for context in contexts] == [(further,), (further,)]

    def test_a_policy_that_cannot_be_used(self, path: Path, plugins: Plugins) -> None:
        """What the factory of a policy objects to is reported with its place."""
        text = in_context("policy = {use = 'wide', parts = 10}") + "busy = true\n"
        assert mistakes(path, plugins, text) == [
            "context[0].primitive: memory is busy",
            "context[0].policy: no memory for so many",
        ]

    def test_a_part_with_a_hook_that_is_none(self, path: Path, plugins: Plugins) -> None:
        """What is wrong with a part itself is reported with the context it is for."""
        assert mistakes(
            path, plugins, in_context("") + "[[context.callback]]\nuse = 'misspelt'"
        ) == [
            "context[0]: plugin 'Misspelt': implements 'before_strat', which is not a hook; "
            "did you mean 'before_start'?"
        ]

    def test_an_error_of_the_package_keeps_its_words(self, path: Path, plugins: Plugins) -> None:
        """A DamonError that isn't the user's to mend is raised as it is."""
        path.write_text(in_context("") + "[[context.callback]]\nuse = 'log'\npath = 'other'")
        config = load_config(path, plugins)
        with pytest.raises(DamonError, match=r"^needs another version$"):
            build_contexts(config, plugins)

    @pytest.mark.parametrize(
        ("name", "error"), [("bug", "IndexError: out of range"), ("exits", "SystemExit")]
    )
    def test_a_factory_with_a_bug_is_named(
        self, name: str, error: str, path: Path, plugins: Plugins
    ) -> None:
        """A failure that is no user's mistake says whose it is, in one line; exits are none."""
        path.write_text(in_context("") + f"[[context.callback]]\nuse = 'log'\npath = '{name}'")
        config = load_config(path, plugins)
        with pytest.raises(DamonError) as caught:
            build_contexts(config, plugins)
        assert not isinstance(caught.value, InputError)
        assert caught.value.message == (f"{path}: context[0].callback[0]: 'log' fails: {error}")
