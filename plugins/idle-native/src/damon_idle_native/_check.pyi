from collections.abc import Sequence
from typing import final

from typing_extensions import Buffer

@final
class Check:
    @property
    def in_memory(self) -> list[int | None]: ...
    def look(self) -> list[bytes | None]: ...

def mark(bitmap: int, flags: int, pages: Sequence[tuple[int, Buffer]], /) -> Check: ...
