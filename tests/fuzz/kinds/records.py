"""What kinds of records have in common: a small record, and what is asked of one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from damon_core import Area, IdleAges, Owner, RecordReader, Snapshot
from damon_core.testing import RegionRow, assert_possible, make_snapshot
from tests.fuzz.judging import Fault, attempt

MIB = 1 << 20


def small_record(count: int = 4, *, rich: bool = True) -> list[Snapshot]:
    """Return aggregations of two contexts, one of them with two targets and now and then none."""
    found = []
    for number in range(1, count + 1):
        rows = [
            RegionRow(
                (place + 1) * MIB,
                (place + 2) * MIB,
                (number + place) % 21 / 2,
                place,
                0 if (number + place) % 21 else 100_000,
                MIB // 2,
                4096 if rich else None,
                8192 if rich else None,
            )
            for place in range(3)
        ]
        targets = {"web (1)": rows, "db, 'x' (2)": rows[:1]} if number % 3 else {}
        found.append(
            make_snapshot(
                targets,
                number=number,
                context="one",
                areas={"web (1)": [Area(MIB, 3 * MIB, "[heap]")]} if targets and rich else {},
                owners={"web (1)": [Owner("cgroup", "/a", MIB, MIB, 4096)]}
                if targets and rich
                else {},
                idle_ages={name: IdleAges(idle_10s_age_us=5) for name in targets if rich},
            )
        )
        found.append(make_snapshot({"t": rows[:2]}, number=number, context="two"))
    return found


def judge_record(
    read: Callable[[Path], RecordReader], path: Path, *, in_order: bool = True
) -> list[Snapshot] | None:
    """Read a record as commands do; return its snapshots, None if it is refused.

    Args:
        read: Opens it.
        path: The file.
        in_order: Whether regions of a target are ascending and disjoint.

    Raises:
        Exception: It is a finding.
    """
    found: list[Snapshot] = []

    def go_through() -> list[Snapshot]:
        with read(path) as reader:
            _ = reader.info
            span_us = reader.span_us()
            for snapshot in reader.snapshots():
                found.append(snapshot)
                if len(found) > 100_000:
                    raise Fault("more snapshots than there can be")
            if span_us is not None and not span_us[0] <= span_us[1]:
                raise Fault(f"its span is {span_us}")
        return found

    whole = attempt(go_through, str(path))
    # What came before damage is shown, so it has to be right as well.
    _check(found, in_order)
    return whole


def _check(snapshots: Sequence[Snapshot], in_order: bool) -> None:
    for snapshot in snapshots:
        try:
            assert_possible(snapshot)
        except AssertionError as error:
            raise Fault(str(error).rpartition(": ")[2]) from error
        if not snapshot.elapsed_us >= 0 or snapshot.max_nr_accesses < 1:
            raise Fault(f"elapsed {snapshot.elapsed_us}, checks {snapshot.max_nr_accesses}")
        wrong = ~(snapshot.nr_accesses >= 0) | ~(snapshot.nr_accesses <= snapshot.max_nr_accesses)
        if wrong.any():
            raise Fault(f"{snapshot.nr_accesses[wrong][0]} accesses")
        for target in snapshot.targets:
            starts, ends = target.start, target.end
            if (starts < 0).any() or (starts >= ends).any():
                raise Fault(f"regions {starts.tolist()} to {ends.tolist()}")
            if in_order and (starts[1:] < ends[:-1]).any():
                raise Fault(f"regions {starts.tolist()} to {ends.tolist()}")
        # What reports ask: none of it may fail.
        snapshot.working_set_bytes()
        snapshot.bytes_by_frequency()
        snapshot.idle(10_000_000)
