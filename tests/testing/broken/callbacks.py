"""Callbacks with one mistake each. `BROKEN` says which rule shows it."""

import logging
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, ClassVar

import attrs
from attrs import frozen

from damon_core import Measure, NoOptions, hookimpl


class Callback:
    """A callback that does nothing wrong."""

    name = "broken"

    def __init__(self, options: Any) -> None:
        self.options = options


class Prints(Callback):
    """Prints its results instead of logging them."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        print(context.snapshot.number)  # noqa: T201


class WritesToDescriptor(Callback):
    """Writes to standard error, past Python's streams."""

    @hookimpl
    def before_start(self) -> None:
        os.write(2, b"started\n")


class ConfiguresLogging(Callback):
    """Configures the logging of the program."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        logging.basicConfig(level=logging.DEBUG)


class HandlesSignals(Callback):
    """Takes a signal for itself."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        signal.signal(signal.SIGUSR1, lambda *_: None)


class ChangesDirectory(Callback):
    """Changes the working directory, so that relative paths of others go elsewhere."""

    @hookimpl
    def before_start(self) -> None:
        os.chdir("/")


class ChangesEnvironment(Callback):
    """Sets an environment variable of the process."""

    @hookimpl
    def before_start(self) -> None:
        os.environ["DAMON_BROKEN"] = "1"


class ChangesUmask(Callback):
    """Changes the umask, so that files of others may be read by anybody."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        os.umask(0)


class NeedsTargets(Callback):
    """Takes the first target, though there may be none."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        _ = context.snapshot.targets[0]


class NeedsRegions(Callback):
    """Takes the hottest region, though there may be none."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        for target in context.snapshot.targets:
            target.nr_accesses.max()


class KnowsTargetsOnce(Callback):
    """Keeps a table of the targets of the start, though others come."""

    @hookimpl
    def before_start(self, context: Any) -> None:
        self.sums = {target.name: 0 for target in context.targets}

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        for target in context.snapshot.targets:
            self.sums[target.name] += len(target)


class HasRoomForFew(Callback):
    """Has room for a hundred regions."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        if len(context.snapshot) > 100:
            raise IndexError("too many regions")


class WorksOnce(Callback):
    """Closes for good what a second run needs."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.rows: list[int] | None = []

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        self.rows.append(context.snapshot.number)  # type: ignore[union-attr]

    @hookimpl
    def before_terminate(self) -> None:
        self.rows = None


class NeedsStart(Callback):
    """Closes in before_terminate what only before_start opens."""

    @hookimpl
    def before_start(self) -> None:
        self.rows: list[int] = []

    @hookimpl
    def before_terminate(self) -> None:
        self.rows.clear()


class NeedsSnapshot(Callback):
    """Takes the last snapshot at the end, though a run may be stopped before the first."""

    @hookimpl
    def before_terminate(self, context: Any) -> None:
        if context.stats.samples and context.snapshot.number < 1:
            raise AssertionError


class ReleasesOnce(Callback):
    """Fails if it is released twice."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.names = ["x"]

    @hookimpl
    def release(self) -> None:
        self.names.pop()


class LeavesDescriptor(Callback):
    """Never closes its file."""

    kept: ClassVar[list[Any]] = []

    @hookimpl
    def before_start(self) -> None:
        self.kept.append(Path("/dev/null").open())  # noqa: SIM115


class LeavesPort(Callback):
    """Listens on a port and never gives it back."""

    kept: ClassVar[list[Any]] = []

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.kept.append(socket.create_server(("127.0.0.1", 0)))


class LeavesThread(Callback):
    """Starts a thread that goes on after the end."""

    ends: ClassVar[threading.Event] = threading.Event()

    @hookimpl
    def before_start(self) -> None:
        threading.Thread(target=self.ends.wait, args=(30,), daemon=True, name="lost").start()


class LeavesProgram(Callback):
    """Starts a program and doesn't wait for its end."""

    programs: ClassVar[list[Any]] = []

    @hookimpl
    def before_start(self) -> None:
        self.programs.append(subprocess.Popen(["sleep", "30"]))


class ChangesSnapshot(Callback):
    """Clears the counts of a snapshot, which others read."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        context.snapshot.nr_accesses.flags.writeable = True
        context.snapshot.nr_accesses[:] = 0


class ClearsCounts(Callback):
    """Clears the accesses of the running aggregation."""

    @hookimpl
    def after_sampling(self, context: Any) -> None:
        for target in context.targets:
            target.regions.nr_accesses[:] = 0


class ForgetsMark(Callback):
    """Has a hook that isn't marked, so nobody calls it."""

    def after_aggregation(self, context: Any) -> None:
        """Never called."""


class SharesState(Callback):
    """Keeps the numbers of all contexts in one list of the class."""

    numbers: ClassVar[list[int]] = []

    @hookimpl
    def before_start(self) -> None:
        self.numbers.clear()

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        self.numbers.append(context.snapshot.number)
        if len(self.numbers) != context.snapshot.number:
            raise RuntimeError("an aggregation is missing")


class SwallowsCalls(Callback):
    """Hides the results of others in a wrapper."""

    @hookimpl(wrapper=True)
    def after_aggregation(self) -> Any:
        yield
        return [True]


class MeasuresNothing(Callback):
    """Returns bare numbers from measures."""

    def measures(self, context: Any) -> list[int]:
        """Return no Measure."""
        return [1]


class FailsWithOthers(Callback):
    """Gives up as soon as another callback has failed."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        if context.stats.callback_failures:
            raise RuntimeError("another callback has failed")


class NeedsPlainNames(Callback):
    """Takes names for names of files."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        for target in context.snapshot.targets:
            target.name.encode("ascii")


class RaisesBuiltin(Callback):
    """Refuses its options by an error that isn't an InputError."""

    def __init__(self, options: Any) -> None:
        raise OSError("no such device")


class NeedsTwoRegions(Callback):
    """Takes the gap between the first two regions, though there may be one."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        snapshot = context.snapshot
        if len(snapshot):
            _ = snapshot.start[1] - snapshot.end[0]


class TakesOwnersForText(Callback):
    """Takes the owners of targets for names."""

    @hookimpl
    def after_aggregation(self, context: Any) -> None:
        for target in context.snapshot.targets:
            ", ".join(target.owners)


class NeedsAggregation(Callback):
    """Takes the last snapshot at the end, though the primitive may have failed before the first."""

    started = False

    @hookimpl
    def before_start(self) -> None:
        self.started = True

    @hookimpl
    def before_terminate(self, context: Any) -> None:
        if self.started:
            _ = context.snapshot.number


class MeasuresInWorker(Callback):
    """Measures only in the thread in which it was started."""

    thread = 0

    @hookimpl
    def before_start(self) -> None:
        self.thread = threading.get_ident()

    @hookimpl
    def before_terminate(self) -> None:
        self.thread = 0

    def measures(self, context: Any) -> list[Measure]:
        """Return a measure, in its thread."""
        assert self.thread in (0, threading.get_ident())
        return [Measure("broken_calls", 1, "Calls.")]


class CountsInThread(Callback):
    """Counts accesses in a thread, beside the worker."""

    @hookimpl
    def before_start(self, context: Any) -> None:
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._count, args=(context,))
        self.thread.start()

    def _count(self, context: Any) -> None:
        while not self.ends.wait(0.001):
            for target in context.targets:
                target.regions.nr_accesses[:] = (target.regions.nr_accesses + 0.01) % 1

    @hookimpl
    def before_terminate(self) -> None:
        if hasattr(self, "ends"):
            self.ends.set()
            self.thread.join()


@attrs.define
class ChangeableOptions:
    """Options that can be changed."""

    size: int = attrs.field(default=1, metadata={"help": "a size"})


@frozen
class OptionsWithoutHelp:
    """Options that nobody explains."""

    size: int = 1


@frozen
class OptionsThatShare:
    """Options whose default is one list for all."""

    names: list[str] = attrs.field(default=[], metadata={"help": "names"})


def _small(_instance: object, _attribute: object, value: int) -> None:
    if value > 10:
        raise ValueError("must be at most 10")


@frozen
class OptionsWithWrongDefault:
    """Options whose own default is refused."""

    size: int = attrs.field(default=11, validator=_small, metadata={"help": "a size"})


@frozen
class OptionsThatCannotBeWritten:
    """Options of a type that no configuration file has."""

    when: complex = attrs.field(default=0j, metadata={"help": "a number"})


#: Every mistake: the class, the rule that shows it, and the options.
BROKEN: list[tuple[Any, str, Any]] = [
    (Prints, "prints-nothing", NoOptions),
    (WritesToDescriptor, "prints-nothing", NoOptions),
    (ConfiguresLogging, "process-untouched", NoOptions),
    (HandlesSignals, "process-untouched", NoOptions),
    (ChangesDirectory, "process-untouched", NoOptions),
    (ChangesEnvironment, "process-untouched", NoOptions),
    (ChangesUmask, "process-untouched", NoOptions),
    (NeedsTargets, "no-targets", NoOptions),
    (NeedsRegions, "no-regions", NoOptions),
    (KnowsTargetsOnce, "changing-targets", NoOptions),
    (HasRoomForFew, "thousand-regions", NoOptions),
    (WorksOnce, "restart", NoOptions),
    (NeedsStart, "stop-without-start", NoOptions),
    (NeedsSnapshot, "stop-anywhere", NoOptions),
    (ReleasesOnce, "release-any-time", NoOptions),
    (LeavesDescriptor, "nothing-left", NoOptions),
    (LeavesPort, "nothing-left", NoOptions),
    (LeavesThread, "nothing-left", NoOptions),
    (LeavesProgram, "nothing-left", NoOptions),
    (ChangesSnapshot, "snapshots-untouched", NoOptions),
    (ClearsCounts, "snapshots-untouched", NoOptions),
    (ForgetsMark, "hooks", NoOptions),
    (SharesState, "several-contexts", NoOptions),
    (SwallowsCalls, "others-are-called", NoOptions),
    (MeasuresNothing, "measures", NoOptions),
    (FailsWithOthers, "failing-callbacks", NoOptions),
    (NeedsPlainNames, "odd-names", NoOptions),
    (RaisesBuiltin, "refused-early", NoOptions),
    (NeedsTwoRegions, "one-region", NoOptions),
    (TakesOwnersForText, "all-known", NoOptions),
    (NeedsAggregation, "failing-primitive", NoOptions),
    (MeasuresInWorker, "measures", NoOptions),
    (CountsInThread, "in-the-worker", NoOptions),
    (Callback, "options-frozen", ChangeableOptions),
    (Callback, "options-help", OptionsWithoutHelp),
    (Callback, "options-shared", OptionsThatShare),
    (Callback, "options-defaults", OptionsWithWrongDefault),
    (Callback, "options-written", OptionsThatCannotBeWritten),
]


def clear() -> None:
    """Give back what broken callbacks have left behind."""
    LeavesThread.ends.set()
    LeavesThread.ends = threading.Event()
    for kept in (*LeavesDescriptor.kept, *LeavesPort.kept):
        kept.close()
    for program in LeavesProgram.programs:
        program.kill()
        program.wait()
    for each in (LeavesDescriptor.kept, LeavesPort.kept, LeavesProgram.programs):
        each.clear()
