"""What a configuration file needs of this machine: the work of ``damon doctor FILE``."""

import json
import sys
from collections.abc import Iterable, Iterator

import attrs
import click
from attrs import frozen
from rich.console import Console
from rich.text import Text

from damon_cli.diagnosis import Diagnosis, diagnose_part, diagnose_primitive
from damon_cli.forecasting import for_programs, percent, remarks_on_many
from damon_core import (
    Config,
    ContextConfig,
    Expected,
    Finding,
    Forecast,
    InputError,
    Plugins,
    TargetError,
    backends_of,
    forecast_context,
    format_duration,
    format_size,
)


@frozen
class Readiness:
    """Whether a context can run here, and what it would come to.

    Attributes:
        name: The context's name.
        primitive: What was found about its primitive, with the backends that it may take.
        others: What was found about its policy and its callbacks.
        forecast: What is foretold; None if nothing is.
        absent: Why its targets can't be monitored now; empty if they can.
        waits: Whether that may change by itself.
    """

    name: str
    primitive: Diagnosis
    others: tuple[Diagnosis, ...]
    forecast: Forecast | None = None
    absent: str = ""
    waits: bool = False

    @property
    def works(self) -> bool:
        """Whether it can run, if only later."""
        parts = (self.primitive, *self.others)
        return all(each.works for each in parts) and (not self.absent or self.waits)

    @property
    def is_automatic(self) -> bool:
        """Whether it takes the backend that is best here."""
        return len(self.primitive.backends) > 1

    @property
    def backend(self) -> Diagnosis | None:
        """The backend that it takes; None if none works, or it needs none."""
        working = [each for each in self.primitive.backends if each.works]
        if self.forecast is not None:
            order = [each.name for each in self.forecast.backends]
            working.sort(key=lambda each: order.index(each.name))
        return next(iter(working), None)

    @property
    def expected(self) -> Expected | None:
        """What monitoring is expected to come to with its backend; None if that isn't known."""
        taken = self.backend
        if self.forecast is None or taken is None:
            return None
        backends = self.forecast.backends
        return next((each.expected for each in backends if each.name == taken.name), None)

    @property
    def to_do(self) -> tuple[str, ...]:
        """What has to be done so that it can run; empty if it can."""
        lines = []
        for part in (self.primitive, *self.others):
            lines += [f"{part.kind} {part.name}: {line}" for line in _lacking(part.findings)]
        if self.backend is None:
            for part in self.primitive.backends:
                lines += [f"backend {part.name}: {line}" for line in _lacking(part.findings)]
        if self.absent and not self.waits:
            lines.append(self.absent)
        return tuple(lines)

    @property
    def limits(self) -> tuple[str, ...]:
        """What it lacks to do all that it could."""
        parts = [self.primitive, *self.others]
        if self.backend is not None:
            parts.append(self.backend)
        return tuple(
            f"{part.kind} {part.name}: {line}"
            for part in parts
            for line in _lacking(part.findings, required=False)
        )


def examine(config: Config, plugins: Plugins) -> list[Readiness]:
    """Find out what each context needs; nothing is made, opened or monitored."""
    found = [_examine(each, plugins) for each in config.contexts]
    targets = sum(len(each.forecast.targets) for each in found if each.forecast is not None)
    return [
        attrs.evolve(each, forecast=each.forecast.among(targets))
        if each.forecast is not None
        else each
        for each in found
    ]


def _examine(config: ContextConfig, plugins: Plugins) -> Readiness:
    part, options = config.primitive.part, config.primitive.options
    served_by = backends_of(options, plugins.backends(part.name))
    others = [] if config.policy is None else [diagnose_part("policy", config.policy.part)]
    others += [diagnose_part("callback", each.part) for each in config.callbacks]
    found = Readiness(config.name, diagnose_primitive(part, served_by), tuple(others))
    if part.forecast is None or not found.primitive.works:
        return found
    try:
        return attrs.evolve(found, forecast=forecast_context(config, plugins))
    except InputError as error:
        waits = isinstance(error, TargetError) and error.may_come
        return attrs.evolve(found, absent=error.message, waits=waits)


def _lacking(findings: Iterable[Finding], required: bool = True) -> Iterator[str]:
    for each in findings:
        if not each.works and each.required == required:
            yield f"{each.name}: {each.detail}" if each.detail else each.name


# -- output ----------------------------------------------------------------------------


def show_readiness(found: list[Readiness], as_json: bool) -> None:
    """Print what was found of all contexts, for people or as JSON."""
    if as_json:
        click.echo(json.dumps([_for_programs(each) for each in found], indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    for each in found:
        for line in _for_people(each):
            console.print(line, soft_wrap=True)
    shares = [each.expected.cpu_share for each in found if each.expected is not None]
    if len(shares) > 1:
        console.print(f"expected of all {len(found)} contexts: {percent(sum(shares))} of a CPU")


def _for_people(found: Readiness) -> Iterator[Text]:
    state = Text("can't run here", "red")
    if found.works:
        state = Text("can run", "green") if not found.absent else Text("waits", "yellow")
    yield Text(f"{found.name}: ").append_text(state).append(f" ({_parts(found)})", "dim")
    for line in found.to_do:
        yield Text("    to do: ", "red").append(line, "default")
    if found.absent and found.waits:
        yield Text(f"    {found.absent}")
    for line in found.limits:
        yield Text("    limited: ", "yellow").append(line, "default")
    if found.forecast is not None:
        yield Text(f"    {_targets(found.forecast)}")
        if found.is_automatic:
            for line in remarks_on_many(found.forecast):
                yield Text(f"    {line}")
    if (expected := found.expected) is not None:
        every = format_duration(expected.intervals.aggregation_us, 3)
        stretched = f" ({expected.limit})" if expected.limit else ""
        yield Text(
            f"    expected: an aggregation every {every}{stretched}, "
            f"{percent(expected.cpu_share)} of a CPU; the targets lose "
            f"{percent(expected.slowdown)} of their time, "
            f"{format_duration(expected.longest_stall_us, 3)} at once"
        )


def _parts(found: Readiness) -> str:
    callbacks = ", ".join(each.name for each in found.others if each.kind == "callback")
    through = f" through {found.backend.name}" if found.backend is not None else ""
    return f"{found.primitive.name}{through} to {callbacks or 'nothing'}"


def _targets(forecast: Forecast) -> str:
    count = len(forecast.targets)
    if not count:
        return "nothing to monitor now"
    resident = sum(each.facts.get("resident_bytes", 0) for each in forecast.targets)
    size = f", {format_size(resident)} in memory" if resident else ""
    return f"now: {'1 target' if count == 1 else f'{count} targets'}{size}"


def _for_programs(found: Readiness) -> dict[str, object]:
    return {
        "context": found.name,
        "works": found.works,
        "waits": found.waits,
        "absent": found.absent,
        "backend": found.backend.name if found.backend is not None else None,
        "to_do": found.to_do,
        "limits": found.limits,
        "parts": [attrs.asdict(each) for each in (found.primitive, *found.others)],
        "forecast": for_programs(found.forecast) if found.forecast is not None else None,
        "expected": attrs.asdict(found.expected) if found.expected is not None else None,
    }
