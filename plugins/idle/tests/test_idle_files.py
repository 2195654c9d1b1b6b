"""Words, marks and heads of page frames, in files with the kernel's formats."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from damon_idle.bitmap import Bitmap, Bits
from damon_idle.frames import HEAD, LRU, NOPAGE, TAIL, Frames
from damon_idle.marking import Marking
from damon_idle.physical import PhysicalIdle
from damon_idle.words import Places
from hypothesis import given
from hypothesis import strategies as st

from damon_core import PAGE_SIZE_BYTES, Samples, Target


def file_of(path: Path, words: npt.NDArray[Any]) -> Path:
    """Write words to a file in the kernel's format."""
    path.write_bytes(words.astype(np.uint64).tobytes())
    return path


@given(
    index=st.lists(st.integers(0, 150), max_size=40),
    near=st.integers(1, 40),
    size=st.integers(0, 150),
)
def test_words_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, index: list[int], near: int, size: int
) -> None:
    """However they are combined into calls, and wherever the file ends."""
    content = np.arange(1, size + 1, dtype=np.uint64)
    path = file_of(tmp_path_factory.mktemp("words") / "file", content)
    wanted = np.array(sorted(index), dtype=np.int64)
    with path.open("rb") as file:
        words, readable = Places.of(wanted, near).read(file.fileno())
    expected = [number < size for number in wanted]
    assert all(expected) if readable is None else readable.tolist() == expected
    assert words.tolist() == [number + 1 if number < size else 0 for number in wanted]


def test_read_returns_which_words_cannot_be_read(tmp_path: Path) -> None:
    """Reading a directory fails for each word; this isn't raised as an error."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        words, readable = Places.of(np.array([0, 5]), 1).read(descriptor)
    finally:
        os.close(descriptor)
    assert readable is not None
    assert (words.tolist(), readable.tolist()) == ([0, 0], [False, False])


def test_write_returns_which_words_cannot_be_written(tmp_path: Path) -> None:
    """Writing to a file opened for reading fails for each word."""
    descriptor = os.open(file_of(tmp_path / "file", np.zeros(8)), os.O_RDONLY)
    try:
        written = Places.of(np.array([1, 2, 5]), 1).write(descriptor, np.ones(3, dtype=np.uint64))
    finally:
        os.close(descriptor)
    assert written is not None
    assert written.tolist() == [False, False, False]


@given(frames=st.lists(st.integers(0, 64 * 20 - 1), max_size=60))
def test_marks_touch_no_other_bit(
    tmp_path_factory: pytest.TempPathFactory, frames: list[int]
) -> None:
    """Exactly the bits of the frames are written, and they read as idle."""
    path = file_of(tmp_path_factory.mktemp("bitmap") / "bitmap", np.zeros(20))
    bitmap = Bitmap(path)
    wanted = Bits.of(np.array(sorted(frames), dtype=np.int64))
    try:
        assert bitmap.mark(wanted) is None
        assert bitmap.used(wanted) == (None, None)
    finally:
        bitmap.close()
    bits = np.unpackbits(np.fromfile(path, dtype=np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == sorted(set(frames))


def memory(orders: list[int]) -> npt.NDArray[np.uint64]:
    """Return the flags of frames that are filled by aligned compound pages of these orders."""
    flags: list[int] = []
    for order in sorted(orders, reverse=True):
        lru = int(LRU)
        if order:
            flags += [lru | int(HEAD)] + [lru | int(TAIL)] * ((1 << order) - 1)
        else:
            flags.append(lru)
    return np.array(flags, dtype=np.uint64)


@given(
    orders=st.lists(st.sampled_from([0, 1, 2, 4, 5, 8, 9, 10]), min_size=1, max_size=6),
    data=st.data(),
)
def test_heads_of_frames_are_found(
    tmp_path_factory: pytest.TempPathFactory, orders: list[int], data: st.DataObject
) -> None:
    """For pages of all orders, side by side."""
    flags = memory(orders)
    starts = np.flatnonzero((flags & TAIL) == 0)
    wanted = np.array(
        sorted(data.draw(st.sets(st.integers(0, len(flags) - 1), min_size=1, max_size=20)))
    )
    frames = Frames(file_of(tmp_path_factory.mktemp("flags") / "kpageflags", flags))
    try:
        found = frames.heads(wanted)
    finally:
        frames.close()
    heads = wanted if found is None else found.head
    assert heads.tolist() == starts[np.searchsorted(starts, wanted, "right") - 1].tolist()
    assert found is None or found.tracked.all()


def test_a_page_of_a_gibibyte_is_unknown(tmp_path: Path) -> None:
    """Its head isn't searched that far away: such pages are never on an LRU list."""
    flags = np.full(1 << 15, TAIL | LRU, dtype=np.uint64)
    frames = Frames(file_of(tmp_path / "kpageflags", flags))
    try:
        found = frames.heads(np.array([(1 << 15) - 1]))
    finally:
        frames.close()
    assert found is not None
    assert not found.tracked.any()


def test_frames_that_do_not_exist_are_unknown(tmp_path: Path) -> None:
    """Frames after the end of memory, which may have been unplugged."""
    frames = Frames(file_of(tmp_path / "kpageflags", np.array([LRU])))
    try:
        assert frames.flags(np.array([0, 7])).tolist() == [int(LRU), int(NOPAGE)]
    finally:
        frames.close()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return a bitmap, and flags of 512 small pages and a huge one; frame 100 isn't on the LRU."""
    flags = np.full(1024, LRU)
    flags[100] = 0
    flags[512:] = memory([9])
    return (
        file_of(tmp_path / "bitmap", np.zeros(16)),
        file_of(tmp_path / "kpageflags", flags),
    )


def test_pages_that_are_not_on_the_lru_are_not_marked(files: tuple[Path, Path]) -> None:
    """The kernel would ignore the mark, and the page would always look accessed."""
    marking = Marking(*files)
    marked = marking.mark(np.array([99, 100]))
    marking.close()
    assert marked.known is not None
    assert marked.known.tolist() == [True, False]
    assert np.fromfile(files[0], dtype=np.uint64)[1] == 1 << 35


def test_the_parts_of_a_huge_page_share_one_mark(files: tuple[Path, Path]) -> None:
    """Only the head is marked."""
    marking = Marking(*files)
    marked = marking.mark(np.array([600, 700, 1023]))
    found = marking.used(marked)
    marking.close()
    words = np.fromfile(files[0], dtype=np.uint64)
    assert words.tolist() == [0] * 8 + [1] + [0] * 7
    assert found == (None, None)


def test_the_head_of_a_huge_page_is_found_with_the_flags_of_two_frames(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its first frame, and of the last power of two before the tail."""
    read: list[int] = []
    flags = Frames.flags

    def note(self: Frames, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        read.extend(frames.tolist())
        return flags(self, frames)

    monkeypatch.setattr(Frames, "flags", note)
    frames = Frames(files[1])
    found = frames.heads(np.array([900]))
    frames.close()
    assert found is not None
    assert found.head.tolist() == [512]
    assert read == [900, 512, 768]


def test_physical_pages_are_idle_accessed_or_unknown(files: tuple[Path, Path]) -> None:
    """A cleared mark is an access if the page is still user memory, otherwise it is unknown."""
    backend = PhysicalIdle(make_marking=lambda: Marking(*files))
    target = Target("node0")
    frames = np.array([3, 4, 5, 100, 5000])
    target.samples = Samples(frames * PAGE_SIZE_BYTES)
    backend.prepare([target])
    file_of(files[0], np.array([1 << 3] + [0] * 15, dtype=np.uint64))
    flags = np.fromfile(files[1], dtype=np.uint64)
    flags[5] = 0
    file_of(files[1], flags)
    backend.check([target])
    backend.close()
    assert target.samples.accessed.tolist() == [False, True, False, False, False]
    assert target.samples.known.tolist() == [True, True, False, False, False]


def test_physical_check_without_targets(files: tuple[Path, Path]) -> None:
    """All memory may be gone: `check` does nothing."""
    backend = PhysicalIdle(make_marking=lambda: Marking(*files))
    backend.prepare([])
    backend.check([])
    backend.close()
