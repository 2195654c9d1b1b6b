"""``damon report wss``: working set sizes, as percentiles or over time."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, groupby, islice
from pathlib import Path
from typing import Literal

import numpy as np
from attrs import evolve, frozen
from rich.console import Console

from damon_core import format_size
from damon_report.distribution import Distribution
from damon_report.figures import percent, short_duration
from damon_report.groups import By
from damon_report.naming import printable
from damon_report.output import check_picture, echo_json, heading, note
from damon_report.record import Record
from damon_report.tables import DECORATION, Column, bar, new_console, show_table
from damon_report.timeline import coarser, sparkline
from damon_report.times import local_time
from damon_report.words import Words
from damon_report.working_sets import Series, working_sets

#: The percentiles of the report.
PERCENTS = (0, 25, 50, 75, 90, 95, 99, 100)

_PICTURE_PIECES = 600


@frozen
class _What:
    """What is shown of memory: how much of it is used, or how much a second.

    Attributes:
        singular: What it is called.
        plural: What several are called.
        key: The key of the list in the JSON.
        value: The key of a value over time.
        unit: How keys of other values end.
        cell: Its text.
    """

    singular: str
    plural: str
    key: str
    value: str
    unit: str
    cell: Callable[[float], str]


_SIZE = _What(
    "working set", "working sets", "working_sets", "working_set_bytes", "bytes", format_size
)
_BANDWIDTH = _What(
    "bandwidth",
    "bandwidths",
    "bandwidths",
    "bandwidth_bytes_per_second",
    "bytes_per_second",
    lambda size: f"{format_size(size)}/s",
)
_SPARK_CHARACTERS = 30
_BAR_CHARACTERS = 24


def draw_working_sets(record: Record, *, by: By, at_least: int, output: Path, dark: bool) -> None:
    """Draw the working sets of a record to a picture.

    Args:
        record: The record.
        by: What has a working set.
        at_least: In how many checks of an aggregation memory has to be accessed to count.
        output: The picture, ``.png`` or ``.svg``.
        dark: Whether to draw on black.

    Raises:
        InputError: The picture can't be written.
    """
    # Imported here: the import takes as long as a whole report, and only pictures need it.
    from damon_report.wss_picture import draw  # noqa: PLC0415

    check_picture(output)
    draw(record, working_sets(record, by, at_least, _PICTURE_PIECES), output, dark=dark)


def show_working_sets(
    record: Record,
    *,
    by: By,
    over: Literal["percentiles", "time"],
    at_least: int,
    pieces: int,
    bandwidth: bool = False,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the working sets of a record, for people or as JSON.

    Args:
        record: The record.
        by: What has a working set.
        over: For which part of the time it was how large, or when.
        at_least: In how many checks of an aggregation memory has to be accessed to count.
        pieces: Pieces that the time is cut into, over time.
        bandwidth: Whether to print the bytes that are accessed a second instead.
        limit: At most this many of each context; None for all.
        as_json: Whether to print JSON.
    """
    console = new_console()
    pieces = pieces if over == "time" else 2 * _SPARK_CHARACTERS
    chosen = in_order(working_sets(record, by, at_least, pieces, bandwidth=bandwidth))
    what = _BANDWIDTH if bandwidth else _SIZE
    if not bandwidth and (words := Words.of(record.info)) != Words():
        what = evolve(what, singular=words.working_sets, plural=words.working_sets)
    shown = first_of_each(chosen, limit)
    if as_json:
        document = {
            **record.json(),
            "by": by,
            "at_least_checks": at_least,
            what.key: [_json(series, over, what) for series in shown],
        }
        echo_json("wss", document)
        return
    begin_us, end_us = record.span_us()
    checks = f" of {at_least} or more checks" if at_least > 1 else ""
    heading(
        console,
        f"{what.plural}{checks} over {short_duration(end_us - begin_us)} "
        f"from {local_time(begin_us)}",
    )
    if over == "percentiles":
        _show_percentiles(console, shown, end_us - begin_us, what)
    elif len(shown) == 1 or not console.is_terminal:
        _show_times(console, shown, record.start_us, what)
    else:
        _show_lines(console, shown, end_us - begin_us, what)
    if len(shown) < len(chosen):
        note(console, f"{len(chosen) - len(shown)} more: --limit 0 shows all")


def first_of_each(ordered: Iterable[Series], limit: int | None) -> list[Series]:
    """Return the first `limit` series of each context, from those of `in_order`; None for all."""
    return [
        each
        for _, members in groupby(ordered, key=lambda each: each.context)
        for each in islice(members, limit)
    ]


def in_order(found: Iterable[Series]) -> list[Series]:
    """Return series by context: the whole context first, then the parts that use most.

    The whole is left out if it has only one part.
    """
    ordered = sorted(found, key=lambda each: (each.context, each.name != "", -each.byte_time))
    members = Counter(each.context for each in ordered)
    return [each for each in ordered if each.name or members[each.context] != 2]


def _show_percentiles(console: Console, shown: Sequence[Series], span_us: int, what: _What) -> None:
    ascii_only = not console.encoding.startswith("utf")
    columns = [Column("context", least=7, rank=1), Column(f"{what.singular} of", least=12)]
    columns += [
        Column(f"{each}%", right=True, rank=0 if each in {0, 50, 100} else 5 - each // 25)
        for each in PERCENTS
    ]
    columns += [Column("there", right=True, rank=8), Column("over time", rank=DECORATION)]
    keep = [True] * len(columns)
    if console.is_terminal:
        keep[0] = len({each.context for each in shown}) > 1
        keep[-2] = any(each.sizes_bytes.weight < 0.99 * span_us for each in shown)
        keep[-1] = len(shown) > 1
    else:
        keep[-1] = False
    rows = []
    for each in shown:
        name = printable(each.name) or "(all)"
        line = sparkline(coarser(each.working_set.mean, _SPARK_CHARACTERS), ascii_only=ascii_only)
        for called, sizes, drawn in (
            (name, each.sizes_bytes, line),
            (f"{name}, reported", each.reported, ""),
        ):
            if sizes.weight or called == name:
                row = [printable(each.context), called]
                row += map(what.cell, sizes.percentiles(PERCENTS))
                rows.append([*row, percent(min(sizes.weight / span_us, 1.0)), drawn])
    show_table(console, list(compress(columns, keep)), [list(compress(row, keep)) for row in rows])
    if console.is_terminal and len(shown) == 1:
        line = sparkline(shown[0].working_set.mean, ascii_only=ascii_only)
        note(console, f"over time: |{line}|")
    if any(each.reported.weight for each in shown):
        note(console, "reported: by what has monitored it, such as DAMON_STAT")


def _show_times(console: Console, shown: Sequence[Series], start_us: int, what: _What) -> None:
    """Print one row for each piece of the time."""
    ascii_only = not console.encoding.startswith("utf")
    scale = max(1.0, *(float(np.nanmax(each.working_set.mean)) for each in shown))
    columns = [Column(title, right=True) for title in ("from", "to", "mean")]
    columns += [Column("", rank=DECORATION)]
    columns += [Column("min", right=True), Column("max", right=True)]
    columns += [Column("idle", right=True, rank=1), Column("of", right=True, rank=2)]
    columns += [Column("context"), Column(f"{what.singular} of")]
    keep = [True] * len(columns)
    if console.is_terminal:
        keep[-2:] = [False, False]
    else:
        keep[3] = False
    rows = []
    for series in shown:
        edges_us = series.working_set.edges_us - start_us
        for index, used in enumerate(series.working_set.mean.tolist()):
            if np.isnan(used):
                continue
            row = [
                short_duration(edges_us[index]),
                short_duration(edges_us[index + 1]),
                what.cell(used),
                bar(used / scale, _BAR_CHARACTERS, ascii_only=ascii_only),
                what.cell(series.working_set.least[index]),
                what.cell(series.working_set.greatest[index]),
                format_size(series.idle.mean[index]),
                format_size(series.total.mean[index]),
                printable(series.context),
                printable(series.name) or "(all)",
            ]
            rows.append(list(compress(row, keep)))
    show_table(console, list(compress(columns, keep)), rows)


def _show_lines(console: Console, shown: Sequence[Series], span_us: int, what: _What) -> None:
    """Print one line for each series, with its working set over time."""
    ascii_only = not console.encoding.startswith("utf")
    names = [printable(each.name) or "(all)" for each in shown]
    room = console.width - min(max(map(len, names)), 24) - 4 - 7
    lines = [coarser(each.working_set.mean, max(room, 10)) for each in shown]
    columns = [
        Column(f"{what.singular} of", least=14),
        Column("max", right=True),
        Column(f"over {short_duration(span_us)}, each line to its own max"),
    ]
    rows = [
        [name, what.cell(each.sizes_bytes.greatest), sparkline(line, ascii_only=ascii_only)]
        for name, each, line in zip(names, shown, lines, strict=True)
    ]
    show_table(console, columns, rows)


def _json(series: Series, over: str, what: _What) -> dict[str, object]:
    document: dict[str, object] = {
        "context": series.context,
        "name": series.name,
        "labels": dict(sorted((series.labels or {}).items())),
        **_distribution(series.sizes_bytes, what),
    }
    if series.reported.weight:
        document["reported"] = _distribution(series.reported, what)
    if over == "time":
        document["over_time"] = [
            {
                "from_us": round(begin),
                "to_us": round(end),
                what.value: whole(used),
                f"min_{what.unit}": whole(least),
                f"max_{what.unit}": whole(greatest),
                "idle_bytes": whole(idle),
                "total_bytes": whole(total),
            }
            for begin, end, used, least, greatest, idle, total in zip(
                series.working_set.edges_us[:-1],
                series.working_set.edges_us[1:],
                series.working_set.mean,
                series.working_set.least,
                series.working_set.greatest,
                series.idle.mean,
                series.total.mean,
                strict=True,
            )
        ]
    return document


def _distribution(sizes: Distribution, what: _What) -> dict[str, object]:
    return {
        "time_us": round(sizes.weight),
        f"mean_{what.unit}": round(sizes.mean),
        f"percentiles_{what.unit}": {
            str(each): round(size)
            for each, size in zip(PERCENTS, sizes.percentiles(PERCENTS), strict=True)
        },
    }


def whole(value: float) -> int | None:
    """Return a rounded number for JSON; None for NaN, which JSON doesn't have."""
    return None if np.isnan(value) else round(value)
