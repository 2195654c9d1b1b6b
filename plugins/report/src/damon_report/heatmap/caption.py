"""The caption above a heat map: what was recorded, when and how."""

from attrs import field, frozen

from damon_core import RecordInfo, format_size
from damon_report.figures import short_duration
from damon_report.heatmap.grid import Heat
from damon_report.heatmap.places import TargetKey
from damon_report.heatmap.scales import mean
from damon_report.times import local_time
from damon_report.words import Words


@frozen
class Caption:
    """The caption above a heat map.

    Attributes:
        title: The target, or the number of targets.
        lines: When and how the record was made, and the mean working set.
        words: What accesses are called.
    """

    title: str
    lines: tuple[str, ...]
    words: Words = field(factory=Words)


def caption(heat: Heat, info: RecordInfo, aggregations: int) -> Caption:
    """Return the caption of a heat map of a record."""
    keys = sorted(
        {part.key for band in heat.layout.bands for part in band.parts},
        key=lambda key: (key.context, key.target),
    )
    sizes, words = heat.working_set_bytes(), Words.of(info)
    working_set = (
        f"{words.working_set} {format_size(mean(sizes))} of "
        f"{format_size(mean(heat.total_bytes()))} in memory, on average"
    )
    when = (
        f"{local_time(heat.begin_us)}, {short_duration(heat.span_us)}, "
        f"{aggregations:,} aggregations{_where(info)}"
    )
    return Caption(_title(keys), (when, working_set), words)


def _title(keys: list[TargetKey]) -> str:
    contexts = sorted({key.context for key in keys})
    if len(keys) == 1:
        return keys[0].target
    if len(contexts) == 1:
        return f"{contexts[0]}: {len(keys)} targets"
    return f"{len(contexts)} contexts, {len(keys)} targets"


def _where(info: RecordInfo) -> str:
    known = [info.host and f"on {info.host}", info.kernel]
    return "".join(f", {each}" for each in known if each)
