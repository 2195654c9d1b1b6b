"""The JSON Schema of configurations: what is right passes, and usual mistakes are found."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from damon_core import ConfigError, Plugins, check_config, config_schema
from tests.documentation.collecting import PAGES, blocks

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs/damon.schema.json"
EXAMPLES = [*sorted((ROOT / "examples").glob("*.toml")), *sorted((ROOT / "deploy").rglob("*.toml"))]

#: What is first-party: others that are installed beside it aren't in the published schema.
OURS = [
    tomllib.loads(project.read_text())["project"]
    for project in sorted((ROOT / "plugins").glob("*/pyproject.toml"))
]
PLUGINS = Plugins.of(*(each["name"] for each in OURS if "damon" in each.get("entry-points", {})))

RIGHT = """
[[context]]
name = "db"
sampling_interval = "5ms"
[context.primitive]
use = "sim"
size = "1GiB"
uniform = { rate = 0.5 }
[[context.callback]]
use = "csv"
path = "db.csv"
"""

#: Usual mistakes in it: what is written instead of what, and where.
MISTAKES = {
    "unknown key of a context": ('name = "db"', 'nmae = "db"'),
    "duration without a unit": ('"5ms"', '"5"'),
    "duration that is a number": ('"5ms"', "5"),
    "budget above 1": ('name = "db"', "cpu_budget = 2"),
    "no regions": ('name = "db"', "min_regions = 0"),
    "primitive that isn't there": ('use = "sim"', 'use = "smi"'),
    "callback that isn't there": ('use = "csv"', 'use = "cvs"'),
    "no name of a primitive": ('use = "sim"', ""),
    "no option that is required": ('path = "db.csv"', ""),
    "unknown option": ('path = "db.csv"', 'path = "db.csv"\nrotate = "1d"'),
    "size with a wrong unit": ('"1GiB"', '"1Gi"'),
    "number that is a text": ("rate = 0.5", 'rate = "0.5"'),
    "number out of range": ("rate = 0.5", "rate = 1.5"),
    "one context as a table": ("[[context]]", "[context]"),
    "one callback as a table": ("[[context.callback]]", "[context.callback]"),
    "backend that isn't there": (
        'use = "sim"\nsize = "1GiB"\nuniform = { rate = 0.5 }',
        'use = "vaddr"\npid = 1\nbackend = "idel"',
    ),
    "option of another backend": (
        'use = "sim"\nsize = "1GiB"\nuniform = { rate = 0.5 }',
        'use = "vaddr"\npid = 1\nbackend = { use = "idle", idle_share = 0.1 }',
    ),
    "policy that isn't there": (
        "[[context.callback]]",
        '[context.policy]\nuse = "x"\n[[context.callback]]',
    ),
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Return the schema of what is first-party."""
    return config_schema(PLUGINS)


def mistakes(schema: dict[str, Any], raw: object) -> list[str]:
    """Return what a validator of schemas finds."""
    return [error.message for error in Draft7Validator(schema).iter_errors(raw)]


def configurations() -> list[Any]:
    """Return every complete configuration of examples and documentation."""
    found = [pytest.param(path.read_text(), id=str(path.relative_to(ROOT))) for path in EXAMPLES]
    for page in PAGES:
        for block in blocks(page):
            if block.language == "toml" and "[[context]]" in block.text:
                raw = tomllib.loads(block.text)
                if all("primitive" in context for context in raw["context"]):
                    found.append(pytest.param(block.text, id=str(block)))
    return found


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    """By the rules of draft 7."""
    Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("text", configurations())
def test_what_is_right_passes(schema: dict[str, Any], text: str) -> None:
    """Examples, and what the documentation shows."""
    assert mistakes(schema, tomllib.loads(text)) == []


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found(schema: dict[str, Any], name: str) -> None:
    """Those that `damon check` finds, too."""
    right, wrong = MISTAKES[name]
    raw = tomllib.loads(RIGHT.replace(right, wrong))
    assert mistakes(schema, raw)
    with pytest.raises(ConfigError):
        check_config(raw, PLUGINS)


def test_message_is_about_the_part_that_was_named(schema: dict[str, Any]) -> None:
    """Not that none of all parts fits."""
    raw = tomllib.loads(RIGHT.replace('path = "db.csv"', "path = 5"))
    assert mistakes(schema, raw) == ["5 is not of type 'string'"]


def test_defaults_are_right(schema: dict[str, Any]) -> None:
    """Each is what its own schema allows, and what a reader may write."""
    found = 0
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
            if (
                "default" in each
                and "properties" not in each
                and not isinstance(each["default"], dict)
            ):
                rest = {**each, "definitions": schema["definitions"]}
                assert mistakes(rest, each["default"]) == [], each
                found += 1
        elif isinstance(each, list):
            waiting += each
    assert found > 30


def test_every_key_is_explained(schema: dict[str, Any]) -> None:
    """So that an editor has something to show."""

    def unexplained(path: str, each: Any) -> list[str]:
        found = []
        for key, value in each.get("properties", {}).items():
            if "description" not in value and key != "use":
                found.append(f"{path}.{key}")
            found += unexplained(f"{path}.{key}", value)
            found += unexplained(f"{path}.{key}", value.get("items", {}))
        return found

    assert unexplained("", schema) == []
    for name, each in schema["definitions"].items():
        assert unexplained(name, each) == []


def test_published_schema_is_up_to_date(schema: dict[str, Any]) -> None:
    """Write it anew with: .venv/bin/damon check --schema > docs/damon.schema.json."""
    assert json.loads(PUBLISHED.read_text()) == schema, test_published_schema_is_up_to_date.__doc__


def taplo(path: Path, schema: Path) -> "subprocess.CompletedProcess[str]":
    """Check a file as editors do that have Taplo."""
    program = Path(sys.executable).with_name("taplo")
    return subprocess.run(
        [str(program), "check", "--schema", schema.as_uri(), str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_taplo_takes_what_is_right(tmp_path: Path) -> None:
    """The examples."""
    for path in EXAMPLES:
        checked = taplo(path, PUBLISHED)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_taplo_finds_mistakes(tmp_path: Path) -> None:
    """All of those above, each at its place."""
    path = tmp_path / "damon.toml"
    for name, (right, wrong) in MISTAKES.items():
        path.write_text(RIGHT.replace(right, wrong))
        checked = taplo(path, PUBLISHED)
        assert checked.returncode == 1, name
        assert "error" in checked.stderr, name
