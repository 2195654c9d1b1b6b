"""What runs while a fault strikes: a context with the part in question, and one beside it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from damon_core import Plugins
from damon_core.registry.backends import missing_of
from damon_core.registry.packages import PluginInfo
from tests.faults.places import Place
from tests.faults.target import Target

#: How long a hook may take once the program is to stop, in a cell where it hangs; in others a
#: busy machine has time.
HANG_TIMEOUT_S, OTHER_TIMEOUT_S = 2.0, 60.0
VICTIM, BESIDE = "victim", "beside"
_ATTRIBUTES = """
sampling_interval = "10ms"
aggregation_interval = "50ms"
update_interval = "50ms"
max_regions = 30
cpu_budget = 1.0
max_slowdown = 1.0
max_stall = "1h"
"""
_SIM = {"size": "1GiB", "uniform": {"rate": 0.5}}
#: The options of parts that need some; another part that does is reported as a mistake.
_CALLBACKS: dict[str, dict[str, Any]] = {
    "csv": {"path": "own.csv"},
    "parquet": {"path": "own.parquet"},
    "otlp": {"timeout": "1s"},
    "prometheus": {"port": 0},
    "alert": {
        "rule": [{"name": "any", "when": "working_set", "above": "1B"}],
        "notify": [{"to": "log"}],
    },
}


@frozen
class Deployment:
    """What `damon` is to run.

    Attributes:
        name: What people call it.
        arguments: The arguments of the command ``damon``.
        configuration: The file for them.
        needs: The part that it is about: ``(kind, name)``.
        missing: Why it can't run on this machine; empty if it can.
        package: The package that the part is from.
    """

    name: str
    arguments: tuple[str, ...]
    configuration: str
    needs: tuple[str, str]
    missing: str = ""
    package: str = ""

    def is_about(self, place: Place) -> bool:
        """Return whether a place is in what this deployment is there for."""
        kind, name = self.needs
        if place.kind == "package":
            return place.part == self.package
        if kind == "backend" and place.kind == "primitive":
            return place.part == name.partition(".")[0]
        return (place.kind, place.part) == self.needs

    @property
    def is_pair(self) -> bool:
        """Whether there is a context beside the one in question."""
        return bool(self.configuration)


def deployments(plugins: Plugins, target: Target) -> Iterator[Deployment]:
    """Yield deployments that have, together, every part that is installed."""
    packages = {
        (kind, name): info.name.partition(",")[0]
        for info in plugins.infos()
        for kind, names in _offers(info).items()
        for name in names
    }
    for each in _deployments(plugins, target):
        yield evolve(each, package=packages[each.needs])


def _offers(info: PluginInfo) -> dict[str, Sequence[str]]:
    return {
        "primitive": info.primitives,
        "backend": info.backends,
        "policy": info.policies,
        "callback": info.callbacks,
        "format": info.formats,
    }


def _deployments(plugins: Plugins, target: Target) -> Iterator[Deployment]:
    infos = [info for info in plugins.infos() if not info.skipped]
    primitives = [name for info in infos for name in info.primitives]
    for primitive in primitives:
        options, missing = _options_of(primitive, target)
        missing = missing or _missing_of(plugins, primitive)
        backends = plugins.backends(primitive)
        if not backends:
            yield _pair(primitive, ("primitive", primitive), primitive, options, missing=missing)
        for name, backend in backends.items():
            lacks = missing or missing_of(primitive, backend)
            needs = ("backend", f"{primitive}.{name}")
            chosen = {**options, "backend": name}
            yield _pair(f"{primitive}.{name}", needs, primitive, chosen, missing=lacks)
    for name in (name for info in infos for name in info.policies):
        yield _pair(f"policy {name}", ("policy", name), "sim", _SIM, policy=name)
    for name in (name for info in infos for name in info.callbacks):
        yield _pair(f"callback {name}", ("callback", name), "sim", _SIM, callback=name)
    for each in plugins.formats():
        record: tuple[str, ...] = ("record", "--pid", str(target.pid), "--backend", "referenced")
        record += ("--sampling", "10ms", "--aggregation", "50ms", "--cpu-budget", "100%")
        record += ("--max-slowdown", "100%", "--max-stall", "1h")
        output = ("-o", f"own{each.suffixes[0]}")
        yield Deployment(f"format {each.name}", (*record, *output), "", ("format", each.name))


def _missing_of(plugins: Plugins, primitive: str) -> str:
    """Return what a primitive lacks on this machine, empty if nothing."""
    return "; ".join(
        f"{finding.name} ({finding.detail})"
        for finding in plugins.primitive(primitive).probe()
        if finding.required and not finding.works
    )


def _options_of(primitive: str, target: Target) -> tuple[dict[str, Any], str]:
    """Return the options of a primitive, and why it can't be used here."""
    if primitive == "sim":
        return _SIM, ""
    if primitive == "vaddr":
        return {"pid": target.pid}, ""
    if primitive == "cgroup":
        return {"path": target.cgroup}, "" if target.cgroup else "no cgroup can be made here"
    return {}, ""


def _pair(
    name: str,
    needs: tuple[str, str],
    primitive: str,
    options: dict[str, Any],
    *,
    policy: str = "",
    callback: str = "",
    missing: str = "",
) -> Deployment:
    """Return a deployment with the context in question and one beside it."""
    lines = [*_context(VICTIM), "[context.primitive]", f"use = {json.dumps(primitive)}"]
    lines += _lines(options)
    if policy:
        lines += ["[context.policy]", f'use = "{policy}"']
    if callback:
        lines += ["[[context.callback]]", f'use = "{callback}"']
        lines += _lines(_CALLBACKS.get(callback, {}))
    lines += _outputs(VICTIM)
    lines += [*_context(BESIDE), "[context.primitive]", 'use = "sim"', *_lines(_SIM)]
    lines += _outputs(BESIDE)
    return Deployment(name, ("run", "damon.toml"), "\n".join(lines), needs, missing)


def _context(name: str) -> list[str]:
    return ["[[context]]", f'name = "{name}"', _ATTRIBUTES]


def _outputs(name: str) -> list[str]:
    lines = []
    for use in ("csv", "parquet"):
        lines += ["[[context.callback]]", f'use = "{use}"', f'path = "{name}.{use}"']
    return lines


def _lines(options: dict[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in options.items()]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def write(deployment: Deployment, folder: Path, stop_timeout_s: float) -> None:
    """Write the file of a deployment into a folder."""
    limit = f'[[context]]\nstop_timeout = "{stop_timeout_s}s"'
    (folder / "damon.toml").write_text(deployment.configuration.replace("[[context]]", limit))
