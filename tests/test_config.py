"""Configuration files: what they become, and every mistake of one told at once."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from attrs import field, frozen, validators

from damon_core import (
    Backend,
    Bytes,
    Callback,
    ConfigError,
    Context,
    DamonError,
    InputError,
    Intervals,
    Plugins,
    Primitive,
    RegionLimits,
    build_contexts,
    hookimpl,
    load_config,
)


@frozen
class MemoryOptions:
    size: Bytes = field(default=Bytes(1 << 20), metadata={"help": "bytes"})
    busy: bool = False


@frozen
class LogOptions:
    path: Path = field(metadata={"help": "the file"})
    every: int = field(default=1, validator=validators.ge(1))


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
    """Return the mistakes told of a configuration file."""
    with pytest.raises(ConfigError) as caught:
        built(path, plugins, text)
    assert caught.value.source == str(path)
    return [str(problem) for problem in caught.value.problems]


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


class TestUnreadable:
    def test_missing(self, path: Path, plugins: Plugins) -> None:
        """A file that isn't there is told in one line."""
        with pytest.raises(ConfigError, match=r"damon\.toml: can't be read: No such file or dir"):
            load_config(path, plugins)

    def test_directory(self, path: Path, plugins: Plugins) -> None:
        """A directory is no file."""
        path.mkdir()
        with pytest.raises(ConfigError, match=r"damon\.toml: can't be read: Is a directory"):
            load_config(path, plugins)

    @pytest.mark.parametrize(
        "content", [b"context: []", b"\xff\xfe", b"a = 1\na = 2", b"a = [", b"a = " + b"[" * 5_000]
    )
    def test_not_toml(self, path: Path, plugins: Plugins, content: bytes) -> None:
        """What isn't TOML is told in one line with the place."""
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"^[^\n]*damon\.toml: is not valid TOML: [^\n]+$"):
            load_config(path, plugins)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["context: is missing (one or more [[context]] tables)"]),
        ("context = []", ["context: found a list, its length must be >= 1"]),
        ("context = 5", ["context: found 5, must be a list"]),
        ("context = [5]", ["context[0]: found 5, must be a table"]),
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
            ["context[0].sampling_interval: found '0ms', must be a whole number of at least 1"],
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
                "context[0].min_regions: found 0, must be a whole number of at least 1",
                "context[0].max_regions: found -1, must be a whole number of at least 1",
            ],
        ),
        (in_context("failure_limit = 0"), ["context[0].failure_limit: found 0, must be >= 1"]),
        (
            in_context("name = ''"),
            ["context[0].name: found '', must be at least one character, all of them printable"],
        ),
        (
            in_context('name = "a\\nb"'),
            [
                "context[0].name: found 'a\\nb', "
                "must be at least one character, all of them printable"
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
    """Each mistake is told with its path, what was found and what is allowed."""
    assert mistakes(path, plugins, text) == expected


def test_same_names_are_told_beside_other_mistakes(path: Path, plugins: Plugins) -> None:
    """Names of contexts are unique, and this is told even where they have other mistakes."""
    text = in_context("name = 'a'\nmin_regions = 0") + in_context("name = 'a'")
    assert mistakes(path, plugins, text) == [
        "context[0].min_regions: found 0, must be a whole number of at least 1",
        "context[1].name: 'a' is taken; give another",
    ]


def test_all_mistakes_at_once(path: Path, plugins: Plugins) -> None:
    """Mistakes in any part of a file are all told, in lines that begin with the file."""
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
        """Every factory is asked, and what each objects to is told with its place."""
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

    def test_a_part_with_a_hook_that_is_none(self, path: Path, plugins: Plugins) -> None:
        """What is wrong with a part itself is told with the context it is for."""
        assert mistakes(
            path, plugins, in_context("") + "[[context.callback]]\nuse = 'misspelt'"
        ) == [
            "context[0]: plugin 'Misspelt': implements 'before_strat', which is not a hook; "
            "did you mean 'before_start'?"
        ]

    def test_a_factory_with_a_bug_is_named(self, path: Path, plugins: Plugins) -> None:
        """A failure that is no user's mistake says whose it is, in one line."""
        path.write_text(in_context("") + "[[context.callback]]\nuse = 'log'\npath = 'bug'")
        config = load_config(path, plugins)
        with pytest.raises(DamonError) as caught:
            build_contexts(config, plugins)
        assert not isinstance(caught.value, InputError)
        assert caught.value.message == (
            f"{path}: context[0].callback[0]: 'log' fails: IndexError: out of range"
        )
