"""Formats of points in time."""

from datetime import UTC, datetime, timedelta

from damon_report.figures import short_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_S = 1_000_000
_STEPS_US = (
    *(unit * number for unit in (1_000, 10_000, 100_000) for number in (1, 2, 5)),
    *(number * _S for number in (1, 2, 5, 10, 15, 30)),
    *(number * 60 * _S for number in (1, 2, 5, 10, 15, 30)),
    *(number * 3_600 * _S for number in (1, 2, 3, 6, 12)),
    *(number * 86_400 * _S for number in (1, 2, 7, 14, 28, 91, 364, 3_640)),
)


def local_time(time_us: int) -> str:
    """Return Unix microseconds as local time, to the second, with the zone."""
    when = (_EPOCH + timedelta(microseconds=time_us)).astimezone()
    return when.strftime("%Y-%m-%d %H:%M:%S %z")


def since_start(time_us: int, start_us: int) -> str:
    """Return a time of a record for people, with when that was."""
    return f"{short_duration(time_us - start_us)} after the start ({local_time(time_us)})"


def utc_time(time_us: int) -> str:
    """Return Unix microseconds as UTC in the format of RFC 3339, to the microsecond."""
    when = _EPOCH + timedelta(microseconds=time_us)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_ticks(span_us: int, most: int, begin_us: int = 0) -> list[tuple[int, str]]:
    """Return round times since the start, at most `most`, with their labels.

    Args:
        span_us: Length of the axis.
        most: Maximum number of ticks.
        begin_us: When the axis begins.
    """
    step_us = next((step for step in _STEPS_US if span_us < most * step), _STEPS_US[-1])
    first_us = -(-begin_us // step_us) * step_us
    times_us = range(first_us, begin_us + span_us + 1, step_us)
    return [(us, _since_start(us, step_us)) for us in times_us]


def _since_start(us: int, step_us: int) -> str:
    if step_us < _S:
        return f"{us / 1_000:g}ms" if 0 < us < _S else f"{us / _S:g}s"
    seconds = us // _S
    if us == 0 or (seconds < 120 and step_us < 60 * _S):
        return f"{seconds}s"
    days, seconds = divmod(seconds, 86_400)
    parts = ((days, "d"), (seconds // 3_600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)
