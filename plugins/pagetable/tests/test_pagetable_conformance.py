"""The package keeps the rules of its kind, on a process."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from damon_core.testing import sleeping_program
from damon_core.testing.conformance import backend_rules


@contextlib.contextmanager
def process(_directory: Path) -> Iterator[Mapping[str, object]]:
    """Give options that name a process, which is there meanwhile."""
    with sleeping_program() as pid:
        yield {"pid": pid}


# Every rule is some contexts, and every context loads programs into the kernel.
RULES = backend_rules("pagetable", "vaddr", process)
needs = pytest.mark.needs("root", "page-tables")
test_backend = needs(pytest.mark.slow(pytest.mark.slow_in_lab(RULES)))

WRITTEN_RULES = backend_rules("written", "vaddr", process)
needs_bits = pytest.mark.needs("soft-dirty")
test_written = needs_bits(pytest.mark.slow(pytest.mark.slow_in_lab(WRITTEN_RULES)))
