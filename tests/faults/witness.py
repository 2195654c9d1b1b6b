"""What was handed to all callbacks: the last callback of each context notes it in a file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from damon_core import Context, HookContext, hookimpl


class Witness:
    """Notes each aggregation that the callbacks before it were given.

    Args:
        folder: Where its files are, one for each context.

    Attributes:
        aggregations: How many there were, by context.
    """

    name = "witness"

    def __init__(self, folder: Path) -> None:
        self.aggregations: dict[str, int] = {}
        self._folder = folder

    @hookimpl(trylast=True)
    def after_aggregation(self, context: HookContext) -> None:
        """Note the time of the aggregation."""
        snapshot = context.snapshot
        assert snapshot is not None
        self.aggregations[context.name] = self.aggregations.get(context.name, 0) + 1
        path = self._folder / f"witness-{context.name}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, b"%d\n" % snapshot.time_us)
        os.close(file)

    def attend(self) -> None:
        """Be the last callback of every context that this program makes from now on."""
        make = Context.__init__

        def init(
            context: Context, primitive: object, callbacks: Sequence[object] = (), **others: Any
        ) -> None:
            make(context, primitive, [*callbacks, self], **others)

        Context.__init__ = init  # type: ignore[method-assign,assignment]


def witnessed_us(folder: Path, context: str) -> list[int]:
    """Return the times of the aggregations that were handed to all callbacks of a context."""
    path = folder / f"witness-{context}"
    if not path.exists():
        return []
    # The last line may be being written.
    return [int(line) for line in path.read_text().rpartition("\n")[0].splitlines()]
