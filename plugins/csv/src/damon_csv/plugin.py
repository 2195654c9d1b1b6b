"""What the package registers."""

from collections.abc import Callable

from damon_core import Callback, hookimpl
from damon_csv.callback import CsvCallback, CsvOptions


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Offer the callback ``csv``."""
    register(Callback("csv", CsvCallback, CsvOptions, "Tidy rows in a file, one a region"))
