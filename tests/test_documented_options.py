"""Tables of options in the documentation agree with the classes, and with the commands."""

import re
import tomllib
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from attrs import frozen
from damon_alert.options import AlertOptions, Notify, Rule
from damon_cgroup.plugin import CgroupOptions
from damon_csv.callback import CsvOptions
from damon_demo.command import demo
from damon_idle.options import IdleOptions
from damon_otlp.options import OtlpOptions
from damon_paddr.options import PaddrOptions
from damon_pagetable.options import PageTableOptions
from damon_parquet.options import ParquetOptions
from damon_prometheus.options import PrometheusOptions
from damon_record.command import record
from damon_sim.options import SimOptions
from damon_sim.patterns import Moving, RandomPages, Stairs, Uniform, Zigzag, Zone
from damon_sysfs.options import KdamondOptions, KernelOptions
from damon_top.command import top
from damon_vaddr.plugin import VaddrOptions
from damon_vaddr.referenced import ReferencedOptions

from damon_core import IntervalsGoal, NoOptions, Plugins, parse_duration, parse_size
from damon_core.deployment.model import Config, ContextConfig

ROOT = Path(__file__).parent.parent

#: What stands in a table instead of the value of an option that has no default.
REQUIRED = ("", "required")


@frozen
class Row:
    """A documented option."""

    names: tuple[str, ...]
    default: str


def tables(page: str) -> list[list[Row]]:
    """Return the tables of a page that have defaults, with what the first column names."""
    text = (ROOT / page).read_text()
    found = []
    for head, body in re.findall(r"^\|(.*)\|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        titles = [title.strip() for title in head.split("|")]
        if "default" not in titles:
            continue
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in body.splitlines()]
        found.append(
            [
                Row(tuple(re.findall(r"`([^`]+)`", row[0])), row[titles.index("default")])
                for row in rows
            ]
        )
    return found


def keys(options: type) -> dict[str, "attrs.Attribute[Any]"]:
    """Return what people may write for a class of options."""
    found: dict[str, attrs.Attribute[Any]] = {}
    for attribute in attrs.fields(options):
        if attribute.metadata.get("flat"):
            assert attribute.type is not None
            found |= keys(attribute.type)
        elif key := attribute.metadata.get("key", attribute.name):
            found[key] = attribute
    return found


def value_of(text: str, default: object) -> object:
    """Return the value of a default as it is documented, to be compared with the real one."""
    (literal,) = re.findall(r"^`(.*)`$", text) or [text]
    try:
        value = tomllib.loads(f"value = {literal}")["value"]
    except tomllib.TOMLDecodeError:
        value = literal
    if isinstance(default, list | tuple) and isinstance(value, list):
        return type(default)(value_of(f'`"{each}"`', default[0]) for each in value)
    if isinstance(value, str) and isinstance(default, int):
        return parse_size(value) if value.endswith("B") else parse_duration(value)
    return value


PAGES: list[tuple[str, int, type]] = [
    ("docs/configuration.md", 0, Config),
    ("docs/configuration.md", 1, ContextConfig),
    ("docs/configuration.md", 2, IntervalsGoal),
    ("plugins/alert/README.md", 0, Rule),
    ("plugins/alert/README.md", 1, Notify),
    ("plugins/cgroup/README.md", 0, CgroupOptions),
    ("plugins/csv/README.md", 0, CsvOptions),
    ("plugins/idle/README.md", 0, IdleOptions),
    ("plugins/otlp/README.md", 0, OtlpOptions),
    ("plugins/paddr/README.md", 0, PaddrOptions),
    ("plugins/pagetable/README.md", 0, PageTableOptions),
    ("plugins/parquet/README.md", 0, ParquetOptions),
    ("plugins/prometheus/README.md", 0, PrometheusOptions),
    ("plugins/sim/README.md", 0, SimOptions),
    ("plugins/sim/README.md", 1, Zone),
    ("plugins/sim/README.md", 2, Stairs),
    ("plugins/sim/README.md", 2, Zigzag),
    ("plugins/sim/README.md", 2, Moving),
    ("plugins/sim/README.md", 3, RandomPages),
    ("plugins/sim/README.md", 4, Uniform),
    ("plugins/sysfs/README.md", 0, KernelOptions),
    ("plugins/sysfs/README.md", 1, KdamondOptions),
    ("plugins/vaddr/README.md", 0, VaddrOptions),
]

#: Options that a page has elsewhere than in its table of options.
ELSEWHERE = {
    "SimOptions": {
        "zones", "moving", "stairs", "zigzag", "random_pages", "uniform", "function",
    },
}  # fmt: skip


@pytest.mark.parametrize(("page", "number", "options"), PAGES)
def test_options_are_documented_as_they_are(page: str, number: int, options: type) -> None:
    """All of them, each with its default."""
    rows = tables(page)[number]
    # A table may be named by its whole path: [context.primitive], [[context.callback]].
    documented = {
        name.strip("[]").rpartition(".")[2]: row.default for row in rows for name in row.names
    }
    found = keys(options)
    elsewhere = ELSEWHERE.get(options.__name__, set())
    assert set(documented) == set(found) - elsewhere
    for name, text in documented.items():
        default: Any = found[name].default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = default.factory()
        if default is attrs.NOTHING:
            assert text in REQUIRED, name
        elif text.startswith("`"):
            assert value_of(text, default) == (default or value_of(text, default)), name
            assert default is not None, name
        else:
            assert text != "required", name
            assert not default, f"{name}: {default!r}"


def test_every_part_with_options_is_compared() -> None:
    """So that no new one is forgotten; policies and `referenced` have theirs in the text."""
    plugins = Plugins.discover()
    found: set[type] = set()
    for info in plugins.infos():
        if info.package.startswith("damon-core"):
            continue
        found |= {plugins.primitive(name).options for name in info.primitives}
        found |= {plugins.callback(name).options for name in info.callbacks}
        for name in info.backends:
            primitive, _, backend = name.partition(".")
            found.add(plugins.backends(primitive)[backend].options)
    compared = {options for _, _, options in PAGES}
    assert PrometheusOptions in found
    assert found - compared == {NoOptions, AlertOptions, ReferencedOptions}


#: Commands, and options that are documented with another one.
COMMANDS: list[tuple[str, click.Command, set[str]]] = [
    ("plugins/record/README.md", record, set()),
    ("plugins/top/README.md", top, {name for each in record.params for name in each.opts}),
    ("plugins/demo/README.md", demo, set()),
]


@pytest.mark.parametrize(("page", "command", "elsewhere"), COMMANDS)
def test_options_of_commands_are_documented_as_they_are(
    page: str, command: click.Command, elsewhere: set[str]
) -> None:
    """All of them, each with its default."""
    options = {
        name: each
        for each in command.params
        if isinstance(each, click.Option)
        for name in each.opts
        if name not in elsewhere
    }
    documented = {
        name.split()[0]: row.default
        for row in tables(page)[0]
        for name in row.names
        if not name.startswith("-- ")
    }
    assert set(documented) == set(options)
    for name, text in documented.items():
        default, shown = options[name].default, options[name].show_default
        if isinstance(shown, str):
            assert text == shown, name
        elif shown and default not in (None, ()):
            assert text == f"`{default}`", name
