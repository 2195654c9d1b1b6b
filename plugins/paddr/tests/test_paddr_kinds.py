"""Kinds of memory of page frames."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from damon_paddr.kinds import KINDS, FrameKinds, kinds_of

DIRTY, LRU, ANON, SWAPBACKED, HUGE, MLOCKED = (1 << bit for bit in (4, 5, 12, 14, 22, 33))
HEAD, TAIL = 1 << 15, 1 << 16


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (LRU | ANON | SWAPBACKED, {"anonymous", "dirty"}),
        (LRU | SWAPBACKED, {"shmem"}),
        (LRU | DIRTY, {"file", "dirty"}),
        (LRU | ANON | HUGE | MLOCKED, {"anonymous", "dirty", "huge", "locked"}),
        (0, set()),
        (1 << 7 | ANON, set()),  # an object of the kernel, whose pages may look so
    ],
)
def test_a_frame_is_of_kinds(flags: int, expected: set[str]) -> None:
    """By its flags; free frames and the kernel's are of none."""
    (bits,) = kinds_of(np.array([flags], dtype=np.uint64)).tolist()
    assert {name for bit, name in enumerate(KINDS) if bits >> bit & 1} == expected


@pytest.mark.parametrize(("frames", "huge"), [(512, True), (256, False), (4, False)])
def test_only_pages_of_2_mib_are_huge(tmp_path: Path, frames: int, huge: bool) -> None:
    """Newer kernels flag every larger folio of the page cache as they flag those."""
    flags = np.full(1024, LRU | HUGE | TAIL, dtype=np.uint64)
    flags[::frames] = LRU | HUGE | HEAD
    path = tmp_path / "kpageflags"
    path.write_bytes(flags.tobytes())
    with contextlib.closing(FrameKinds(str(path))) as kinds:
        found = kinds.of(np.array([3 * 4096, 700 * 4096]), 4096)
    is_huge = (found >> KINDS.index("huge") & 1).astype(bool)
    assert is_huge.tolist() == [huge, huge]
