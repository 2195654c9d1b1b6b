"""SIGKILL at any moment: `python -m tests.faults.kills`.

`damon run` and `damon record` write CSV and Parquet, with rotation, and are killed: while they
start, while files are created, moved aside and written. After each kill every row that was
acknowledged is there, in files that can all be read; the next life goes on from there, and at the
end `damon report` reads all that was left.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import damon_cli.main
import damon_parquet.writer
from attrs import frozen

from damon_core import DamonError, Plugins, format_of
from tests.faults import forking, target, warm
from tests.faults.witness import Witness, witnessed_us

#: How many lives end in a folder, one after the other.
_LIVES = 4
#: How long a life may take to begin, on a busy machine.
_PATIENCE_S = 20.0
#: Most kills come within so many aggregations, the others within so many seconds of the start.
_AGGREGATIONS, _START_S = 15, 1.0
#: Row groups follow one another in milliseconds, not minutes: as many moments of writing.
_ROW_GROUP_US = 30_000
_CONFIGURATION = """
[[context]]
name = "killed"
sampling_interval = "5ms"
aggregation_interval = "10ms"
cpu_budget = 1.0
max_regions = 30
[context.primitive]
use = "sim"
size = "1GiB"
uniform = { rate = 0.5 }
[[context.callback]]
use = "csv"
path = "killed.csv"
rotate_size = "4KiB"
[[context.callback]]
use = "parquet"
path = "killed.parquet"
rotate_every = "300ms"
"""


@frozen
class _Program:
    """What is killed.

    Attributes:
        name: What people call it.
        arguments: The arguments of ``damon``.
        context: The name of its context.
        csv: Whether it writes CSV.
    """

    name: str
    arguments: tuple[str, ...]
    context: str
    csv: bool


def _programs(pid: int) -> list[_Program]:
    record: tuple[str, ...] = ("record", "--pid", str(pid), "--backend", "referenced")
    record += ("--sampling", "5ms", "--aggregation", "10ms", "--cpu-budget", "100%")
    record += ("--max-slowdown", "100%", "--max-stall", "1h")
    return [
        _Program("run", ("run", "damon.toml"), "killed", True),
        _Program("record csv", (*record, "-o", "killed.csv"), "record", True),
        _Program("record parquet", (*record, "-o", "killed.parquet"), "record", False),
    ]


def _live(program: _Program, folder: Path) -> None:
    """Be a program, until it is killed."""
    forking.redirect(folder)
    os.chdir(folder)
    Witness(folder).attend()
    writer: Any = damon_parquet.writer
    for name in ("_MIN_SPAN_US", "_MAX_SPAN_US"):
        setattr(writer, name, _ROW_GROUP_US)
    append = writer.RowGroupFile.append

    def appending(file: Any, table: Any) -> None:
        append(file, table)
        times_us = table["time"].unique().cast("int64").to_pylist()
        note = os.open("witness-parquet", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(note, b"".join(b"%d\n" % each for each in times_us))
        os.close(note)

    writer.RowGroupFile.append = appending
    try:
        damon_cli.main.main(list(program.arguments), prog_name="damon")
    finally:
        warm.note_modules(folder)


def _lives(program: _Program, lives: int, seed: str, folder: Path) -> None:
    """Let a program live and be killed, some times in one folder; write ``problems`` there."""
    rng = random.Random(seed)
    folder.mkdir()
    (folder / "damon.toml").write_text(_CONFIGURATION)
    problems: list[str] = []
    for life in range(lives):
        before = len(witnessed_us(folder, program.context))
        pid = forking.fork(partial(_live, program, folder))
        if rng.random() < 0.25:
            time.sleep(rng.random() * _START_S)
        else:
            wanted = before + rng.randrange(_AGGREGATIONS)
            until_s = time.monotonic() + _PATIENCE_S
            while len(witnessed_us(folder, program.context)) < wanted:
                if time.monotonic() > until_s:  # How far it gets on a busy machine isn't the point.
                    break
                time.sleep(0.001)
            time.sleep(rng.random() * 0.02)
        if (code := forking.wait(pid, 0)) is not None:
            problems.append(f"it ended by itself with {code}")
        else:
            forking.kill(pid)
        found = _found(program, folder, life == lives - 1)
        problems += [f"life {life + 1} of {program.name} (seed {seed}): {each}" for each in found]
    (folder / "problems").write_text(json.dumps(problems))


def _found(program: _Program, folder: Path, report: bool) -> list[str]:
    """Return what is wrong with the files, also for ``damon report`` if wanted."""
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in (".csv", ".parquet") and not path.name.startswith(".")
        # Empty is what was created when the kill came, before anything was acknowledged.
        if path.stat().st_size
    ]
    found = []
    kept: dict[str, set[int]] = {".csv": set(), ".parquet": set()}
    formats = Plugins.discover().formats()
    for path in paths:
        try:
            with format_of(path, formats).read(path) as reader:
                kept[path.suffix] |= {snapshot.time_us for snapshot in reader.snapshots()}
        except (DamonError, OSError) as error:
            found.append(f"{path.name} can't be read: {error}")
    promised = {".parquet": set(witnessed_us(folder, "parquet"))}
    if program.csv:
        promised[".csv"] = set(witnessed_us(folder, program.context))
    for suffix, times_us in promised.items():
        if lost := times_us - kept[suffix]:
            found.append(f"{len(lost)} of {len(times_us)} aggregations aren't in {suffix[1:]}")
        reported = [str(path) for path in paths if path.suffix == suffix]
        if report and kept[suffix] and (reason := _reported(reported)):
            found.append(f"damon report of {suffix[1:]}: {reason}")
    return found


def _reported(paths: list[str]) -> str:
    """Return why ``damon report`` fails with files; nothing if it doesn't."""
    before = sys.stdout
    try:
        with open(os.devnull, "w") as sys.stdout:
            damon_cli.main.main(["report", "summary", *paths], standalone_mode=False)
    except (Exception, SystemExit) as error:
        return str(error) or repr(error)
    finally:
        sys.stdout = before
    return ""


@click.command()
@click.option("--kills", default=1000, show_default=True, help="How many.")
@click.option("--seed", type=int, help="Of the moments.  [default: a new one]")
@click.option("--jobs", default=4, show_default=True, help="Programs at a time.")
@click.option("--keep", is_flag=True, help="Keep all files, and say where.")
def _options(**options: Any) -> dict[str, Any]:
    """Kill damon at random moments, and see that every acknowledged row is there.

    Ends with exit code 1 if a row is lost, or a file can't be read.
    """
    return options


def _kill(*, kills: int, seed: int | None, jobs: int, keep: bool) -> None:
    seed = random.randrange(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="damon-kills-"))
    monitored = target.start()
    programs = _programs(monitored.pid)
    warming = [folder / f"warm-{number}" for number in range(len(programs))]
    for program, there in zip(programs, warming, strict=True):
        _warm(program, there)
    warm.import_all(warming)
    works: list[Callable[[], None]] = []
    where: list[Path] = []
    for number, first in enumerate(range(0, kills, _LIVES)):
        lives = min(_LIVES, kills - first)
        where.append(folder / str(number))
        program = programs[number % len(programs)]
        works.append(partial(_lives, program, lives, f"{seed}-{number}", where[-1]))
    forking.in_turn(works, jobs, lambda done: _progress(done, len(works)))
    monitored.end()
    problems: list[str] = []
    rows = 0
    for each in where:
        found = each / "problems"
        problems += json.loads(found.read_text()) if found.exists() else [f"{each} itself failed"]
        notes = [file.read_text() for file in each.glob("witness-*")]
        rows += sum(note.count("\n") for note in notes)
    if keep or problems:
        click.echo(f"files are in {folder}", err=True)
    else:
        shutil.rmtree(folder)
    for problem in problems:
        click.echo(problem)
    result = f"{len(problems)} problems" if problems else "all of them there, all files readable"
    click.echo(f"{kills} kills, seed {seed}: {rows} acknowledged aggregations, {result}")
    sys.exit(bool(problems))


def _warm(program: _Program, folder: Path) -> None:
    """Run a program for a moment, to know what it imports."""
    folder.mkdir()
    (folder / "damon.toml").write_text(_CONFIGURATION)
    pid = forking.fork(partial(_live, program, folder))
    until_s = time.monotonic() + _PATIENCE_S
    while len(witnessed_us(folder, program.context)) < 2 * _AGGREGATIONS:
        if time.monotonic() > until_s + 60 or forking.ended(pid):
            raise click.ClickException((folder / "err").read_text())
        time.sleep(0.01)
    forking.end(pid, 3 * _PATIENCE_S)


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{done} of {of} folders", nl=done == of, err=True)


if __name__ == "__main__":
    forking.main(_options, _kill)
