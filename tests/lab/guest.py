"""The guest's side: run the tests that its kernel can run, and tell the host of each step.

`request.json` of the share names the tests and what they need. `steps.jsonl` there gets a line
for each step: first what this kernel meets, then what pytest logs.
"""

import json
import sys
from pathlib import Path
from typing import TextIO

import pytest

from tests.lab.needs import KERNEL_NEEDS, why_unmet


class Steps:
    """A pytest plugin that writes down what is logged."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._config: pytest.Config | None = None

    def write(self, kind: str, value: object) -> None:
        """Write one step."""
        self._file.write(json.dumps([kind, value], default=repr) + "\n")
        self._file.flush()

    def pytest_configure(self, config: pytest.Config) -> None:
        """Keep what writing reports takes."""
        self._config = config

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        """A test begins."""
        self.write("start", [nodeid, location])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test is over."""
        assert self._config is not None
        hook = self._config.hook
        self.write("report", hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str, location: object) -> None:
        """A test is over."""
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
