"""Faults in every hook of every part: `python -m tests.faults`."""

import json
import random
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from damon_core import Plugins
from tests.faults import cell, forking, target, warm
from tests.faults.cell import Outcome
from tests.faults.deployments import Deployment, deployments
from tests.faults.places import FAULTS, Place, Reached
from tests.faults.sabotage import traced


@click.command()
@click.option(
    "--only", multiple=True, metavar="WORD", help="Only places and faults with this word in them."
)
@click.option("--part", default="", metavar="WORD", help="Run only parts whose name has this word.")
@click.option("--share", default=1.0, show_default=True, help="Share of the cells, at random.")
@click.option("--seed", type=int, help="Seed of the share.  [default: a new one]")
@click.option("--jobs", default=4, show_default=True, help="Cells at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--keep", is_flag=True, help="Keep the files of all cells, and say where.")
def _options(**options: Any) -> dict[str, Any]:
    """Have every hook of every part raise, exit, hang and be slow while damon runs.

    Ends with exit code 1 if one isn't contained as docs/reliability.md promises.
    """
    return options


def _matrix(
    *,
    only: tuple[str, ...],
    part: str,
    share: float,
    seed: int | None,
    jobs: int,
    as_json: bool,
    keep: bool,
) -> None:
    seed = random.randrange(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="damon-faults-"))
    monitored = target.start()
    report = Console(stderr=True)
    here, missing = [], {}
    for each in deployments(Plugins.discover(), monitored):
        if part not in each.name:
            continue
        if each.missing:
            missing[each.name] = each.missing
        else:
            here.append(each)
    _do(
        [partial(cell.trace, each, folder / f"trace-{n}") for n, each in enumerate(here)],
        jobs,
        "runs without a fault",
        report,
    )
    warm.import_all(folder.iterdir())
    cells = [
        each
        for each in _cells(here, folder)
        if all(word in f"{each[1].place}, {each[2]}" for word in only)
    ]
    if share < 1:
        rng = random.Random(seed)
        cells = rng.sample(cells, round(share * len(cells)))
    _do(
        [partial(cell.run, *each, folder / str(n)) for n, each in enumerate(cells)],
        jobs,
        "cells",
        report,
    )
    outcomes = [
        cell.outcome_of(folder / str(n), reached.place, fault)
        for n, (_, reached, fault) in enumerate(cells)
    ]
    monitored.end()
    if as_json:
        shown = {"seed": seed, "not_here": missing, "cells": [each.as_json() for each in outcomes]}
        click.echo(json.dumps(shown, indent=2))
    else:
        _show(outcomes, missing, f"seed {seed}, share {share:g}")
    if keep:
        report.print(f"files are in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(any(each.problems for each in outcomes))


def _do(works: list[Any], jobs: int, what: str, report: Console) -> None:
    """Do works in forks, with progress where somebody looks on, and each tenth for a log."""

    def progress(done: int) -> None:
        line = f"{done} of {len(works)} {what}"
        if report.is_terminal:
            click.echo(f"\r{line}", nl=done == len(works), err=True)
        elif done * 10 // len(works) > (done - 1) * 10 // len(works):
            click.echo(line, err=True)

    forking.in_turn(works, jobs, progress)


def _cells(here: list[Deployment], folder: Path) -> list[tuple[Deployment, Reached, str]]:
    """Return all cells: each place once, in the first deployment that is about its part.

    Raises:
        click.ClickException: A hook is never called, so that nothing would be known of it.
    """
    found: dict[Place, tuple[Deployment, Reached]] = {}
    implemented: set[Place] = set()
    said = ""
    for number, deployment in enumerate(here):
        where = folder / f"trace-{number}"
        if not (where / "trace").exists():
            err = (where / "err").read_text()
            raise click.ClickException(f"{deployment.name} doesn't run: {err}")
        for reached in traced(where):
            if deployment.is_about(reached.place):
                found.setdefault(reached.place, (deployment, reached))
        said += (where / "err").read_text()
        rows = json.loads((where / "implemented").read_text())
        implemented |= {
            place for place in (Place(**row) for row in rows) if deployment.is_about(place)
        }
    # The core calls it when a context is closed; what runs in the trace has ended by then.
    if unknown := sorted(str(place) for place in implemented - set(found)):
        raise click.ClickException(f"never called: {'; '.join(unknown)}\n{said}")
    return [(*each, fault) for each in found.values() for fault in FAULTS]


def _show(outcomes: list[Outcome], missing: dict[str, str], what: str) -> None:
    """Print a table for people."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(
        title=f"Faults in hooks ({what}): seconds from SIGTERM to the end, or what is wrong"
    )
    for name in ("part", "hook"):
        table.add_column(name, overflow="fold")
    for fault in FAULTS:
        table.add_column(fault, justify="right")
    rows: dict[Place, dict[str, Outcome]] = {}
    for each in outcomes:
        rows.setdefault(each.place, {})[each.fault] = each
    problems: list[str] = []
    for place, by_fault in rows.items():
        marks = []
        for fault in FAULTS:
            outcome = by_fault.get(fault)
            mark = "" if outcome is None else f"{outcome.end_s:.1f}"
            if outcome is not None and outcome.problems:
                lines = "\n    ".join(outcome.problems)
                problems.append(f"{place}, {fault}:\n    {lines}")
                mark = f"[red]\\[{len(problems)}][/red]"
            marks.append(mark)
        table.add_row(f"{place.kind} {place.part}", place.hook, *marks)
    console.print(table)
    for number, problem in enumerate(problems, 1):
        console.print(f"[{number}] {problem}", markup=False, highlight=False, soft_wrap=True)
    for name, reason in missing.items():
        console.print(f"not here: {name}: {reason}", markup=False, highlight=False, soft_wrap=True)
    count = sum(not each.problems for each in outcomes)
    console.print(f"{count} of {len(outcomes)} cells are as promised")


if __name__ == "__main__":
    forking.main(_options, _matrix)
