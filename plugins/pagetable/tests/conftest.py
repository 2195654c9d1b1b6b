"""The reader of page tables of this machine."""

from collections.abc import Iterator

import pytest
from damon_pagetable.tables import PageTables


@pytest.fixture(scope="session")
def tables() -> Iterator[PageTables]:
    """Return what reads page tables; the test needs "root" and "page-tables"."""
    opened = PageTables()
    yield opened
    opened.close()
