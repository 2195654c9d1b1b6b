"""The smallest input that shows the same finding."""

import time
from collections.abc import Callable

#: Nobody waits longer for a smaller input.
_PATIENCE_S = 5.0


def shrink(data: bytes, shows: Callable[[bytes], bool], patience_s: float = _PATIENCE_S) -> bytes:
    """Return a part of an input that still shows a finding: parts are left out, ever smaller ones.

    Args:
        data: The input.
        shows: Whether an input shows the finding.
        patience_s: After how many seconds the smallest so far is good enough.
    """
    until = time.monotonic() + patience_s
    size = len(data)
    while size and time.monotonic() < until:
        size = max(size // 2, 1)
        at, found = 0, False
        while at < len(data) and time.monotonic() < until:
            smaller = data[:at] + data[at + size :]
            if shows(smaller):
                data, found = smaller, True
            else:
                at += size
        if size == 1 and not found:
            break
    return data
