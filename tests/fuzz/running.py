"""Runs cases in children, so that a case that ends, hangs or fills the process is found, too."""

import contextlib
import json
import mmap
import os
import random
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.fuzz.judging import Fault, Kind
from tests.fuzz.shrinking import shrink

#: How many cases a child runs.
CHUNK = 2_000
#: A child may use as much memory more than it has at its beginning.
_MEMORY_BYTES = 2 << 30
#: When a case that uses no CPU time, or is stuck in a library, is ended.
_STUCK_S = 60.0


@frozen
class Finding:
    """An input that the product neither reads rightly nor refuses clearly.

    Attributes:
        kind: The kind of input.
        case: The number of the case, which makes the input again with the same seed.
        what: What happened.
        where: Where in the code; the same for all findings of one fault.
        data: The input, as small as it could be made.
    """

    kind: str
    case: int
    what: str
    where: str
    data: bytes


@define
class Report:
    """What came of one kind's cases.

    Attributes:
        kind: The kind of input.
        seed: What all cases were made from.
        cases: How many there were.
        accepted: How many of them were read; all others were refused or are findings.
        seconds: How long that took.
        findings: One for each fault.
        again: How many more cases showed the same faults.
    """

    kind: str
    seed: int
    cases: int = 0
    accepted: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(factory=list)
    again: int = 0


class _HangError(BaseException):
    """A case takes too long. Not an Exception, which the product might handle."""


def case(kind: Kind, seed: int, number: int) -> bytes:
    """Return the input of a case."""
    return kind.make(random.Random(f"{seed}/{kind.name}/{number}"))


def judge(kind: Kind, data: bytes) -> tuple[bool, tuple[str, str] | None]:
    """Return whether an input was accepted; and what is wrong and where, None if nothing is."""
    previous = signal.signal(signal.SIGVTALRM, _hang)
    signal.setitimer(signal.ITIMER_VIRTUAL, kind.limit_s)
    try:
        return kind.judge(data), None
    except _HangError:
        return False, (f"takes longer than {kind.limit_s:g} s", "hang")
    except Exception as error:
        return False, (f"{type(error).__name__}: {error}"[:2_000], _where(error))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


def _hang(_signal: int, _frame: object) -> None:
    raise _HangError


def _where(error: Exception) -> str:
    """Return the innermost place of an error in the project, for a `Fault` with its text."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if "/damon_" in each.filename or "/fuzz/" in each.filename]
    if not ours:
        return type(error).__name__
    where = f"{type(error).__name__} {Path(ours[-1].filename).name}:{ours[-1].lineno}"
    if not isinstance(error, Fault):
        return where
    # What judges isn't what is at fault: it says in its message what is.
    return f"{where} {''.join(each for each in str(error)[:20] if each.isalpha())}"


def run(
    kind: Kind,
    seed: int,
    cases: int,
    *,
    jobs: int = 1,
    first: int = 0,
    progress: Callable[[Report], None] = lambda _report: None,
) -> Report:
    """Run cases of one kind.

    Args:
        kind: The kind.
        seed: What the cases are made from.
        cases: How many.
        jobs: In how many processes at a time.
        first: The number of the first.
        progress: Called now and then with what there is so far.
    """
    report = Report(kind.name, seed)
    begin_s = time.monotonic()
    end = first + cases
    ranges = [(at, min(at + CHUNK, end)) for at in range(first, end, CHUNK)]
    running: list[_Child] = []
    known: set[str] = set()
    while ranges or running:
        while ranges and len(running) < jobs:
            running.append(_Child(kind, seed, *ranges.pop(0), known))
        readable, _, _ = select.select([child.pipe for child in running], [], [], 1.0)
        for child in list(running):
            if child.pipe in readable or child.is_stuck():
                for finding in child.read():
                    if finding.where in known:
                        report.again += 1
                    else:
                        known.add(finding.where)
                        report.findings.append(finding)
                if child.is_over:
                    running.remove(child)
                    report.cases += child.cases
                    report.accepted += child.accepted
                    report.again += child.again
                    if child.left:
                        ranges.insert(0, child.left)
        report.seconds = time.monotonic() - begin_s
        progress(report)
    return report


class _Child:
    """A process that runs some cases, and says through a pipe what came of them."""

    def __init__(self, kind: Kind, seed: int, first: int, end: int, known: set[str]) -> None:
        self._kind, self._seed, self._first, self._end = kind, seed, first, end
        self._place = mmap.mmap(-1, 16)
        self.pipe, write = os.pipe()
        self.is_over = False
        self.cases = self.accepted = self.again = 0
        self.left: tuple[int, int] | None = None
        self._rest = b""
        self._seen = (first, time.monotonic())
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if not self._pid:
            os.close(self.pipe)
            code = 1
            try:
                with os.fdopen(write, "w") as pipe:
                    self._work(pipe, set(known))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(write)

    def _work(self, pipe: Any, known: set[str]) -> None:
        _limit_memory()
        accepted = again = 0
        descriptors = len(os.listdir("/proc/self/fd"))
        for number in range(self._first, self._end):
            self._place[:8] = number.to_bytes(8, "little")
            data = case(self._kind, self._seed, number)
            was_accepted, wrong = judge(self._kind, data)
            accepted += was_accepted
            self._place[8:] = accepted.to_bytes(8, "little")
            if wrong is None:
                continue
            if wrong[1] in known:
                again += 1
                continue
            known.add(wrong[1])
            self._say(pipe, number, wrong, self._smallest(data, wrong[1]))
        if len(os.listdir("/proc/self/fd")) > descriptors + 10:
            self._say(pipe, self._first, ("leaves files open", "descriptors"), b"")
        pipe.write(json.dumps({"again": again}) + "\n")

    def _smallest(self, data: bytes, where: str) -> bytes:
        def shows(smaller: bytes) -> bool:
            _, wrong = judge(self._kind, smaller)
            return wrong is not None and wrong[1] == where

        return shrink(data, shows)

    @staticmethod
    def _say(pipe: Any, number: int, wrong: tuple[str, str], data: bytes) -> None:
        found = {"case": number, "what": wrong[0], "where": wrong[1], "data": data.hex()}
        pipe.write(json.dumps(found) + "\n")
        pipe.flush()

    def is_stuck(self) -> bool:
        """Return whether the same case has been running for very long; then it is ended."""
        here = int.from_bytes(self._place[:8], "little"), time.monotonic()
        if here[0] != self._seen[0]:
            self._seen = here
        elif here[1] - self._seen[1] > _STUCK_S:
            os.kill(self._pid, signal.SIGKILL)
            return True
        return False

    def read(self) -> Iterator[Finding]:
        """Yield what was found since the last call; at the end, what became of the child, too."""
        data = os.read(self.pipe, 1 << 20)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in map(json.loads, lines):
            if "again" in line:
                self.again = line["again"]
                continue
            yield Finding(
                self._kind.name,
                line["case"],
                line["what"],
                line["where"],
                bytes.fromhex(line["data"]),
            )
        if data:
            return
        self.is_over = True
        os.close(self.pipe)
        _, status = os.waitpid(self._pid, 0)
        number = int.from_bytes(self._place[:8], "little")
        self.accepted = int.from_bytes(self._place[8:], "little")
        self.cases = self._end - self._first
        if status:
            code = os.waitstatus_to_exitcode(status)
            what = f"ends the process: {signal.Signals(-code).name if code < 0 else code}"
            self.cases = number + 1 - self._first
            if number + 1 < self._end:
                self.left = number + 1, self._end
            data = shrink(case(self._kind, self._seed, number), self._ends, 60.0)
            yield Finding(self._kind.name, number, what, what, data)

    def _ends(self, data: bytes) -> bool:
        """Return whether an input ends the process that reads it."""
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                _limit_memory()
                judge(self._kind, data)
            os._exit(0)
        return os.waitpid(pid, 0)[1] != 0


def _limit_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        size_bytes = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size_bytes + _MEMORY_BYTES, hard))
    # A core is of no use, and takes long to write.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
