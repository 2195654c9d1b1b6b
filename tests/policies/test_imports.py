"""What policies need is imported before a context begins, when nothing waits for it."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from damon_core import Context, EvidencePolicy, KernelPolicy, VirtualClock, hookimpl
from damon_core.testing import StopAfter, run
from damon_sim import SimulatedMemory, Uniform

class Imports:
    @hookimpl
    def before_start(self):
        self.before = set(sys.modules)

    @hookimpl
    def before_terminate(self):
        print(sorted(set(sys.modules) - self.before))

memory = SimulatedMemory(1 << 24, Uniform(0.5))
run(Context(memory, [Imports(), StopAfter(2)], policy=POLICY(), clock=VirtualClock()))
"""


@pytest.mark.parametrize("policy", ["EvidencePolicy", "KernelPolicy"])
def test_nothing_is_imported_while_a_context_runs(policy: str) -> None:
    """An import would count as what a check or an aggregation takes, and make them rarer."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("POLICY", policy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
