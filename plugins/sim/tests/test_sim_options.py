"""Options as written in a configuration."""

import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from damon_sim import (
    Moving,
    SimOptions,
    SimulatedMemory,
    Uniform,
    Zone,
    Zones,
    load_function,
    plugin,
)

from damon_core import Bytes, InputError, Microseconds, Primitive

README = Path(__file__).parents[1] / "README.md"
GIB = Bytes(1 << 30)


def test_exactly_one_pattern_is_needed() -> None:
    """The error lists all."""
    with pytest.raises(ValueError, match=r"found none, must be exactly one of zones, moving, "):
        SimOptions(GIB)
    with pytest.raises(ValueError, match="found uniform and function, must be exactly one"):
        SimOptions(GIB, uniform=Uniform(1.0), function="a:b")


@pytest.mark.parametrize(
    "wrong", [{"size": 5000}, {"size": 0}, {"seed": -1}, {"ends_after": 0}], ids=str
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """Each message has what is allowed."""
    with pytest.raises(ValueError, match="must "):
        SimOptions(**{"size": GIB, "uniform": Uniform(1.0), **wrong})


def test_options_become_a_memory() -> None:
    """With the pattern that was given."""
    moving = Moving(Bytes(1 << 20), 4, Microseconds(1_000_000))
    assert SimOptions(GIB, moving=moving).pattern() == moving
    zone = Zone(Bytes(1 << 20), 0.5)
    assert SimOptions(GIB, zones=(zone,)).pattern() == Zones((zone,))
    assert SimOptions(GIB, moving=moving).memory().size_bytes == GIB


def test_a_function_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By module and name."""
    (tmp_path / "some_patterns.py").write_text(
        "def low(addresses, time_us):\n    return addresses < 4096\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    memory = SimOptions(GIB, function="some_patterns:low").memory()
    assert isinstance(memory, SimulatedMemory)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("no_colon", "must be written as 'module:name'"),
        (":name", "must be written as 'module:name'"),
        ("there_is_no_such_module:f", "ModuleNotFoundError.*PYTHONPATH"),
        ("math:no_such_function", "AttributeError"),
        ("math:pi", "is a float, not a function"),
    ],
)
def test_a_bad_function_is_one_line(location: str, message: str) -> None:
    """The message has the option's value, the mistake and what to do."""
    with pytest.raises(InputError, match=message) as caught:
        load_function(location)
    assert "\n" not in str(caught.value)


def test_a_function_of_another_form_is_refused_before_anything_runs() -> None:
    """It is tried once."""
    with pytest.raises(InputError, match="the pattern gcd failed: TypeError"):
        SimOptions(GIB, function="math:gcd").memory()


def test_every_option_has_a_line_of_help() -> None:
    """For listings and for messages about missing keys."""
    for options in (SimOptions, Zone, Moving, Uniform):
        assert all(field.metadata["help"] for field in attrs.fields(options))


def test_the_package_registers_the_primitive() -> None:
    """Under the name that configurations use; what it makes has the lifecycle's hooks."""
    found: list[Primitive] = []
    plugin.register_primitives(found.append)
    (part,) = found
    assert (part.name, part.options) == ("sim", SimOptions)
    assert isinstance(part.factory(SimOptions(GIB, uniform=Uniform(1.0)), {}), SimulatedMemory)


def test_the_examples_of_the_readme_parse() -> None:
    """All keys are options."""
    blocks = README.read_text().split("```toml")[1:]
    assert blocks
    known = {field.name for field in attrs.fields(SimOptions)} | {"use"}
    for block in blocks:
        context = tomllib.loads(block.partition("```")[0])["context"][0]
        assert set(context["primitive"]) <= known
