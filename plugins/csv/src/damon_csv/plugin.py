"""What the package registers."""

from collections.abc import Callable

from damon_core import Callback, RecordFormat, hookimpl
from damon_csv.callback import CsvCallback, CsvOptions
from damon_csv.record import CsvReader, CsvWriter


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Offer the callback ``csv``."""
    register(Callback("csv", CsvCallback, CsvOptions, "Tidy rows in a file, one a region"))


@hookimpl
def register_formats(register: Callable[[RecordFormat], None]) -> None:
    """Offer the format ``csv``."""
    register(RecordFormat("csv", (".csv",), CsvReader, CsvWriter, "tidy rows, one a region"))
