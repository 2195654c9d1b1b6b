"""One cell of the matrix: damon runs, a fault strikes, damon is asked to stop, and is judged."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import asdict, frozen

from damon_core import DamonError, Plugins, format_of
from tests.faults import deployments, forking, sabotage, warm
from tests.faults.deployments import BESIDE, VICTIM, Deployment
from tests.faults.places import Place, Reached
from tests.faults.witness import Witness, witnessed_us

#: How long a busy machine may need for anything.
_PATIENCE_S = 300.0
#: How long it may need for an end beyond the times that damon allows.
_SLACK_S = 60.0
#: How many aggregations show that a context goes on.
_GOES_ON = 3
_LOOK_S = 0.01


@frozen
class Outcome:
    """What became of a fault.

    Attributes:
        place: Where it struck.
        fault: What happened there, of `FAULTS`.
        problems: What isn't as promised.
        end_s: How long damon took to end once it was asked to.
    """

    place: Place
    fault: str
    problems: tuple[str, ...]
    end_s: float

    def as_json(self) -> dict[str, object]:
        """Return it as JSON can have it."""
        return {**asdict(self.place), **{key: getattr(self, key) for key in _KEYS}}


_KEYS = ("fault", "problems", "end_s")


def trace(deployment: Deployment, folder: Path) -> None:
    """Run a deployment without a fault, for the file ``trace`` of the folder, in a fork."""
    _prepare(deployment, folder, deployments.OTHER_TIMEOUT_S)
    witness = Witness(folder)
    tracing = sabotage.Trace(folder, witness, _context_of(deployment))
    implemented: list[Place] = []

    def work() -> None:
        forking.redirect(folder)
        os.chdir(folder)
        witness.attend()
        sabotage.install(tracing, _primitive_of(deployment), implemented.append)
        try:
            _damon(deployment)
        finally:
            tracing.write()
            warm.note_modules(folder)
            (folder / "implemented").write_text(json.dumps([asdict(each) for each in implemented]))

    pid = forking.fork(work)
    _until(lambda: _count(folder, _context_of(deployment)) > 2 * _GOES_ON, pid)
    (folder / "stop").touch()
    forking.end(pid, _PATIENCE_S)


def run(deployment: Deployment, reached: Reached, fault: str, folder: Path) -> None:
    """Run a cell, and write its outcome to the file ``outcome`` of the folder, in a fork."""
    limit_s = deployments.HANG_TIMEOUT_S if fault == "hang" else deployments.OTHER_TIMEOUT_S
    _prepare(deployment, folder, limit_s)
    witness = Witness(folder)
    place = reached.place
    context = _context_of(deployment)
    strike = sabotage.Fault(reached, fault, folder, witness, context)

    def work() -> None:
        forking.redirect(folder)
        os.chdir(folder)
        witness.attend()
        sabotage.install(strike, _primitive_of(deployment))
        _damon(deployment)

    pid = forking.fork(work)
    problems = []
    struck = folder / "struck"
    begins = place.hook == "factory" or place.kind == "package"
    others = BESIDE if deployment.is_pair else context
    if not _until(lambda: struck.exists() or (reached.at_end and _count(folder, others) > 5), pid):
        problems.append("the place wasn't reached")
    ended = None
    if begins and fault in ("raise", "exit"):
        ended = forking.wait(pid, _PATIENCE_S)
    elif fault == "slow" or (deployment.is_pair and not begins):
        # The context beside goes on, whatever happens to this one.
        before = _count(folder, others)
        if not _until(lambda: _count(folder, others) >= before + _GOES_ON, pid):
            problems.append(f"the context beside didn't go on after {before} aggregations")
    began_s = time.monotonic()
    if ended is None:
        ended = forking.end(pid, limit_s + _SLACK_S)
    end_s = time.monotonic() - began_s
    if ended is None:
        problems.append("SIGTERM didn't end it")
        forking.kill(pid)
    judge = _Judge(deployment, reached, fault, folder, ended)
    problems += judge.problems()
    outcome = Outcome(place, fault, tuple(problems), round(end_s, 2))
    (folder / "outcome").write_text(json.dumps(outcome.as_json()))


def outcome_of(folder: Path, place: Place, fault: str) -> Outcome:
    """Return what `run` has written."""
    try:
        found = json.loads((folder / "outcome").read_text())
    except OSError:
        return Outcome(place, fault, ("the cell itself failed, see above",), 0.0)
    return Outcome(place, fault, tuple(found["problems"]), found["end_s"])


def _prepare(deployment: Deployment, folder: Path, stop_timeout_s: float) -> None:
    folder.mkdir()
    deployments.write(deployment, folder, stop_timeout_s)


def _damon(deployment: Deployment) -> None:
    from damon_cli.main import main

    main(list(deployment.arguments), prog_name="damon")


def _context_of(deployment: Deployment) -> str:
    return VICTIM if deployment.is_pair else "record"


def _primitive_of(deployment: Deployment) -> str:
    kind, name = deployment.needs
    return name.partition(".")[0] if kind == "backend" else ""


def _count(folder: Path, context: str) -> int:
    return len(witnessed_us(folder, context))


def _until(condition: Callable[[], bool], pid: int) -> bool:
    """Wait for a condition while a program runs; return whether it came true."""
    until_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if forking.ended(pid) or time.monotonic() > until_s:
            return condition()
        time.sleep(_LOOK_S)
    return True


@frozen
class _Judge:
    """Compares what became of a run with what is promised."""

    deployment: Deployment
    reached: Reached
    fault: str
    folder: Path
    code: int | None

    def problems(self) -> list[str]:
        """Return what isn't as promised."""
        found = []
        if self.code is not None and self.code != (code := self._code()):
            found.append(f"exit code {self.code}, not {code}")
        err = (self.folder / "err").read_text()
        if "Traceback" in err or "internal error" in err:
            found.append("a traceback, or an internal error")
        if (named := self._named()) and not re.search(named, err):
            found.append(f"standard error has nothing like '{named}'")
        if found:
            found[-1] += f": {err.strip()[-600:]!r}"
        return found + self._files()

    @property
    def _is_making(self) -> bool:
        return self.reached.place.hook == "factory" or self.reached.place.kind == "package"

    @property
    def _is_named_while_made(self) -> bool:
        """Whether `damon run` makes it: it can say where a signal has found it."""
        return self.reached.place.hook == "factory" and self.reached.place.kind != "format"

    def _code(self) -> int:
        if self.fault == "slow":
            return 0
        if self.fault == "hang" and self._is_making and not self._is_named_while_made:
            return -signal.SIGTERM  # nothing runs yet: it is the end
        # A package that can't be used is as one that isn't there: a mistake of the file.
        return 2 if self.reached.place.kind == "package" else 1

    def _named(self) -> str:
        """Return what is to be said of the fault; nothing if it harms nobody."""
        place, fault = self.reached.place, self.fault
        reason = "RuntimeError: a fault" if fault == "raise" else "SystemExit: 0"
        if place.kind == "package":
            return f"fails to register: {reason}" if fault in ("raise", "exit") else ""
        part = self._part()
        if self._is_making:
            if fault == "hang" and self._is_named_while_made:
                # A backend is made by its primitive.
                name = place.part.partition(".")[0]
                return f"'{name}' was being made when a signal came"
            return f"{self._made()} fails: {reason}" if fault in ("raise", "exit") else ""
        hook = place.hook
        if place.kind in ("backend", "format") or hook == "release":  # others may call it
            hook = r"\w+"
        if fault == "hang":
            return f"{part} has been in {hook} for"
        if fault == "slow":
            return f"{part} took [0-9.]+ms|{part} took [0-9.]+s" if self.reached.in_loop else ""
        return f"{part} failed in {hook}: {reason}"

    def _part(self) -> str:
        place = self.reached.place
        if place.kind == "backend":
            primitive, _, backend = place.part.partition(".")
            return rf"primitive '{primitive}' \(backend '{backend}'\)"
        if place.kind == "format":
            return "callback 'writer'"
        return rf"{place.kind} '{place.part}'( \(backend '\w+'\))?"

    def _made(self) -> str:
        place = self.reached.place
        return "backend " * (place.kind == "backend") + f"'{place.part.rpartition('.')[2]}'"

    def _files(self) -> list[str]:
        """Return what is wrong with the files."""
        if self._is_making and self.fault != "slow":
            return []  # nothing ran
        plugins = Plugins.discover()
        found = []
        for path in sorted(self.folder.iterdir()):
            if path.suffix in (".csv", ".parquet", ".damo") and not path.name.startswith("."):
                found += self._file(path, plugins)
        return found

    def _file(self, path: Path, plugins: Plugins) -> list[str]:
        try:
            with format_of(path, plugins.formats()).read(path) as reader:
                times_us = {snapshot.time_us for snapshot in reader.snapshots()}
        except (DamonError, OSError) as error:
            return [f"{path.name} can't be read: {error}"]
        if path.stem not in self._complete():
            return []
        lost = set(witnessed_us(self.folder, path.stem)) - times_us
        return [f"{path.name} lacks {len(lost)} aggregations"] if lost else []

    def _complete(self) -> set[str]:
        """Return whose files have all rows: of everything that ends in order."""
        return {BESIDE} if self.fault == "hang" else {BESIDE, VICTIM}


def chosen_work(
    deployment: Deployment, reached: Reached, fault: str, folder: Path
) -> Callable[[], None]:
    """Return the work of a cell."""
    return partial(run, deployment, reached, fault, folder)
