"""What the package registers."""

from collections.abc import Callable

from damon_core import RecordFormat, hookimpl
from damon_damo.reader import DamoReader
from damon_damo.writer import DamoWriter


@hookimpl
def register_formats(register: Callable[[RecordFormat], None]) -> None:
    """Offer the format ``damo``."""
    register(
        RecordFormat(
            "damo",
            (".data", ".json"),
            DamoReader,
            DamoWriter,
            "records of damo: .data compressed, .json not",
        )
    )
