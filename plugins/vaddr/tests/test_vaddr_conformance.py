"""The package keeps the rules of its kinds, on a process."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from damon_core.testing import sleeping_program
from damon_core.testing.conformance import backend_rules, primitive_rules


@contextlib.contextmanager
def process(_directory: Path) -> Iterator[Mapping[str, object]]:
    """Give options that name a process, which is there meanwhile."""
    with sleeping_program() as pid:
        yield {"pid": pid, "backend": "referenced"}


# Every rule is some contexts, and every context reads and clears what the kernel knows.
test_primitive = pytest.mark.slow(primitive_rules("vaddr", process))
test_backend = pytest.mark.slow(backend_rules("referenced", "vaddr", process))
