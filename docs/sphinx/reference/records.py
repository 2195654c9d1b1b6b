"""What records hold, and the formats that there are."""

from damon_parquet.schema import FIELDS

from damon_core import COLUMNS, Plugins
from docs.sphinx.reference.markdown import code, table


def columns() -> str:
    """Return the columns of records, and how Parquet has them."""
    rows = [
        (
            code(name) if field == name else f"{code(name)}, in Parquet {code(field)}",
            column.of,
            f"{column.dtype} or unknown" if column.optional else column.dtype,
            column.meaning,
        )
        for (name, column), field in zip(COLUMNS.items(), FIELDS, strict=True)
    ]
    return table(("column", "one for each", "values", "meaning"), rows)


def formats() -> str:
    """Return the formats that are installed."""
    rows = [
        (code(each.name), ", ".join(map(code, each.suffixes)), each.summary)
        for each in Plugins.discover().formats()
    ]
    return table(("format", "endings", "for"), rows)
