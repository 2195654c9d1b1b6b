"""``damon report diff``: two records side by side, such as before and after a release."""

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from rich.console import Console

from damon_core import Plugins, format_size
from damon_report.figures import percent, short_duration
from damon_report.groups import By
from damon_report.means import Means, Use
from damon_report.naming import printable
from damon_report.output import echo_json, heading, note
from damon_report.record import Record, open_record
from damon_report.selection import Selection
from damon_report.tables import Column, new_console, show_table


@frozen
class Change:
    """The difference in memory use between two records, of a context or a part of it.

    Attributes:
        context: The context's name; empty if each record has only one.
        name: The name of the part, such as a target or mapping; empty for the whole context.
        old: The use in the first record.
        new: The use in the second record.
    """

    context: str
    name: str
    old: Use
    new: Use

    @property
    def difference_bytes(self) -> float:
        """The growth of the working set in bytes; negative if it shrank."""
        return self.new.working_set_bytes - self.old.working_set_bytes

    def json(self) -> dict[str, object]:
        """Return the change as a JSON object, as documented in docs/reports.md."""
        ratio = _ratio(self.old.working_set_bytes, self.new.working_set_bytes)
        return {
            "context": self.context,
            "name": self.name,
            "old": self.old.json(),
            "new": self.new.json(),
            "working_set_difference_bytes": round(self.difference_bytes),
            "working_set_ratio": ratio,
            "idle_difference_bytes": round(self.new.idle_bytes - self.old.idle_bytes),
            "frequency_difference": self.new.frequency - self.old.frequency,
        }


def changes(old: dict[tuple[str, str], Use], new: dict[tuple[str, str], Use]) -> list[Change]:
    """Return all changes by context: the whole context, then the largest change of working set.

    If each record has only one context, the contexts' names may differ.
    """
    contexts = {context for context, _ in old}, {context for context, _ in new}
    if len(contexts[0]) == len(contexts[1]) == 1:
        old, new = ({("", name): use for (_, name), use in each.items()} for each in (old, new))
    found = [Change(*key, old.get(key, Use()), new.get(key, Use())) for key in {**old, **new}]
    return sorted(
        found,
        key=lambda each: (
            each.context,
            each.name != "",
            -abs(each.difference_bytes),
            -abs(each.new.idle_bytes - each.old.idle_bytes),
            each.name,
        ),
    )


def show_changes(
    plugins: Plugins,
    old: Path,
    new: Path,
    *,
    selection: Selection,
    by: By,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print what changed from one record to another, for people or as JSON.

    Args:
        plugins: What is installed.
        old: The first record.
        new: The second record.
        selection: What of both is compared.
        by: What is compared.
        limit: At most this many changes; None for all.
        as_json: Whether to print JSON.
    """
    with (
        open_record(plugins, (old,), selection) as before,
        open_record(plugins, (new,), selection) as after,
    ):
        found = changes(_uses(before, by), _uses(after, by))
        spans_us = [end - begin for begin, end in (before.span_us(), after.span_us())]
    console = new_console()
    shown = found[:limit]
    if as_json:
        document = {
            "old": {**before.json(), "span_us": spans_us[0]},
            "new": {**after.json(), "span_us": spans_us[1]},
            "by": by,
            "changes": [each.json() for each in shown],
        }
        echo_json("diff", document)
        return
    for title, path, span_us in zip(("old", "new"), (old, new), spans_us, strict=True):
        heading(console, f"{title}: {path}, {short_duration(span_us)}")
    _show(console, shown, by)
    if len(shown) < len(found):
        note(console, f"{len(found) - len(shown)} more: --limit 0 shows all")


def _uses(record: Record, by: By) -> dict[tuple[str, str], Use]:
    means = Means(record.span_us(), by)
    for snapshot in record.snapshots():
        means.add(snapshot, record.areas)
    uses = means.uses()
    record.refuse_unknown(by, (name for _, name in uses))
    return uses


def _ratio(old: float, new: float) -> float | None:
    return new / old if round(old) else None


def _show(console: Console, shown: Sequence[Change], by: By) -> None:
    arrow = "→" if console.encoding.startswith("utf") else ">"

    def both(
        text: Callable[[float], str], value: Callable[[Use], float]
    ) -> Callable[[Change], str]:
        # Arrows stand one below the other.
        width = max((len(text(value(each.old))) for each in shown), default=0)
        return lambda each: f"{text(value(each.old)):>{width}}{arrow}{text(value(each.new))}"

    cells: dict[Column, Callable[[Change], str]] = {}
    if len({each.context for each in shown}) > 1 or not console.is_terminal:
        cells[Column("context", least=7, rank=1)] = lambda each: printable(each.context) or "-"
    cells |= {
        Column(by, least=12): lambda each: printable(each.name) or "(all)",
        Column("change", right=True): lambda each: _signed(each.difference_bytes),
        Column("ratio", right=True): lambda each: _ratio_text(each.old, each.new),
        Column("working set"): both(format_size, lambda use: use.working_set_bytes),
        Column("frequency", rank=2): both(percent, lambda use: use.frequency),
        Column("idle", rank=3): both(format_size, lambda use: use.idle_bytes),
    }
    show_table(console, list(cells), [[cell(each) for cell in cells.values()] for each in shown])


def _signed(size_bytes: float) -> str:
    sign = "" if not round(size_bytes) else "-" if size_bytes < 0 else "+"
    return sign + format_size(abs(size_bytes))


def _ratio_text(old: Use, new: Use) -> str:
    ratio = _ratio(old.working_set_bytes, new.working_set_bytes)
    if ratio is None:
        return "new" if round(new.working_set_bytes) else "-"
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.0f}"
