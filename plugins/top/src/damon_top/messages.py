"""Log records while the screen belongs to the view: shown there, and written afterwards."""

import contextlib
import logging
from collections import deque
from collections.abc import Generator

_MOST = 200


class Messages(logging.Handler):
    """Keeps the last records instead of writing them.

    Attributes:
        records: The records, the oldest first; any thread may add one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=_MOST)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)

    @contextlib.contextmanager
    def in_place_of_others(self) -> Generator[None, None, None]:
        """Keep all records while inside; then the usual handlers of the root logger get them."""
        root = logging.getLogger()
        usual = list(root.handlers)
        for handler in usual:
            root.removeHandler(handler)
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)
            for handler in usual:
                root.addHandler(handler)
            for record in self.records:
                for handler in usual:
                    if record.levelno >= handler.level:
                        handler.handle(record)
