"""What monitoring would come to, for people and programs: the work of ``damon doctor --pid``."""

import json
import sys
from collections.abc import Mapping, Sequence

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from damon_core import (
    BackendForecast,
    Expected,
    Forecast,
    TargetForecast,
    format_duration,
    format_size,
)

#: Characters of a line that isn't broken.
_UNBROKEN = 10_000
#: How many targets are listed for people.
_MOST_TARGETS = 10


def show_forecast(forecast: Forecast, as_json: bool) -> None:
    """Print a forecast, for people or as JSON."""
    if as_json:
        click.echo(json.dumps(for_programs(forecast), indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else _UNBROKEN)
    if not forecast.targets:
        console.print("there is no process to monitor now")
        return
    console.print(_targets_table(forecast.targets))
    console.print()
    console.print(_backends_table(forecast))
    for line in _remarks(forecast):
        console.print(line, soft_wrap=True)


# -- for people ------------------------------------------------------------------------


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        table.add_column(header, no_wrap=True, justify="right" if number else "left")
    return table


def _targets_table(targets: Sequence[TargetForecast]) -> Table:
    names = list(dict.fromkeys(name for target in targets for name in target.facts))
    table = _table("target", *(_label(name) for name in names))
    shown = sorted(targets, key=lambda target: -max(target.facts.values(), default=0))
    for target in shown[:_MOST_TARGETS]:
        table.add_row(target.name, *(_written(name, target.facts.get(name)) for name in names))
    if len(targets) > 1:
        totals = {name: sum(target.facts.get(name, 0) for target in targets) for name in names}
        table.add_row(
            f"all {len(targets)}", *(_written(name, totals[name]) for name in names), style="bold"
        )
    return table


def _backends_table(forecast: Forecast) -> Table:
    table = _table("backend", "aggregation", "limit", "slow-down", "stall", "CPU")
    for backend in forecast.backends:
        expected = backend.expected
        if backend.missing:
            table.add_row(backend.name, Text("doesn't work", "red"))
        elif expected is None:
            table.add_row(backend.name, "unknown")
        else:
            table.add_row(
                backend.name,
                format_duration(expected.intervals.aggregation_us, 3),
                expected.limit or "none",
                percent(expected.slowdown),
                Text(
                    format_duration(expected.longest_stall_us, 3),
                    "yellow" if backend.stalls else "",
                ),
                percent(expected.cpu_share),
            )
    return table


def _remarks(forecast: Forecast) -> list[str]:
    lines = [""]
    working = [backend.name for backend in forecast.working]
    if not working:
        lines.append("no backend works here, so nothing can be monitored")
    elif len(working) == 1:
        lines.append(f"'auto' takes {working[0]}, the only one that works here")
    else:
        others = ", ".join(working[1:])
        lines.append(f"'auto' takes {working[0]}, which is preferred to {others}")
    lines += remarks_on_many(forecast)
    for backend in forecast.backends:
        lines += [f"{backend.name}: {line}" for line in _remarks_on(backend, forecast)]
    return lines


def remarks_on_many(forecast: Forecast) -> list[str]:
    """Return which backends are too dear for so many targets, a line each."""
    return [
        f"{each.name}: {format_duration(round(each.target_us))} for each of "
        f"{forecast.all_targets} targets is too much for the CPU budget, so 'auto' takes it last"
        for each in forecast.too_dear
    ]


def _remarks_on(backend: BackendForecast, forecast: Forecast) -> list[str]:
    if backend.missing:
        return [f"needs {backend.missing}"]
    if backend.costs is None:
        return ["foretells nothing"]
    lines = [backend.costs.note] if backend.costs.note else []
    if facts := backend.costs.facts:
        lines.append(", ".join(f"{_label(name)} {_written(name, facts[name])}" for name in facts))
    expected, idle = backend.expected, backend.expected_idle
    if expected is None or idle is None:
        return lines
    if idle.intervals != expected.intervals:
        every = format_duration(expected.intervals.aggregation_us, 3)
        lines.append(
            f"an aggregation takes {every} if all memory is accessed meanwhile, "
            f"{format_duration(idle.intervals.aggregation_us, 3)} if next to nothing is"
        )
    lines += _on_stalls(backend, forecast)
    return lines


def _on_stalls(backend: BackendForecast, forecast: Forecast) -> list[str]:
    """Return what is to be said of a memory map that is locked for too long."""
    limit_us = forecast.limits.max_stall_us
    if limit_us is None or not backend.stalls:
        return []
    better = [each.name for each in forecast.working if each is not backend and not each.stalls]
    advice = f"{' or '.join(better)} works here, too" if better else "a higher --max-stall"
    if not better and any(each.missing for each in forecast.backends):
        advice += " or a backend that doesn't work here yet"
    limit = f"max_stall ({format_duration(limit_us, 3)})"
    return [f"a walk is longer than {limit}, so it is made rarely; what would help: {advice}"]


def _label(name: str) -> str:
    """Return the name of a fact for people, without its unit."""
    return name.removesuffix("_bytes").removesuffix("_us").replace("_", " ")


def _written(name: str, number: int | None) -> str:
    """Return a number as people write it, by the unit in its name."""
    if number is None:
        return ""
    if name.endswith("_bytes"):
        return format_size(number)
    return format_duration(number, 3) if name.endswith("_us") else str(number)


def percent(share: float) -> str:
    """Return a share as people write it."""
    return f"{share * 100:.2g}%" if share < 1 else f"{share * 100:.0f}%"


# -- for programs ----------------------------------------------------------------------


def for_programs(forecast: Forecast) -> Mapping[str, object]:
    """Return a forecast as JSON has it."""
    working = forecast.working
    return {
        "targets": [{"name": target.name, **target.facts} for target in forecast.targets],
        "limits": attrs.asdict(forecast.limits),
        "auto": working[0].name if working else None,
        "backends": [_backend_for_programs(backend) for backend in forecast.backends],
    }


def _backend_for_programs(backend: BackendForecast) -> Mapping[str, object]:
    costs = backend.costs
    return {
        "name": backend.name,
        "works": not backend.missing,
        "missing": backend.missing,
        "note": costs.note if costs else "",
        "costs": dict(costs.facts) if costs else {},
        "expected": _expected_for_programs(backend.expected),
        "expected_idle": _expected_for_programs(backend.expected_idle),
        "stalls": backend.stalls,
    }


def _expected_for_programs(expected: Expected | None) -> Mapping[str, object] | None:
    if expected is None:
        return None
    values = attrs.asdict(expected)
    return {**values.pop("intervals"), **values}
