"""``damon doctor``: what works on this machine, and what exactly is missing for the rest."""

import json
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import click
from attrs import frozen
from rich.console import Console
from rich.text import Text

from damon_core.contract.registration import Backend, Callback, Finding, Policy, Primitive
from damon_core.errors import one_line
from damon_core.registry.backends import probe_backend
from damon_core.registry.discovery import Plugins


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
        found += [_diagnose_primitive(plugins, name) for name in info.primitives]
    for info in infos:
        found += [_probe("policy", plugins.policy(name)) for name in info.policies]
    for info in infos:
        found += [_probe("callback", plugins.callback(name)) for name in info.callbacks]
    found += [
        Diagnosis(
            "plugin", info.name, info.package, False, (Finding("usable", False, info.skipped),)
        )
        for info in infos
        if info.skipped
    ]
    return found


def _diagnose_primitive(plugins: Plugins, name: str) -> Diagnosis:
    """Probe a primitive and its backends; without one that works it doesn't either."""
    part = plugins.primitive(name)
    backends = tuple(
        _probe("backend", backend, partial(probe_backend, name, backend))
        for backend in plugins.backends(name).values()
    )
    found = _probe("primitive", part)
    works = found.works and any(backend.works for backend in backends)
    if not backends:
        # Simulated memory, for one, needs none: whoever does has an option for the choice.
        needed = "backend" in attrs.fields_dict(part.options)
        lacking = (
            (Finding("a backend", False, "none that serves it is installed"),) if needed else ()
        )
        found = attrs.evolve(found, findings=(*found.findings, *lacking))
        works = found.works and not needed
    return attrs.evolve(found, works=works, backends=backends)


def _probe(
    kind: str,
    part: Primitive | Backend | Policy | Callback,
    probe: Callable[[], Sequence[Finding]] | None = None,
) -> Diagnosis:
    try:
        findings = tuple((probe or part.probe)())
        works = all(finding.works or not finding.required for finding in findings)
    except Exception as error:
        findings, works = (Finding("probe", False, f"failed: {one_line(error)}"),), False
    return Diagnosis(kind, part.name, part.summary, works, findings)


@click.command(epilog="Example: damon doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def doctor(plugins: Plugins, as_json: bool) -> None:
    """Tell what works on this machine and what is missing for the rest.

    Exits with 0 whatever it finds: a machine needn't be able to do everything.
    """
    diagnoses = diagnose(plugins)
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
