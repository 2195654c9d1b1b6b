"""The states of pages after one check: of small and large ones, in memory or not, moved or gone."""

from collections.abc import Mapping, Sequence

import pytest
from attrs import evolve
from damon_idle.checking import (
    ACCESSED,
    COMPOUND,
    IN_MEMORY,
    UNKNOWN,
    MarkPages,
    PythonCheck,
)
from damon_idle.frames import HEAD, LRU, TAIL
from damon_idle.helper import find_helper

from damon_core import PluginError
from tests.page_files import FILE, PRESENT, SWAPPED, Change, Memory, check_once

IDLE = IN_MEMORY
HOT = IN_MEMORY | ACCESSED
LOST = IN_MEMORY | UNKNOWN

FLAGS = [int(LRU)] * 512 + [int(LRU | HEAD)] + [int(LRU | TAIL)] * 511


@pytest.fixture(params=["python", pytest.param("helper", marks=pytest.mark.needs("idle-helper"))])
def mark(request: pytest.FixtureRequest) -> MarkPages:
    """Return what marks pages: in Python, and by the helper that is installed."""
    return PythonCheck if request.param == "python" else find_helper().mark_pages


def memory(*entries: Mapping[int, int]) -> Memory:
    """Return the memory of some processes: small pages, and from frame 512 on a huge one."""
    return Memory(entries, FLAGS, len(FLAGS) // 64)


def states(
    mark: MarkPages,
    before: Mapping[int, int],
    now: Mapping[int, int] | None = None,
    used: Sequence[int] = (),
    flags: Sequence[int] = FLAGS,
) -> list[int] | None:
    """Return the states of the pages 0 to 3 of a process."""
    was = memory(before)
    change = Change(evolve(memory(before if now is None else now), flags=flags), used)
    _, _, (found,) = check_once(mark, was, [range(4)], change)
    return None if found is None else list(found)


def test_pages_in_memory_are_idle_or_accessed(mark: MarkPages) -> None:
    """Each by its own mark."""
    entries = {page: PRESENT | 70 + page for page in range(4)}
    assert states(mark, entries, used=[71, 73]) == [IDLE, HOT, IDLE, HOT]


def test_only_marks_of_pages_in_memory_are_written(mark: MarkPages) -> None:
    """One for a huge page: that of its head."""
    entries = {0: PRESENT | 3, 1: PRESENT | 700, 2: SWAPPED | 5, 3: PRESENT | 600}
    was = memory(entries)
    in_memory, marks, _ = check_once(mark, was, [range(4)], Change(was))
    assert in_memory == [3]
    assert {number: word for number, word in enumerate(marks) if word} == {0: 1 << 3, 8: 1}


def test_a_page_that_comes_into_memory_was_accessed(mark: MarkPages) -> None:
    """Unless it is a file's: it may have been mapped along with another; or stays away."""
    now = {0: PRESENT | 5, 1: PRESENT | FILE | 6, 2: SWAPPED | 7}
    assert states(mark, {2: SWAPPED | 7}, now) == [ACCESSED, UNKNOWN, 0, 0]


def test_of_pages_that_moved_nobody_knows(mark: MarkPages) -> None:
    """Their mark is gone, but perhaps with the page: another frame, none, or another kind."""
    before = {page: PRESENT | 70 + page for page in range(4)}
    now = {0: PRESENT | 90, 2: PRESENT | 72, 3: PRESENT | 73}
    flags = [*FLAGS[:72], 0, *FLAGS[73:]]
    assert states(mark, before, now, [70, 71, 72, 73], flags) == [LOST, LOST, LOST, HOT]


def test_pages_that_are_not_tracked_are_unknown(mark: MarkPages) -> None:
    """The kernel's, and those past the end of memory."""
    entries = {0: PRESENT | 70, 1: PRESENT | 5000, 2: PRESENT | 71}
    was = evolve(memory(entries), flags=[*FLAGS[:70], 0, *FLAGS[71:]])
    _, _, found = check_once(mark, was, [range(4)], Change(was, [71]))
    assert found == [bytes([LOST, LOST, HOT, 0])]


def test_a_mark_that_cannot_be_written_or_read_is_unknown(mark: MarkPages) -> None:
    """The bitmap ends in front of one word, and later in front of another."""
    entries = {0: PRESENT | 1, 1: PRESENT | 70, 2: PRESENT | 300, 3: PRESENT | 2}
    was = evolve(memory(entries), bitmap_words=2)
    change = Change(evolve(was, bitmap_words=1), [1])
    assert check_once(mark, was, [range(4)], change)[2] == [bytes([HOT, LOST, LOST, IDLE])]


def test_accessed_parts_of_huge_pages_say_so(mark: MarkPages) -> None:
    """A choice of what to flush depends on it."""
    entries = {0: PRESENT | 600, 1: PRESENT | 70, 2: PRESENT | 700, 3: PRESENT | 71}
    found = states(mark, entries, used=[512, 70])
    assert found == [HOT | COMPOUND, HOT, HOT | COMPOUND, IDLE]


def test_a_huge_page_that_was_split_is_unknown(mark: MarkPages) -> None:
    """Its pages have other heads than when it was marked."""
    entries = {0: PRESENT | 600, 1: PRESENT | 512}
    flags = [int(LRU)] * 1024
    assert states(mark, entries, used=[512], flags=flags) == [LOST, HOT | COMPOUND, 0, 0]


def test_processes_that_end_are_named(mark: MarkPages) -> None:
    """At the marking, or later; nothing of the others changes."""
    entries = [{0: PRESENT | 70}, {}, {0: PRESENT | 71}]
    was = evolve(memory(*entries), ends=[1 << 20, 0, 1 << 20])
    later = Change(evolve(was, ends=[0, 0, 1 << 20]), [70, 71])
    in_memory, _, found = check_once(mark, was, [[0], [0], [0, 9]], later)
    assert in_memory == [1, None, 1]
    assert found == [None, None, bytes([HOT, 0])]


def test_no_process_and_no_page(mark: MarkPages) -> None:
    """There is nothing to say."""
    assert check_once(mark, memory(), [], Change(memory())) == ([], [0] * 16, [])
    assert check_once(mark, memory({}), [[]], Change(memory({}))) == ([0], [0] * 16, [b""])


def test_hidden_frames_are_an_error(mark: MarkPages) -> None:
    """Without CAP_SYS_ADMIN all frames read as 0: nothing is marked."""
    was = memory({0: PRESENT, 1: PRESENT})
    with pytest.raises(PluginError, match="shows no page frames: CAP_SYS_ADMIN is missing"):
        check_once(mark, was, [[0, 1]], Change(was))
