"""``damon report summary``: a record at a glance, on one screen."""

import textwrap
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console
from rich.text import Text

from damon_core import ContextInfo, RecordInfo, TargetSnapshot, format_size
from damon_report.figures import percent, short_duration
from damon_report.groups import GROUPS, By
from damon_report.idle import BUCKETS_US, idle_memory
from damon_report.naming import printable
from damon_report.output import echo_json
from damon_report.overview import ContextOverview, overview
from damon_report.record import Record
from damon_report.tables import DECORATION, Column, bar, new_console, show_table
from damon_report.timeline import coarser, sparkline
from damon_report.times import local_time
from damon_report.words import Words, sees_writes
from damon_report.wss import PERCENTS

_HOTTEST = 5
_TARGETS = 3
_SPARK_CHARACTERS = 60
_LABEL = 13


def show_summary(record: Record, *, by: By | None, as_json: bool) -> None:
    """Print a record at a glance, for people or as JSON.

    Args:
        record: The record.
        by: What the hottest are of; None for mappings, or targets if there are none.
        as_json: Whether to print JSON.
    """
    contexts = overview(record, by)
    if as_json:
        echo_json("summary", _json(record, contexts))
        return
    console = new_console()
    begin_us, end_us = record.span_us()
    info = record.info
    _line(console, "record", f"{record.name}, {short_duration(end_us - begin_us)}")
    _line(console, "from", f"{local_time(begin_us)} to {local_time(end_us)}")
    machine = ", ".join(each for each in (info.host, info.kernel, info.program) if each)
    _line(console, "on", printable(machine))
    _line(console, "by", printable(info.command))
    infos = {each.name: each for each in info.contexts}
    for context in contexts:
        console.print()
        _show(console, record, context, infos.get(context.name, ContextInfo(context.name)))


def _line(console: Console, label: str, text: str) -> None:
    """Print a labelled text, on several lines if the terminal is narrow; nothing if it is empty."""
    # In a pipe the console is so wide that no line is broken.
    for line in textwrap.wrap(text, max(console.width - _LABEL, 1), break_on_hyphens=False):
        console.print(Text.assemble((f"{label:<{_LABEL}}", "bold"), line))
        label = ""


def _show(console: Console, record: Record, context: ContextOverview, info: ContextInfo) -> None:
    ascii_only = not console.encoding.startswith("utf")
    how = [info.primitive, info.backend and f"backend {info.backend}"]
    how.append(info.policy and f"policy {info.policy}")
    _line(console, "context", ", ".join(filter(None, (printable(context.name), *how))))
    _line(console, "intervals", _intervals(record, context))
    _line(console, "aggregations", _aggregations(context))
    _line(console, "targets", _targets(context))
    sizes = context.whole.sizes_bytes
    median, most_often, most = sizes.percentiles([50, 95, 100])
    _line(
        console,
        "written" if sees_writes(info.backend) else "working set",
        f"median {format_size(median)}, 95% of the time up to {format_size(most_often)}, "
        f"at most {format_size(most)}",
    )
    line = coarser(context.whole.working_set.mean, _SPARK_CHARACTERS)
    console.print(f"{'':{_LABEL}}|{sparkline(line, ascii_only=ascii_only)}|")
    step = context.biggest_step()
    if step is None:
        _line(console, "", "about the same all the time")
    else:
        verb = "grew" if step.after_bytes > step.before_bytes else "shrank"
        _line(
            console,
            "",
            f"{verb} most {short_duration(step.time_us - record.start_us)} after the start: "
            f"from {format_size(step.before_bytes)} to {format_size(step.after_bytes)}",
        )
    _line(console, "not written" if sees_writes(info.backend) else "idle", _idle(record, context))
    if sees_writes(info.backend):
        _line(console, "to copy", _to_copy(context))
    for target in context.last.targets:
        _line(console, "reported", _reported(target))
    if context.uses:
        console.print()
        _show_hottest(console, context, Words.of(RecordInfo(contexts=(info,))))


def _intervals(record: Record, context: ContextOverview) -> str:
    last = context.intervals[-1][1]
    text = (
        f"sampling {short_duration(last.sampling_us)}, "
        f"aggregation {short_duration(last.aggregation_us)}"
    )
    if not context.interval_changes:
        return text
    # Some ways of sampling stretch both intervals, others only one.
    ranges = [
        f"{name} {short_duration(min(values))} to {short_duration(max(values))}"
        for name, values in (
            ("sampling", [each.sampling_us for _, each in context.intervals]),
            ("aggregation", [each.aggregation_us for _, each in context.intervals]),
        )
        if min(values) < max(values)
    ]
    times = "once" if context.interval_changes == 1 else f"{context.interval_changes} times"
    changed_us = context.intervals[-1][0] - record.start_us
    changed = ", ".join([f"changed {times}", *ranges])
    return f"{text}, since {short_duration(changed_us)} after the start; {changed}"


def _aggregations(context: ContextOverview) -> str:
    parts = [str(context.aggregations), f"{context.checks} checks"]
    if context.missed_checks:
        share = context.missed_checks / (context.checks + context.missed_checks)
        parts.append(f"{context.missed_checks} missed ({percent(share)})")
    if context.gaps:
        gaps = "1 gap" if context.gaps == 1 else f"{context.gaps} gaps"
        parts.append(f"{gaps} of {short_duration(context.gaps_us)} in total")
    least, most = context.regions
    parts.append(f"{least} regions" if least == most else f"{least} to {most} regions")
    return ", ".join(parts)


def _to_copy(context: ContextOverview) -> str:
    """Return what would have to be copied of memory that only writes change."""
    sizes, aggregation_us = context.whole.sizes_bytes, context.intervals[-1][1].aggregation_us
    mean = sizes.mean
    return (
        f"{format_size(mean)} by a checkpoint after each aggregation, on average; a live migration "
        f"has to copy more than {format_size(mean / (aggregation_us / 1e6))} a second to end"
    )


def _targets(context: ContextOverview) -> str:
    names = [printable(each.name) for each in context.targets[:_TARGETS]]
    more = len(context.targets) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _idle(record: Record, context: ContextOverview) -> str:
    whole = idle_memory(context.last, "context", record.areas)[0]
    longer: list[str] = []
    shown = ""
    for least_us, size in reversed([*zip(BUCKETS_US[1:], whole.at_least[1:], strict=True)]):
        at_least = "" if size.known is not None else "at least "
        # A bound that is only that of the next longer time says nothing new.
        if size.low and not (at_least and format_size(size.low) == shown):
            shown = format_size(size.low)
            longer.insert(0, f"{at_least}{shown} for {short_duration(least_us)}")
    by_time = f": {', '.join(longer)} or longer" if longer else ""
    return (
        f"{format_size(whole.idle_bytes)} of {format_size(whole.total_bytes)} at the end{by_time}"
    )


def _reported(target: TargetSnapshot) -> str:
    """Return what something else says of a target, such as DAMON_STAT; nothing if none does."""
    said, figures = target.reported, []
    if said.idle_us is not None:
        half_us = said.idle_us[50]
        figures.append(
            f"half of the memory in use for {short_duration(-half_us)} or longer"
            if half_us < 0
            else f"half of the memory idle for {short_duration(half_us)} or longer"
        )
    if said.bytes_per_second is not None:
        figures.append(f"{format_size(said.bytes_per_second)} accessed a second")
    return f"{', '.join(figures)}, for {printable(target.name)} at the end" if figures else ""


def _show_hottest(console: Console, context: ContextOverview, words: Words) -> None:
    ascii_only = not console.encoding.startswith("utf")
    plain = context.uses_of in GROUPS
    columns = [
        Column(
            f"hottest {context.uses_of}s" if plain else f"hottest by {context.uses_of}", least=16
        ),
        Column(words.working_set, right=True),
        Column("of", right=True),
        Column("frequency", right=True),
        *([Column("", rank=DECORATION)] if console.is_terminal else []),
        Column(words.idle, right=True),
    ]
    hottest = sorted(context.uses.items(), key=lambda each: -each[1].accessed_bytes)[:_HOTTEST]
    rows: list[list[Text | str]] = [
        [
            printable(name),
            format_size(use.working_set_bytes),
            format_size(use.total_bytes),
            percent(use.frequency),
            *([bar(use.frequency, ascii_only=ascii_only)] if console.is_terminal else []),
            format_size(use.idle_bytes),
        ]
        for name, use in hottest
    ]
    show_table(console, columns, rows)


def _json(record: Record, contexts: Sequence[ContextOverview]) -> dict[str, object]:
    begin_us, end_us = record.span_us()
    info = record.info
    infos = {each.name: each for each in info.contexts}
    return {
        **record.json(),
        "host": info.host,
        "kernel": info.kernel,
        "command": info.command,
        "program": info.program,
        "begin_us": begin_us,
        "end_us": end_us,
        "contexts": [
            _context_json(record, each, infos.get(each.name, ContextInfo(each.name)))
            for each in contexts
        ],
    }


def _context_json(record: Record, context: ContextOverview, info: ContextInfo) -> dict[str, object]:
    sizes = context.whole.sizes_bytes
    step = context.biggest_step()
    hottest = sorted(context.uses.items(), key=lambda each: -each[1].accessed_bytes)
    return {
        "context": context.name,
        "primitive": info.primitive,
        "backend": info.backend,
        "policy": info.policy,
        "cpu_budget": info.cpu_budget,
        "max_slowdown": info.max_slowdown,
        "max_stall_us": info.max_stall_us,
        "aggregations": context.aggregations,
        "checks": context.checks,
        "missed_checks": context.missed_checks,
        "gaps": context.gaps,
        "gaps_us": context.gaps_us,
        "least_regions": context.regions[0],
        "most_regions": context.regions[1],
        "interval_changes": context.interval_changes,
        "intervals": [{"from_us": since, **asdict(each)} for since, each in context.intervals],
        "targets": [each.name for each in context.targets],
        "labels": {
            each.name: dict(sorted(each.labels.items())) for each in context.targets if each.labels
        },
        "working_set": {
            "mean_bytes": round(sizes.mean),
            "percentiles_bytes": {
                str(each): round(size)
                for each, size in zip(PERCENTS, sizes.percentiles(PERCENTS), strict=True)
            },
        },
        "biggest_change": None
        if step is None
        else {
            "time_us": step.time_us,
            "before_bytes": round(step.before_bytes),
            "after_bytes": round(step.after_bytes),
        },
        "idle_at_end": idle_memory(context.last, "context", record.areas)[0].json(),
        "hottest_of": context.uses_of,
        "hottest": [{"name": name, **use.json()} for name, use in hottest[:_HOTTEST]],
    }
