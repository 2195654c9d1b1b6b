"""Which changes of the aggregation interval are said in the log."""

import pytest

from damon_core.loop.notices import Notices

SECOND = 1_000_000
MINUTE = 60 * SECOND


def said(*changes: tuple[int, int], configured_us: int = SECOND) -> list[tuple[int, int]]:
    """Return the changes that are said, of those to an interval at a time."""
    notices = Notices()
    return [each for each in changes if notices.take(each[0], configured_us, each[1])]


def test_little_is_not_notable() -> None:
    """Less than a half."""
    assert said((SECOND * 14 // 10, 0), (SECOND, MINUTE)) == []


def test_a_new_longest_interval_is_said_at_once() -> None:
    """However soon it follows another."""
    changes = [(2 * SECOND, 0), (4 * SECOND, 1), (8 * SECOND, 2)]
    assert said(*changes) == changes


def test_what_swings_is_said_now_and_then() -> None:
    """Every ten minutes, though it changes every half minute."""
    swinging = [(SECOND * (2 + 4 * (turn % 2)), 30 * SECOND * turn) for turn in range(120)]
    assert len(said(*swinging)) == pytest.approx(6, abs=1)


def test_what_is_not_so_any_more_is_owed() -> None:
    """It is said once the time of quiet is over, even if nothing changes then."""
    notices = Notices()
    assert notices.take(6 * SECOND, SECOND, 0)
    assert not notices.take(SECOND, SECOND, MINUTE)
    assert notices.is_owed
    assert notices.take(SECOND, SECOND, 10 * MINUTE)
    assert not notices.is_owed


def test_what_is_so_again_is_not_owed() -> None:
    """The line that was said last is right."""
    notices = Notices()
    notices.take(6 * SECOND, SECOND, 0)
    notices.take(SECOND, SECOND, MINUTE)
    notices.take(6 * SECOND, SECOND, 2 * MINUTE)
    assert not notices.is_owed
