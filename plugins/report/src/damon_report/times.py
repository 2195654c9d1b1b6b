"""Points in time as people read them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_time(time_us: int) -> str:
    """Return Unix microseconds as a time of this machine, to the second, with its zone."""
    when = (_EPOCH + timedelta(microseconds=time_us)).astimezone()
    return when.strftime("%Y-%m-%d %H:%M:%S %z")


def utc_time(time_us: int) -> str:
    """Return Unix microseconds in UTC, to the microsecond, for machines."""
    when = _EPOCH + timedelta(microseconds=time_us)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
