"""A deployment that runs: contexts that wait for their targets, and another configuration."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve, field, frozen

from damon_core import (
    Callback,
    Config,
    ConfigError,
    Deployment,
    HookContext,
    Plugins,
    Primitive,
    Regions,
    Target,
    TargetError,
    check_config,
    hookimpl,
)
from damon_core.testing import eventually


@frozen
class MemoryOptions:
    """A target that is there when a file is."""

    file: Path = field()
    may_come: bool = True


class Memory:
    """A primitive with one target; it ends when its file is gone."""

    name = "memory"

    def __init__(self, options: MemoryOptions) -> None:
        self.file = options.file
        if not self.file.exists():
            raise TargetError(f"file '{self.file.name}'", "not there", may_come=options.may_come)

    @hookimpl
    def init(self, context: Any) -> None:
        context.targets.append(Target("t", Regions([0], [4096])))

    @hookimpl
    def target_valid(self) -> bool:
        return self.file.exists()


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register it."""
    register(Primitive("memory", lambda options, _backends: Memory(options), MemoryOptions))


PLUGINS = Plugins({"memory": SimpleNamespace(register_primitives=register_primitives)})


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """A deployment; its contexts are stopped at the end."""
    made = Deployment(PLUGINS)
    yield made
    for context in made.contexts:
        with context:
            pass


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    """Return a function that makes a configuration, given keys of contexts by their names."""

    def make(**contexts: dict[str, object]) -> Config:
        tables = []
        for name, keys in contexts.items():
            primitive = {"use": "memory", "file": str(tmp_path / name)}
            more = keys.pop("primitive", {})
            assert isinstance(more, dict)
            tables.append({"name": name, "primitive": primitive | more, **keys})
        return check_config({"context": tables}, PLUGINS)

    return make


Make = Callable[..., Config]


def names(deployment: Deployment) -> list[str]:
    """Return the names of the contexts that run."""
    return [context.name for context in deployment.contexts if context.running]


def test_contexts_begin(deployment: Deployment, config: Make, tmp_path: Path) -> None:
    """Those whose targets are there."""
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    deployment.apply(config(a={}, b={}))
    assert names(deployment) == ["a", "b"]


def test_a_target_that_comes_later(deployment: Deployment, config: Make, tmp_path: Path) -> None:
    """Its context waits, and keeps no other from running."""
    (tmp_path / "a").touch()
    deployment.apply(config(a={}, b={}))
    assert (names(deployment), list(deployment.waiting)) == (["a"], ["b"])
    (tmp_path / "b").touch()
    deployment.tend()
    assert (names(deployment), deployment.waiting) == (["a", "b"], {})


def test_waiting_is_said_once(
    deployment: Deployment, config: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Not each time that its target is looked for."""
    deployment.apply(config(a={}))
    deployment.tend()
    deployment.tend()
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == [
        "context 'a' waits for its target: file 'a': not there"
    ]


def test_callbacks_are_not_made_while_a_target_is_waited_for(tmp_path: Path) -> None:
    """They would open files and ports, once a second: at the start, and when it has come."""
    made: list[object] = []

    def make(_options: object) -> object:
        made.append(SimpleNamespace())
        return made[-1]

    @hookimpl
    def register_callbacks(register: Callable[[Callback], None]) -> None:
        register(Callback("note", make))

    note = SimpleNamespace(register_callbacks=register_callbacks)
    memory = SimpleNamespace(register_primitives=register_primitives)
    plugins = Plugins({"memory": memory, "note": note})
    primitive = {"use": "memory", "file": str(tmp_path / "a")}
    context = {"primitive": primitive, "callback": [{"use": "note"}]}
    deployment = Deployment(plugins)
    deployment.apply(check_config({"context": [context]}, plugins))
    deployment.tend()
    assert (len(made), list(deployment.waiting)) == (1, ["context"])
    (tmp_path / "a").touch()
    deployment.tend()
    assert (len(made), names(deployment)) == (2, ["context"])
    for each in deployment.contexts:
        with each:
            pass


def test_a_target_that_will_not_come(deployment: Deployment, config: Make, tmp_path: Path) -> None:
    """Its context is left out, once and for all, and keeps no other from running."""
    (tmp_path / "a").touch()
    deployment.apply(config(a={}, b={"primitive": {"may_come": False}}))
    (tmp_path / "b").touch()
    deployment.tend()
    assert (names(deployment), list(deployment.left_out)) == (["a"], ["b"])


def test_it_goes_on_while_something_is_waited_for(deployment: Deployment, config: Make) -> None:
    """That is no end."""
    deployment.apply(config(a={}))
    assert deployment.goes_on


def test_the_end_of_all_targets(deployment: Deployment, config: Make, tmp_path: Path) -> None:
    """Then nothing goes on."""
    (tmp_path / "a").touch()
    deployment.apply(config(a={"sampling_interval": "1ms", "aggregation_interval": "5ms"}))
    (tmp_path / "a").unlink()
    eventually(lambda: not deployment.goes_on)


def test_what_is_configured_as_before_goes_on(
    deployment: Deployment, config: Make, tmp_path: Path
) -> None:
    """It is the same context, which has counted all the time."""
    (tmp_path / "a").touch()
    deployment.apply(config(a={}))
    before = deployment.contexts[0]
    deployment.apply(config(a={}, b={}))
    assert deployment.contexts[0] is before
    assert before.running


def test_other_intervals_are_changed_while_it_goes_on(
    deployment: Deployment, config: Make, tmp_path: Path
) -> None:
    """The context stays, with its ages and counters."""
    (tmp_path / "a").touch()
    keys = {"cpu_budget": 1.0, "sampling_interval": "5ms"}
    deployment.apply(config(a={**keys, "aggregation_interval": "20ms"}))
    before = deployment.contexts[0]
    deployment.apply(config(a={**keys, "aggregation_interval": "500ms"}))
    eventually(lambda: before.intervals.aggregation_us >= 500_000)
    assert deployment.contexts == [before]


def test_another_option_begins_anew(deployment: Deployment, config: Make, tmp_path: Path) -> None:
    """The old context ends and is closed."""
    (tmp_path / "a").touch()
    deployment.apply(config(a={}))
    before = deployment.contexts[0]
    deployment.apply(config(a={"primitive": {"may_come": False}}))
    assert not before.running
    assert before not in deployment.contexts
    assert names(deployment) == ["a"]


def test_what_is_no_longer_configured_ends(
    deployment: Deployment, config: Make, tmp_path: Path
) -> None:
    """The others go on."""
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    deployment.apply(config(a={}, b={}))
    deployment.apply(config(b={}))
    assert names(deployment) == ["b"]


def test_what_has_failed_begins_anew(deployment: Deployment, config: Make, tmp_path: Path) -> None:
    """Another configuration is a reason to try again."""
    (tmp_path / "a").touch()
    deployment.apply(config(a={}))
    before = deployment.contexts[0]
    assert before.worker.kdamond is not None
    before.worker.kdamond.error = RuntimeError("lost")
    before.request_stop()
    before.wait()
    deployment.apply(config(a={}))
    assert deployment.contexts[0] is not before
    assert names(deployment) == ["a"]


def test_one_cpu_budget_for_all(deployment: Deployment, config: Make, tmp_path: Path) -> None:
    """That of the file, or the largest of its contexts."""
    (tmp_path / "a").touch()
    deployment.apply(config(a={"cpu_budget": 0.01}, b={"cpu_budget": 0.05}))
    assert deployment.budget == 0.05


def test_a_part_that_cannot_be_used(deployment: Deployment, tmp_path: Path) -> None:
    """That is a mistake, with its place; the other contexts are in force."""

    def refuse(options: object, _backends: object) -> object:
        raise ConfigError("", [])

    (tmp_path / "a").touch()
    bad = Primitive("bad", refuse, MemoryOptions)
    plugins = Plugins(
        {
            "memory": SimpleNamespace(register_primitives=register_primitives),
            "bad": SimpleNamespace(
                register_primitives=hookimpl(lambda register: register(bad)),
            ),
        }
    )
    tables = [
        {"name": "b", "primitive": {"use": "bad", "file": "x"}},
        {"name": "a", "primitive": {"use": "memory", "file": str(tmp_path / "a")}},
    ]
    other = Deployment(plugins)
    with pytest.raises(ConfigError, match=r"context\[0\]\.primitive"):
        other.apply(check_config({"context": tables}, plugins))
    assert names(other) == ["a"]
    with other.contexts[0]:
        pass


def test_the_line_of_a_context_that_begins_stands_above_its_own(
    config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, and when its target has come."""

    class Speaking:
        @hookimpl
        def before_start(self, context: HookContext) -> None:
            logging.getLogger("damon.events.test").info("'%s' speaks", context.name)

    deployment = Deployment(PLUGINS, [Speaking()])
    (tmp_path / "a").touch()
    with caplog.at_level(logging.INFO):
        deployment.apply(config(a={}, b={}))
        eventually(lambda: "'a' speaks" in caplog.messages)
        (tmp_path / "b").touch()
        deployment.tend()
        eventually(lambda: "'b' speaks" in caplog.messages)
        for context in deployment.contexts:
            with context:
                pass
    spoken = [each for each in caplog.messages if "begins" in each or "speaks" in each]
    assert spoken == [
        "context 'a' begins: memory to nothing",
        "'a' speaks",
        "context 'b' begins: memory to nothing",
        "'b' speaks",
    ]


def test_the_line_of_a_context_that_begins_names_the_backend(
    deployment: Deployment,
    config: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the numbers mean and what they cost depends on it."""
    monkeypatch.setattr(Memory, "backend_name", "looks", raising=False)
    (tmp_path / "a").touch()
    with caplog.at_level(logging.INFO, "damon_core.deployment.running"):
        deployment.apply(config(a={}))
    assert caplog.messages == ["context 'a' begins: memory through looks to nothing"]


def test_many_contexts_at_once_are_one_line(
    deployment: Deployment, config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When they begin, and when they end."""
    names = [f"c{number}" for number in range(8)]
    for name in names:
        (tmp_path / name).touch()
    with caplog.at_level(logging.INFO, "damon_core.deployment.running"):
        deployment.apply(config(**{name: {} for name in names}))
        for name in names:
            (tmp_path / name).unlink()
        eventually(lambda: not any(each.running for each in deployment.contexts))
        deployment.tend()
    assert caplog.messages == [
        "8 contexts begin: 'c0', 'c1', 'c2' and 5 more",
        "8 contexts have ended: 'c0', 'c1', 'c2' and 5 more",
    ]


@pytest.fixture
def crowd(config: Make, tmp_path: Path) -> Callable[[float], Config]:
    """Return a function that makes a configuration of 24 contexts with a CPU budget."""

    def make(cpu_budget: float) -> Config:
        contexts: dict[str, dict[str, object]] = {f"c{number}": {} for number in range(24)}
        for name in contexts:
            (tmp_path / name).touch()
        return evolve(config(**contexts), cpu_budget=cpu_budget)

    return make


def test_many_contexts_are_made_in_turns(
    deployment: Deployment, crowd: Callable[[float], Config], caplog: pytest.LogCaptureFixture
) -> None:
    """Some at once; with next to no budget there is room for one more at most."""
    with caplog.at_level(logging.INFO, "damon_core.deployment.running"):
        deployment.apply(crowd(1e-5))
    for _ in range(5):
        deployment.begin_due()
    assert deployment.due in {7, 8}
    assert len(deployment.contexts) + deployment.due == 24
    assert f"{deployment.due} contexts begin later, in turns, as cpu_budget allows" in caplog.text


def test_all_contexts_have_their_turn(
    deployment: Deployment, crowd: Callable[[float], Config]
) -> None:
    """Soon, if there is enough budget."""
    deployment.apply(crowd(1.0))

    def all_run() -> bool:
        deployment.begin_due()
        return len(names(deployment)) == 24

    eventually(all_run)


def test_what_it_took_to_make_a_context_counts(
    deployment: Deployment, crowd: Callable[[float], Config]
) -> None:
    """In its own CPU time, though another thread has spent it."""
    deployment.apply(crowd(1e-5))
    deployment.begin_due()
    context = deployment.contexts[-1]
    context.worker.charge_making(1_000_000)
    assert context.stats.cpu_us >= 1_000_000
