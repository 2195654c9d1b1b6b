"""The lines above and below the tables."""

import logging
import time
from collections.abc import Iterable

from rich.text import Text

from damon_core import SPECTRUM_US, Intervals, Spectrum, format_duration, format_size
from damon_top.picture import Picture

_STYLES = {"critical": "bold red", "warning": "yellow"}
_GAP = "  "
#: So many times of a spectrum are shown.
_CLASSES = 3


def head_lines(
    picture: Picture, wanted: Intervals, *, host: str, place: str, paused: bool, view_cpu: float
) -> Text:
    """Return two lines: what is watched, and what watching it costs.

    Args:
        picture: The context.
        wanted: The intervals that were asked for.
        host: The machine.
        place: Which of several contexts it is; empty for the only one.
        paused: Whether the picture stands still.
        view_cpu: The share of a processor that the view uses.
    """
    snapshot, stats, intervals = picture.snapshot, picture.stats, picture.intervals
    state = "paused" if paused else "running" if picture.running else "ended"
    first = Text.assemble(
        ("damon top", "bold"),
        f"{_GAP}{host}{_GAP}{picture.name}{place} ({picture.source}){_GAP}",
        (state, "" if state == "running" else "reverse"),
    )
    if snapshot is not None:
        first.append(
            f"{_GAP}working set {format_size(snapshot.working_set_bytes())} of "
            f"{format_size(snapshot.total_bytes)}{_GAP}regions {len(snapshot)}"
        )
    second = _GAP.join(
        [
            f"intervals {_interval(intervals.sampling_us, wanted.sampling_us)}"
            f" {_interval(intervals.aggregation_us, wanted.aggregation_us)}"
            f" {format_duration(intervals.update_us)}",
            f"CPU {_percent(picture.cpu, picture.budget)}",
            *_toll(picture),
            # A line of 80 columns may end here.
            f"view {100 * view_cpu:.1f} %",
            f"missed {stats.missed_samples}",
            *_spectrum(None if snapshot is None else snapshot.spectrum),
        ]
    )
    return first.append("\n" + second)


def why_nothing(picture: Picture) -> str:
    """Return why there is no target to show; empty if what ended the context says it."""
    if not picture.running:
        return ""
    if picture.snapshot is None:
        interval = format_duration(picture.intervals.aggregation_us, 3)
        return f"No results yet: the first aggregation has to end; the interval is {interval}."
    return "There is nothing to monitor now."


def _spectrum(spectrum: Spectrum | None) -> list[str]:
    """Return how much memory is accessed within the shortest times that are known."""
    if spectrum is None:
        return []
    known = [
        f"{format_duration(us, 2)} {format_size(size)}"
        for us, size in zip(SPECTRUM_US, spectrum.within_bytes, strict=True)
        if size is not None
    ]
    return [f"within {', '.join(known[:_CLASSES])}"] if known else []


def _interval(interval_us: int, wanted_us: int) -> str:
    text = format_duration(interval_us, 3)
    return text if interval_us == wanted_us else f"{text} ({format_duration(wanted_us, 3)})"


def _percent(share: float, most: float | None) -> str:
    bound = "" if most is None else f" of {100 * most:.3g}"
    return f"{100 * share:.1f}{bound} %"


def _toll(picture: Picture) -> list[str]:
    """Return what monitoring costs targets; nothing where that isn't known."""
    stats = picture.stats
    if not stats.longest_stall_us:
        return []
    return [
        f"slowdown {_percent(stats.slowdown, picture.max_slowdown)}",
        f"stall {format_duration(stats.longest_stall_us, 3)}",
    ]


def failures(pictures: Iterable[Picture]) -> Text:
    """Return what ended contexts, whole."""
    return Text("\n").join(
        Text(f"context '{picture.name}' failed: {picture.error}")
        for picture in pictures
        if picture.error
    )


def notes(
    pictures: Iterable[Picture], records: Iterable[logging.LogRecord], most: int | None
) -> Text:
    """Return a line for each alert and each log message, the newest of these last.

    Args:
        pictures: All contexts.
        records: What was logged.
        most: How many lines there may be; None for all of them.
    """
    alerts = [
        Text(
            f"ALERT {alert.name} ({alert.severity}): {alert.summary}",
            _STYLES.get(alert.severity, ""),
        )
        for picture in pictures
        for alert in picture.alerts
    ]
    messages = [Text(_message(record)) for record in list(records)]
    if most is not None:
        # Alerts first: they are current, messages are past.
        hidden = len(alerts) - most
        if hidden > 0:
            alerts[most - 1 :] = [Text(f"and {hidden + 1} more alerts: press a", "bold")]
        messages = messages[-1:] if hidden < 0 else []
    return Text("\n").join([*alerts, *messages])


def _message(record: logging.LogRecord) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(record.created))
    return f"{clock} {record.levelname.lower()}: {record.getMessage()}"


def key_line(orders: str, filtered: str, note: str, several: bool) -> Text:
    """Return the line of keys, or what the last key did.

    Args:
        orders: How the selected table is ordered.
        filtered: The text that its lines must have.
        note: What the last key did, instead of the keys.
        several: Whether there are several contexts.
    """
    if note:
        return Text(note, "bold")
    keys = {
        "q": "quit",
        "?": "help",
        "s": f"sort: {orders}",
        "/": f"filter: {filtered}" if filtered else "filter",
        "p": "pause",
        "+ -": "sampling",
        **({"left right": "context"} if several else {}),
        "tab": "table",
    }
    line = Text()
    for key, what in keys.items():
        line.append(key, "bold").append(f" {what}{_GAP}")
    return line
