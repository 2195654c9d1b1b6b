"""What works on this machine: every part probed, and the work of ``damon doctor``."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import attrs
import click
from attrs import frozen
from rich.console import Console
from rich.text import Text

from damon_cli.commands import UnusableCommandError, all_installed_commands
from damon_core import Backend, Callback, Finding, Plugins, Policy, Primitive, one_line


@frozen
class Diagnosis:
    """What was found about one part."""

    kind: str
    name: str
    summary: str
    works: bool
    findings: tuple[Finding, ...]
    backends: "tuple[Diagnosis, ...]" = ()


def diagnose(plugins: Plugins) -> list[Diagnosis]:
    """Probe everything that is installed; plugins that can't be used are a diagnosis, too."""
    found: list[Diagnosis] = []
    infos = plugins.infos()
    for info in infos:
        found += [
            diagnose_primitive(plugins.primitive(name), plugins.backends(name).values())
            for name in info.primitives
        ]
    for info in infos:
        found += [diagnose_part("policy", plugins.policy(name)) for name in info.policies]
    for info in infos:
        found += [diagnose_part("callback", plugins.callback(name)) for name in info.callbacks]
    found += [
        _unusable("plugin", info.name, info.package, info.skipped) for info in infos if info.skipped
    ]
    return found


def diagnose_commands() -> list[Diagnosis]:
    """Import all installed commands; only those that can't be used are a diagnosis."""
    found = []
    for command in all_installed_commands():
        try:
            command.load()
        except UnusableCommandError as error:
            found.append(_unusable("command", command.name, command.package, str(error)))
    return found


def _unusable(kind: str, name: str, package: str, reason: str) -> Diagnosis:
    return Diagnosis(kind, name, package, False, (Finding("usable", False, reason),))


def diagnose_primitive(part: Primitive, served_by: Iterable[Backend]) -> Diagnosis:
    """Probe a primitive and backends that serve it; without one that works it doesn't either."""
    backends = tuple(
        diagnose_part("backend", backend, partial(backend.findings, part.name))
        for backend in served_by
    )
    found = diagnose_part("primitive", part)
    works = found.works and any(backend.works for backend in backends)
    if not backends:
        # Simulated memory, for one, needs none: a primitive that does has an option for it.
        needed = "backend" in attrs.fields_dict(part.options)
        lacking = (
            (Finding("a backend", False, "none that serves it is installed"),) if needed else ()
        )
        found = attrs.evolve(found, findings=(*found.findings, *lacking))
        works = found.works and not needed
    return attrs.evolve(found, works=works, backends=backends)


def diagnose_part(
    kind: str,
    part: Primitive | Backend | Policy | Callback,
    probe: Callable[[], Sequence[Finding]] | None = None,
) -> Diagnosis:
    """Probe a part; a probe that fails is a finding, too.

    Args:
        kind: What kind of part it is.
        part: The part.
        probe: What to call instead of its own probe.
    """
    try:
        findings = tuple((probe or part.probe)())
        works = all(finding.works or not finding.required for finding in findings)
    except (Exception, SystemExit) as error:
        findings, works = (Finding("probe", False, f"failed: {one_line(error)}"),), False
    return Diagnosis(kind, part.name, part.summary, works, findings)


def show(diagnoses: Sequence[Diagnosis], as_json: bool) -> None:
    """Print what was found, for people or as JSON."""
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in diagnoses], indent=2))
        return
    console = Console()
    for each in diagnoses:
        _show(console, each, "")


def _show(console: Console, diagnosis: Diagnosis, indent: str) -> None:
    state = Text("does not work", "red")
    if diagnosis.works:
        limited = any(not finding.works for finding in diagnosis.findings)
        state = Text("works, with limits", "yellow") if limited else Text("works", "green")
    line = Text(f"{indent}{diagnosis.kind} {diagnosis.name}: ").append_text(state)
    if diagnosis.summary:
        line.append(f" ({diagnosis.summary})", "dim")
    console.print(line, soft_wrap=True)
    for finding in diagnosis.findings:
        mark = Text("missing", "red" if finding.required else "yellow")
        if finding.works:
            mark = Text("ok     ", "green")
        detail = f": {finding.detail}" if finding.detail else ""
        line = Text(f"{indent}    ").append_text(mark).append(f" {finding.name}{detail}")
        console.print(line, soft_wrap=True)
    for backend in diagnosis.backends:
        _show(console, backend, indent + "    ")
