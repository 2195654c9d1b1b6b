"""The backend keeps the rules of its kind, on kernels that have DAMON for programs."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from damon_core.testing import sleeping_program
from damon_core.testing.conformance import backend_rules


@contextlib.contextmanager
def process(_directory: Path) -> Iterator[Mapping[str, Any]]:
    """Give options that name a process, which is there meanwhile."""
    with sleeping_program() as pid:
        yield {"pid": pid}


#: Where the lab's emulation takes minutes.
needs = pytest.mark.needs("root", "kernel-damon")

test_processes = needs(pytest.mark.slow_in_lab(backend_rules("kernel", "vaddr", process)))
test_physical = needs(pytest.mark.slow_in_lab(backend_rules("kernel", "paddr", {})))
