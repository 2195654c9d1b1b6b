"""Kinds of memory of page frames."""

import numpy as np
import pytest
from damon_paddr.kinds import KINDS, kinds_of

DIRTY, LRU, ANON, SWAPBACKED, HUGE, MLOCKED = (1 << bit for bit in (4, 5, 12, 14, 22, 33))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (LRU | ANON | SWAPBACKED, {"anonymous", "dirty"}),
        (LRU | SWAPBACKED, {"shmem"}),
        (LRU | DIRTY, {"file", "dirty"}),
        (LRU | ANON | HUGE | MLOCKED, {"anonymous", "dirty", "huge", "locked"}),
        (0, set()),
    ],
)
def test_a_frame_is_of_kinds(flags: int, expected: set[str]) -> None:
    """By its flags; free frames and the kernel's are of none."""
    (bits,) = kinds_of(np.array([flags], dtype=np.uint64)).tolist()
    assert {name for bit, name in enumerate(KINDS) if bits >> bit & 1} == expected
