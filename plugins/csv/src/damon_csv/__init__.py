"""Access monitoring results as rows of a CSV file."""

from damon_csv.callback import CsvCallback, CsvOptions
from damon_csv.file import CsvFile
from damon_csv.record import CsvReader, CsvWriter
from damon_csv.rows import format_rows, header

__all__ = [
    "CsvCallback",
    "CsvFile",
    "CsvOptions",
    "CsvReader",
    "CsvWriter",
    "format_rows",
    "header",
]
