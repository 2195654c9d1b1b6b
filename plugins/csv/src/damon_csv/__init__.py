"""Access monitoring results as rows of a CSV file."""

from damon_csv.callback import CsvCallback, CsvOptions
from damon_csv.file import CsvFile
from damon_csv.record import CsvReader, CsvWriter
from damon_csv.rotation import Rotation
from damon_csv.rows import HEADER, format_rows

__all__ = [
    "HEADER",
    "CsvCallback",
    "CsvFile",
    "CsvOptions",
    "CsvReader",
    "CsvWriter",
    "Rotation",
    "format_rows",
]
