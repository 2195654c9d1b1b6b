"""The compiled check: results are Python's, whatever files say; wrong arguments are refused."""

import os
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from attrs import define
from damon_idle.checking import Check, Pages, PythonCheck
from damon_idle.frames import HEAD, LRU, TAIL
from damon_idle.helper import find_helper
from damon_idle.marking import Marking
from hypothesis import given
from hypothesis import strategies as st

from damon_core import PluginError
from tests.page_files import FILE, PRESENT, SWAPPED, Change, Memory, check_once

pytestmark = pytest.mark.needs("idle-helper")

SMALL, LARGE_HEAD, LARGE_TAIL = int(LRU), int(LRU | HEAD), int(LRU | TAIL)


def flags_of(orders: Sequence[int]) -> list[int]:
    """Return the flags of memory that aligned pages of these orders fill."""
    flags = []
    for order in sorted(orders, reverse=True):
        flags += [LARGE_HEAD if order else SMALL] + [LARGE_TAIL] * ((1 << order) - 1)
    return flags


def head_of(flags: Sequence[int], frame: int) -> int:
    """Return the first frame of a page."""
    while frame < len(flags) and flags[frame] & int(TAIL):
        frame -= 1
    return frame


@define
class Scene:
    """A memory, pages of it, and what happens to them: every kind of it now and then.

    Attributes:
        random: Decides.
    """

    random: Random

    def happens(self, probability: float) -> bool:
        """Return whether something happens."""
        return self.random.random() < probability

    def entry(self, frames: Sequence[int]) -> int:
        """Return an entry of pagemap: few frames, so that some are those of several pages."""
        kind = self.random.choices([PRESENT, SWAPPED, 0], [8, 1, 2])[0]
        return kind and kind | self.random.choice([0, 0, FILE]) | self.random.choice(frames)

    def ends(self, processes: int) -> list[int]:
        """Return where what can be read of pagemaps ends: rarely soon."""
        return [150 if self.happens(0.1) else 1000 for _ in range(processes)]

    def make(self) -> tuple[Memory, list[list[int]], Change]:
        """Return it."""
        random = self.random
        flags = flags_of(random.choices([0, 1, 2, 4, 9, 10], [70, 3, 3, 2, 1, 1], k=100))
        # The first of them are large, the last ones small, and some don't exist.
        frames = random.sample(range(1, len(flags) + 3), min(30, len(flags)))
        frames += range(max(1, len(flags) - 40), len(flags), 3)
        for frame in frames:
            flags[frame : frame + 1] = [0] if self.happens(0.02) else flags[frame : frame + 1]
        processes = random.randrange(4)
        pages = [
            sorted(random.choices(range(300), k=random.randrange(40))) for _ in range(processes)
        ]
        entries = [{page: self.entry(frames) for page in each} for each in pages]
        words = (
            len(flags) // 64 + 1 if self.happens(0.7) else random.randrange(len(flags) // 64 + 1)
        )
        memory = Memory(entries, flags, words, self.ends(processes))
        return memory, pages, self.change(memory, frames)

    def change(self, memory: Memory, frames: Sequence[int]) -> Change:
        """Return what happens between marking and looking."""
        random, flags = self.random, list(memory.flags)
        used = [head_of(flags, frame) for frame in frames if self.happens(0.5)]
        entries = [
            {
                page: self.entry(frames) if self.happens(0.2) else entry
                for page, entry in each.items()
            }
            for each in memory.entries
        ]
        kinds = [0, SMALL, LARGE_HEAD, LARGE_TAIL, int(TAIL)]
        for frame in frames:
            for changed in (frame, head_of(flags, frame)):
                if changed < len(flags) and self.happens(0.04):
                    flags[changed] = random.choice(kinds)
        words = memory.bitmap_words
        words = random.randrange(words + 1) if self.happens(0.3) else words
        return Change(Memory(entries, flags, words, self.ends(len(entries))), used)


def native(marking: Marking, pages: Pages) -> Check:
    """Mark by the helper that is installed."""
    return find_helper().mark_pages(marking, pages)


@pytest.mark.parametrize("seed", range(0, 400, 40))
def test_the_results_are_those_of_python(seed: int) -> None:
    """Pages in memory, marks in the bitmap and states, of any memory and whatever happens to it."""
    for number in range(seed, seed + 40):
        example = Scene(Random(number)).make()
        assert check_once(native, *example) == check_once(PythonCheck, *example), number


def test_the_results_of_many_pages_are_those_of_python() -> None:
    """One call to the kernel isn't enough for neighbours beyond some number."""
    chosen = np.random.default_rng(1).integers(0, 3000, (2, 1500))
    pages = [sorted(each) for each in chosen.tolist()]
    entries = [{page: PRESENT | page + 64 for page in each} for each in pages]
    memory = Memory(entries, [int(LRU)] * 4096, 64)
    example = memory, pages, Change(memory, range(100, 2000, 3))
    assert check_once(native, *example) == check_once(PythonCheck, *example)


@pytest.fixture
def mark() -> Callable[..., Any]:
    """Return the function of the module."""
    function = find_helper().mark
    assert function is not None
    return function


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        ((0, 1 << 40, []), OverflowError),
        ((0, 0, 5), TypeError),
        ((0, 0, [5]), TypeError),
        ((0, 0, [(0,)]), TypeError),
        ((0, 0, [(0, [1, 2])]), TypeError),
        ((0, 0, [(0, np.zeros(4))]), TypeError),
        ((0, 0, [(0, np.zeros(4, dtype=np.int32))]), TypeError),
        ((0, 0, [(0, np.zeros((4, 4), dtype=np.int64))]), TypeError),
        ((0, 0, [(0, np.zeros(8, dtype=np.int64)[::2])]), (BufferError, ValueError)),
    ],
)
def test_arguments_of_no_use_are_errors(
    mark: Callable[..., Any], arguments: tuple[Any, ...], error: Any
) -> None:
    """Python's errors, and nothing is read or written."""
    with pytest.raises(error):
        mark(*arguments)


@given(addresses=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=50))
def test_no_address_does_harm(addresses: list[int]) -> None:
    """Neither in any order nor outside of what a process can have: then its memory is gone."""
    function: Any = find_helper().mark
    with open("/dev/null", "r+b") as nothing:
        check = function(
            nothing.fileno(), nothing.fileno(), [(nothing.fileno(), np.array(addresses, np.int64))]
        )
    assert check.in_memory == [None if addresses else 0]


def test_closed_files_are_processes_that_are_gone(mark: Callable[..., Any]) -> None:
    """As for Python, which can't read them either."""
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    check = mark(writing, writing, [(reading, np.array([4096]))])
    assert (check.in_memory, check.look()) == ([None], [None])


def test_a_check_can_be_looked_at_twice(mark: Callable[..., Any]) -> None:
    """It doesn't change by that."""
    memory = Memory([{1: PRESENT | 70}], [int(LRU)] * 128, 2)

    def look_twice(marking: Marking, pages: Pages) -> Check:
        check = native(marking, pages)
        assert check.look() == check.look() == [bytes([4])]
        return check

    assert check_once(look_twice, memory, [[1]], Change(memory, [70]))[2] == [bytes([5])]


def test_a_check_is_only_made_by_marking(mark: Callable[..., Any]) -> None:
    """An empty one would be of no use."""
    with pytest.raises(TypeError, match="cannot create"):
        type(mark(0, 0, []))()


def test_frames_that_are_hidden_are_an_error_of_the_system() -> None:
    """The backend's is made of it."""
    memory = Memory([{1: PRESENT}], [int(LRU)] * 64, 1)
    with pytest.raises(PluginError) as raised:
        check_once(native, memory, [[1]], Change(memory))
    assert isinstance(raised.value.__cause__, PermissionError)
