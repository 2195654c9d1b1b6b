"""`damon doctor FILE`: what a configuration needs of this machine, and what it would come to."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
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
    Primitive,
    TargetError,
    TargetForecast,
    hookimpl,
)

MISSING = Finding("CONFIG_X", False, "another kernel has it")
LIMITED = Finding("processes of others", False, "run as root", required=False)


@frozen
class Options:
    """The options of the primitive `space`."""

    target: str = "there"
    backend: BackendOption = AUTO


def foretell(options: Options) -> Sequence[TargetForecast]:
    """Return one target, unless the options name one that isn't there."""
    if options.target != "there":
        raise TargetError(options.target, "isn't there", may_come=options.target == "later")
    return [TargetForecast("db", facts={"resident_bytes": 1 << 30})]


def cost(_targets: Sequence[TargetForecast]) -> Costs:
    """Return what a check of half a millisecond costs."""
    return Costs(sampling=AccumulatingSampling, check_us=500)


class Package:
    """A primitive with two backends, of which the better doesn't work here, and a callback."""

    @hookimpl
    def register_primitives(self, register: Callable[[Primitive], None]) -> None:
        register(Primitive("space", dict, Options, forecast=foretell, probe=lambda: [LIMITED]))
        register(Primitive("bare", dict))

    @hookimpl
    def register_backends(self, register: Callable[[Backend], None]) -> None:
        bad = Backend("best", dict, serves=("space",), preference=9, probe=lambda: [MISSING])
        register(bad)
        register(Backend("good", dict, serves=("space",), forecast=cost, target_us=700_000))
        register(Backend("rough", dict, serves=("space",), preference=-1, forecast=cost))

    @hookimpl
    def register_callbacks(self, register: Callable[[Callback], None]) -> None:
        register(Callback("out", dict))
        register(Callback("broken", dict, probe=lambda: [MISSING]))


Doctor = Callable[..., Result]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Return what runs the command with contexts, each of a primitive's line and a callback."""

    def run(*contexts: tuple[str, str], json: bool = False) -> Result:
        path = tmp_path / "damon.toml"
        text = ""
        for number, (primitive, callback) in enumerate(contexts):
            text += f'[[context]]\nname = "c{number}"\nprimitive = {{ {primitive} }}\n'
            text += f'[[context.callback]]\nuse = "{callback}"\n'
        path.write_text(text)
        args = ["doctor", str(path), *(["--json"] if json else [])]
        return CliRunner().invoke(main, args, obj=Plugins({"package": Package()}))

    return run


def found(result: Result) -> dict[str, Any]:
    """Return the JSON of the only context."""
    (context,) = json.loads(result.stdout)
    return dict(context)


def test_what_can_run_is_foretold(doctor: Doctor) -> None:
    """With the backend that "auto" takes, what limits it, and the cost."""
    result = doctor(('use = "space"', "out"))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "c0: can run (space through good to out)",
        "    limited: primitive space: processes of others: run as root",
        "    now: 1 target, 1.0 GiB in memory",
        "    expected: an aggregation every 100ms, 1.7% of a CPU; the targets lose 0% of their "
        "time, 0us at once",
    ]


def test_many_targets(doctor: Doctor) -> None:
    """Of all contexts together: then "auto" takes a cheaper backend, and it is said why."""
    result = doctor(*[('use = "space"', "out")] * 2)
    assert result.stdout.count("c0: can run (space through rough to out)") == 1
    assert (
        "    good: 700ms for each of 2 targets is too much for the CPU budget, so 'auto' takes it "
        "last\n" in result.stdout
    )


def test_what_no_backend_works_for_is_to_do(doctor: Doctor) -> None:
    """Only of the backend that the file names: another would be of no use."""
    result = doctor(('use = "space", backend = "best"', "out"))
    assert result.exit_code == 1
    assert "to do: backend best: CONFIG_X: another kernel has it" in result.stdout


def test_what_a_callback_lacks_is_to_do(doctor: Doctor) -> None:
    """The context can't run without it."""
    result = doctor(('use = "bare"', "broken"))
    assert result.exit_code == 1
    assert "to do: callback broken: CONFIG_X" in result.stdout


@pytest.mark.parametrize(
    ("target", "state", "code"), [("later", "waits", 0), ("never", "can't run here", 1)]
)
def test_targets_that_are_not_there(doctor: Doctor, target: str, state: str, code: int) -> None:
    """Those that may come are waited for."""
    result = doctor((f'use = "space", target = "{target}"', "out"))
    assert result.exit_code == code
    assert result.stdout.startswith(f"c0: {state} (space")
    assert f"{target}: isn't there" in result.stdout


def test_one_that_can_t_run_is_a_failure(doctor: Doctor) -> None:
    """Whatever the others can."""
    assert doctor(('use = "bare"', "out"), ('use = "bare"', "broken")).exit_code == 1


def test_the_cost_of_all_is_added_up(doctor: Doctor) -> None:
    """The last line is about all contexts."""
    lines = doctor(('use = "space"', "out"), ('use = "space"', "out")).stdout.splitlines()
    assert lines[-1] == "expected of all 2 contexts: 3.4% of a CPU"


def test_for_programs(doctor: Doctor) -> None:
    """JSON has the same, with every finding."""
    context = found(doctor(('use = "space", backend = "best"', "out"), json=True))
    assert (context["works"], context["backend"], context["forecast"]) == (False, None, None)
    assert context["to_do"] == ["backend best: CONFIG_X: another kernel has it"]
    assert [part["name"] for part in context["parts"]] == ["space", "out"]


def test_the_forecast_for_programs(doctor: Doctor) -> None:
    """It is that of ``--pid``, and what is expected with the backend that is taken."""
    context = found(doctor(('use = "space"', "out"), json=True))
    assert context["forecast"]["auto"] == "good"
    assert context["expected"]["cpu_share"] == pytest.approx(0.017)


def test_a_mistake_in_the_file(doctor: Doctor) -> None:
    """It is reported as by ``damon check``, with its exit code."""
    result = doctor(('use = "space", targt = "x"', "out"))
    assert result.exit_code == 2
    assert "unknown key; did you mean 'target'?" in result.stderr


def test_no_limits_besides_a_file(tmp_path: Path) -> None:
    """They are in the file."""
    args = ["doctor", str(tmp_path / "x.toml"), "--cpu-budget", "3%"]
    result = CliRunner().invoke(main, args, obj=Plugins({}))
    assert result.exit_code == 2
    assert "in FILE" in result.stderr
