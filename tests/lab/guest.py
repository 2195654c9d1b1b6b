"""The guest's side: runs the tests that its kernel can run, and reports each step to the host.

`request.json` in the shared folder has the tests and their needs. The guest writes a line for each
step to `steps.jsonl`: first the needs that this kernel meets, then what pytest logs.
"""

import json
import sys
from pathlib import Path
from typing import TextIO

import pytest

from tests.lab.needs import KERNEL_NEEDS, why_unmet


class Steps:
    """A pytest plugin that writes each step to a file."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._config: pytest.Config | None = None

    def write(self, kind: str, value: object) -> None:
        """Write a step."""
        self._file.write(json.dumps([kind, value], default=repr) + "\n")
        self._file.flush()

    def pytest_configure(self, config: pytest.Config) -> None:
        """Keep the configuration, which serializing reports needs."""
        self._config = config

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        """Write the start of a test."""
        self.write("start", [nodeid, location])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the report of a phase of a test."""
        assert self._config is not None
        hook = self._config.hook
        self.write("report", hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str, location: object) -> None:
        """Write the end of a test."""
        self.write("finish", [nodeid, location])


def main(share: Path) -> int:
    """Run the tests; return pytest's exit status."""
    request = json.loads((share / "request.json").read_text())
    met = {name for name in KERNEL_NEEDS if why_unmet(name) is None}
    with (share / "steps.jsonl").open("w") as file:
        steps = Steps(file)
        steps.write("met", sorted(met))
        tests = [nodeid for nodeid, needs in request["tests"].items() if met.issuperset(needs)]
        if not tests:
            return 0
        return pytest.main(["-p", "no:cacheprovider", *request["options"], *tests], [steps])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
