"""``damon report events``: what came, went and changed in a record, in the order of time."""

from collections.abc import Iterable, Iterator
from itertools import islice

from attrs import asdict, define, field, frozen

from damon_core import Intervals, Snapshot
from damon_report.figures import short_duration
from damon_report.naming import printable
from damon_report.output import echo_json, heading, note
from damon_report.record import Record
from damon_report.tables import Column, new_console, show_table
from damon_report.times import local_time

#: The kinds of events.
KINDS = ("begin", "end", "restart", "gap", "intervals", "came", "went")


@frozen
class Event:
    """Something that happened; the attributes are the keys of the JSON.

    Attributes:
        time_us: When, Unix microseconds: of a gap when it began, of a target that went when it was
            last seen.
        context: In which context.
        kind: One of `KINDS`.
        target: The target that came or went; empty for others.
        duration_us: How long a gap was, or a target was there; None for others.
        what: What happened, for people.
    """

    time_us: int
    context: str
    kind: str
    what: str
    target: str = ""
    duration_us: int | None = None


@define(eq=False)
class _Follower:
    """Notes what happens in a context, aggregation by aggregation."""

    name: str
    _last: Snapshot | None = field(default=None, init=False)
    _intervals: Intervals | None = field(default=None, init=False)
    _targets: dict[str, int] = field(factory=dict, init=False)

    def add(self, snapshot: Snapshot) -> Iterator[Event]:
        """Add an aggregation; yield what happened before and in it."""
        begin_us = snapshot.time_us - snapshot.elapsed_us
        last = self._last
        if last is None:
            yield self._event(begin_us, "begin", "the first aggregation begins")
        else:
            gap_us = begin_us - last.time_us
            # An aggregation that was late on a busy machine isn't a gap: the next makes up for it.
            if gap_us > max(snapshot.intervals.sampling_us, snapshot.elapsed_us // 2):
                what = f"nothing was recorded for {short_duration(gap_us)}"
                yield self._event(last.time_us, "gap", what, duration_us=gap_us)
            if snapshot.number <= last.number:
                yield self._event(begin_us, "restart", "aggregations are numbered anew")
        yield from self._changes(snapshot.intervals, begin_us)
        now = {target.name for target in snapshot.targets}
        for name in [each for each in self._targets if each not in now]:
            assert last is not None
            yield self._went(name, last.time_us)
        for target in snapshot.targets:
            if target.name not in self._targets:
                self._targets[target.name] = begin_us
                if last is not None:
                    yield self._event(begin_us, "came", "came", target=target.name)
        self._last = snapshot

    def _changes(self, now: Intervals, time_us: int) -> Iterator[Event]:
        before, self._intervals = self._intervals, now
        if before is None or before == now:
            return
        changed = [
            f"{name} {short_duration(old)} to {short_duration(new)}"
            for name, old, new in (
                ("sampling", before.sampling_us, now.sampling_us),
                ("aggregation", before.aggregation_us, now.aggregation_us),
                ("update", before.update_us, now.update_us),
            )
            if old != new
        ]
        yield self._event(time_us, "intervals", ", ".join(changed))

    def end(self) -> Event:
        """Return that the last aggregation has ended."""
        assert self._last is not None
        return self._event(self._last.time_us, "end", "the last aggregation has ended")

    def _went(self, name: str, time_us: int) -> Event:
        duration_us = time_us - self._targets.pop(name)
        what = f"went, after {short_duration(duration_us)}"
        return self._event(time_us, "went", what, target=name, duration_us=duration_us)

    def _event(
        self,
        time_us: int,
        kind: str,
        what: str,
        *,
        target: str = "",
        duration_us: int | None = None,
    ) -> Event:
        return Event(time_us, self.name, kind, what, target, duration_us)


def events_of(snapshots: Iterable[Snapshot]) -> Iterator[Event]:
    """Yield what happens in aggregations, those of each context in the order of time."""
    followers: dict[str, _Follower] = {}
    for snapshot in snapshots:
        follower = followers.setdefault(snapshot.context, _Follower(snapshot.context))
        yield from follower.add(snapshot)
    yield from sorted((each.end() for each in followers.values()), key=lambda each: each.time_us)


def show_events(
    record: Record, *, kinds: tuple[str, ...], limit: int | None, as_json: bool
) -> None:
    """Print what came, went and changed in a record, for people or as JSON.

    Args:
        record: The record.
        kinds: Only events of these kinds; none: of all.
        limit: At most so many, the first ones; None for all.
        as_json: Whether to print JSON.
    """
    chosen = (each for each in events_of(record.snapshots()) if not kinds or each.kind in kinds)
    shown = list(islice(chosen, limit))
    more = sum(1 for _ in chosen)
    if as_json:
        echo_json("events", {**record.json(), "events": [asdict(each) for each in shown]})
        return
    console = new_console()
    begin_us, end_us = record.span_us()
    span = short_duration(end_us - begin_us)
    heading(console, f"events in {span} from {local_time(begin_us)}")
    several = not console.is_terminal or len({each.context for each in shown}) > 1
    columns = [
        Column("after", right=True),
        Column("at", rank=2),
        *([Column("context", least=7, rank=1)] if several else []),
        Column("kind"),
        Column("what", least=20),
    ]
    rows = [
        [
            short_duration(each.time_us - record.start_us),
            local_time(each.time_us),
            *([printable(each.context)] if several else []),
            each.kind,
            printable(f"{each.target} {each.what}".strip()),
        ]
        for each in shown
    ]
    show_table(console, columns, rows)
    if more:
        note(console, f"{more} more: --limit 0 shows all")
