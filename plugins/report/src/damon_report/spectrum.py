"""``damon report spectrum``: how much memory is accessed how often."""

from collections.abc import Sequence
from itertools import pairwise

from attrs import field, frozen
from rich.console import Console
from rich.text import Text

from damon_core import SPECTRUM_US, InputError, Snapshot, Spectrum, format_size
from damon_report.figures import percent, short_duration
from damon_report.groups import By
from damon_report.moments import Moment
from damon_report.naming import printable
from damon_report.output import echo_json, heading, note
from damon_report.record import Record
from damon_report.shares import group_of, labels_by
from damon_report.tables import DECORATION, Column, bar, new_console, show_table
from damon_report.times import since_start

_BAR_CHARACTERS = 20


@frozen
class Use:
    """The spectrum of a context or a part of it.

    Attributes:
        context: The context's name.
        name: The name of the part, such as a target; empty for the whole context.
        spectrum: Its memory by how often it is accessed; None where that isn't known.
        labels: The labels that all its targets have.
    """

    context: str
    name: str
    spectrum: Spectrum | None
    labels: dict[str, str] = field(factory=dict)

    def json(self) -> dict[str, object]:
        """Return it as a JSON object, as documented in docs/reports.md."""
        within = () if self.spectrum is None else self.spectrum.within_bytes
        return {
            "context": self.context,
            "name": self.name,
            "labels": dict(sorted(self.labels.items())),
            "total_bytes": None if self.spectrum is None else self.spectrum.total_bytes,
            "within": [
                {"within_us": us, "bytes": size}
                for us, size in zip(SPECTRUM_US, within, strict=False)
            ],
        }


def spectra_of(snapshot: Snapshot, by: By) -> list[Use]:
    """Return the spectra of a snapshot: of the whole first, then of the largest parts."""
    groups: dict[str, list[Spectrum | None]] = {}
    for target in snapshot.targets if by != "context" else ():
        groups.setdefault(group_of(target, by), []).append(target.spectrum)
    labels = labels_by(snapshot, by)
    uses = [
        Use(snapshot.context, name, Spectrum.sum(group), labels[name])
        for name, group in groups.items()
    ]
    uses.sort(key=lambda each: -(each.spectrum.total_bytes if each.spectrum else 0))
    return [Use(snapshot.context, "", snapshot.spectrum), *uses]


def show_spectrum(
    record: Record, *, at: Moment | None, by: By, limit: int | None, as_json: bool
) -> None:
    """Print how much memory of a record is accessed how often, for people or as JSON.

    Args:
        record: The record.
        at: At which time; None for the end.
        by: What has a spectrum of its own.
        limit: At most this many of each context; None for all.
        as_json: Whether to print JSON.

    Raises:
        InputError: No spectrum is known.
    """
    snapshots = record.last(at, pages=record.selection.cuts)
    if all(target.spectrum is None for each in snapshots for target in each.targets):
        raise InputError(_why_none(record))
    found = [spectra_of(snapshot, by) for snapshot in snapshots]
    record.refuse_unknown(by, (each.name for rows in found for each in rows))
    if as_json:
        document = {
            **record.json_of(snapshots, by),
            "spectra": [each.json() for rows in found for each in rows[:limit]],
        }
        echo_json("spectrum", document)
        return
    console = new_console()
    for snapshot, rows in zip(snapshots, found, strict=True):
        when = since_start(snapshot.time_us, record.start_us)
        heading(console, f"{printable(snapshot.context)}: {when}")
        if by == "context":
            _show_classes(console, rows[0].spectrum)
        else:
            _show_names(console, rows[:limit], by)
            if limit and len(rows) > limit:
                note(console, f"{len(rows) - limit} more: --limit 0 shows all")


def _why_none(record: Record) -> str:
    if record.selection.cuts:
        return (
            f"'{record.name}' has no spectrum of parts of a target: that takes every page, as "
            "'damon record --pages' keeps it"
        )
    return (
        f"'{record.name}' has no spectrum: its backend doesn't know every page, as pagetable does"
    )


def _show_classes(console: Console, spectrum: Spectrum | None) -> None:
    if spectrum is None:
        note(console, "it isn't known of all targets: --by target shows those of which it is")
        return
    ascii_only = not console.encoding.startswith("utf")
    total = max(spectrum.total_bytes, 1)
    columns = [
        Column("accessed within"),
        Column("bytes", right=True),
        Column("share", right=True),
        *([Column("", rank=DECORATION)] if console.is_terminal else []),
        Column("at least as often", right=True),
        Column("share", right=True),
    ]
    known = [
        (us, size)
        for us, size in zip(SPECTRUM_US, spectrum.within_bytes, strict=True)
        if size is not None
    ]
    names = [short_duration(us) for us, _ in known[:1]]
    names += [
        f"{short_duration(less)} to {short_duration(us)}" for (less, _), (us, _) in pairwise(known)
    ]
    names.append(f"longer than {short_duration(known[-1][0])}" if known else "unknown")
    sizes = [0, *(size for _, size in known), spectrum.total_bytes]
    rows: list[list[Text | str]] = []
    for name, (less, size) in zip(names, pairwise(sizes), strict=True):
        drawn = [bar((size - less) / total, _BAR_CHARACTERS, ascii_only=ascii_only)]
        rows.append(
            [
                name,
                format_size(size - less),
                percent((size - less) / total),
                *(drawn if console.is_terminal else []),
                format_size(size),
                percent(size / total),
            ]
        )
    show_table(console, columns, rows)


def _show_names(console: Console, rows: Sequence[Use], by: By) -> None:
    columns = [Column(by, least=12), Column("all", right=True)]
    columns += [Column(f"<{short_duration(us)}", right=True) for us in SPECTRUM_US[1:]]
    cells = []
    for each in rows:
        sizes: Sequence[int | None] = [None] * len(SPECTRUM_US)
        total = None
        if each.spectrum is not None:
            sizes, total = each.spectrum.within_bytes, each.spectrum.total_bytes
        written = ["-" if size is None else format_size(size) for size in (total, *sizes[1:])]
        cells.append([printable(each.name) or "(all)", *written])
    show_table(console, columns, cells)
