"""The host's side: boots machines for tests, and logs their reports as those of this run."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from attrs import frozen

from tests.lab.errors import LabError
from tests.lab.kernel import Kernel
from tests.lab.machine import GUEST_SHARE, Machine
from tests.lab.needs import kernel_needs

#: A machine that reports no step for this long hangs.
_SILENCE_S = 600.0


def run_in_lab(
    session: pytest.Session, tests: Sequence[pytest.Item], kernels: Sequence[Kernel]
) -> None:
    """Run tests on each kernel that meets their needs.

    One machine boots for each kernel and number of processors: two for tests that need
    two-processors, otherwise one. A test that no kernel can run is skipped, or fails with
    DAMON_TEST_SKIPS=fail.
    """
    groups = [
        (1, [test for test in tests if "two-processors" not in kernel_needs(test)]),
        (2, [test for test in tests if "two-processors" in kernel_needs(test)]),
    ]
    # The terminal shows percentages of this number.
    session.testscollected += len(tests) * (len(kernels) - 1)
    unmet = {test.nodeid: test for test in tests}
    for kernel in kernels:
        for processors, group in groups:
            if group:
                boot = _Boot(session, kernel, processors, named=len(kernels) > 1)
                ran = boot.run(group)
                session.testscollected -= len(group) - len(ran)
                for nodeid in ran:
                    unmet.pop(nodeid, None)
    session.testscollected += len(unmet)
    for test in unmet.values():
        _report_unmet(session, test)


@frozen
class _Boot:
    """One machine's run.

    Attributes:
        session: The session that logs reports.
        kernel: The kernel to boot.
        processors: The number of processors.
        named: Whether the ids of tests include the version of the kernel.
    """

    session: pytest.Session
    kernel: Kernel
    processors: int
    named: bool

    def run(self, tests: Sequence[pytest.Item]) -> set[str]:
        """Run the tests that this kernel can run; return their ids."""
        left = {test.nodeid: test for test in tests}
        ran = set(left)
        with Machine(self.kernel, self.processors) as machine:
            failure = "the machine ended before this test did"
            try:
                self._start(machine, tests)
                for kind, value in _steps(machine):
                    if kind == "met":
                        ran = {name for name in ran if set(kernel_needs(left[name])) <= set(value)}
                        left = {name: left[name] for name in left if name in ran}
                    else:
                        self._log(kind, value)
                        if kind == "finish":
                            left.pop(value[0], None)
            except LabError as error:
                failure = str(error)
            for test in left.values():
                self._fail(test, f"{self.kernel.version}: {failure}\n{machine.tail()}")
        return ran

    def _start(self, machine: Machine, tests: Sequence[pytest.Item]) -> None:
        config = self.session.config
        option = config.option
        options = [f"--rootdir={config.rootpath}", f"--tb={option.tbstyle}"]
        options += ["--verbose"] * max(option.verbose, 0)
        options += ["--showlocals"] * bool(option.showlocals)
        options += ["--runxfail"] * bool(option.runxfail)
        if config.inipath is not None:
            options += ["-c", str(config.inipath)]
        request = {
            "options": options,
            "tests": {test.nodeid: kernel_needs(test) for test in tests},
        }
        (machine.share / "request.json").write_text(json.dumps(request))
        command = [sys.executable, "-m", "tests.lab.guest", GUEST_SHARE]
        machine.start(command, config.rootpath)

    def _log(self, kind: str, value: Any) -> None:
        hook = self.session.config.hook
        if kind == "report":
            value["nodeid"] = self._name(value["nodeid"])
            value["location"] = self._place(value["location"])
            report = hook.pytest_report_from_serializable(config=self.session.config, data=value)
            # Where and why a test was skipped: JSON has no tuples, and pytest wants one.
            if isinstance(report.longrepr, list):
                report.longrepr = tuple(report.longrepr)
            self._log_report(report)
        else:
            log = hook.pytest_runtest_logstart if kind == "start" else hook.pytest_runtest_logfinish
            nodeid, location = value
            log(nodeid=self._name(nodeid), location=self._place(location))

    def _fail(self, test: pytest.Item, reason: str) -> None:
        report = pytest.TestReport(
            self._name(test.nodeid), self._place(test.location), {}, "failed", reason, "call"
        )
        self._log_report(report)

    def _log_report(self, report: pytest.TestReport) -> None:
        self.session.config.hook.pytest_runtest_logreport(report=report)
        if self.session.shouldfail:
            raise self.session.Failed(self.session.shouldfail)
        if self.session.shouldstop:
            raise self.session.Interrupted(self.session.shouldstop)

    def _name(self, name: str) -> str:
        if not self.named:
            return name
        if name.endswith("]"):
            return f"{name[:-1]}-{self.kernel.version}]"
        return f"{name}[{self.kernel.version}]"

    def _place(self, location: Sequence[Any]) -> tuple[str, int | None, str]:
        path, line, name = location
        return path, line, self._name(name)


def _steps(machine: Machine) -> Iterator[tuple[str, Any]]:
    """Yield the steps of the guest as it writes them, until its machine is off.

    Raises:
        LabError: The guest writes nothing for too long.
    """
    path = machine.share / "steps.jsonl"
    position = 0
    last_step = time.monotonic()
    while True:
        # In this order, so that the last steps are read.
        running = machine.running()
        text = b""
        if path.exists():
            with path.open("rb") as file:
                file.seek(position)
                text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        position += len(whole)
        for line in whole.splitlines():
            kind, value = json.loads(line)
            yield kind, value
            last_step = time.monotonic()
        if not running:
            return
        if time.monotonic() - last_step > _SILENCE_S:
            raise LabError(f"the machine reported nothing for {_SILENCE_S:.0f} s")
        time.sleep(0.1)


def _report_unmet(session: pytest.Session, test: pytest.Item) -> None:
    """Report a test that no kernel can run as skipped, or in CI as failed."""
    reason = f"needs {', '.join(kernel_needs(test))}: no kernel of the lab meets this"
    path, line, _ = test.location
    hook = session.config.hook
    hook.pytest_runtest_logstart(nodeid=test.nodeid, location=test.location)
    if os.environ.get("DAMON_TEST_SKIPS") == "fail":
        report = pytest.TestReport(test.nodeid, test.location, {}, "failed", reason, "setup")
    else:
        where = (str(session.config.rootpath / path), (line or 0) + 1, f"Skipped: {reason}")
        report = pytest.TestReport(test.nodeid, test.location, {}, "skipped", where, "setup")
    hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=test.nodeid, location=test.location)
