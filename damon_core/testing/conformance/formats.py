"""The rules of formats of records: what is written is read again, and nothing else is lost."""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from damon_core.contract.outputs import PRIVATE_MODE
from damon_core.contract.provenance import RecordInfo
from damon_core.contract.records import RecordFormat
from damon_core.errors import DamonError, InputError
from damon_core.memory.snapshot import Snapshot
from damon_core.testing.conformance.memory import MANY, MIB, PAGE
from damon_core.testing.conformance.parts import process_rules
from damon_core.testing.conformance.process import assert_nothing_left, holdings
from damon_core.testing.conformance.rules import NotCheckedError, Rule, Subject
from damon_core.testing.snapshots import RegionRow, make_snapshot

_KEPT = ("start", "end", "age")


def _row(number: int) -> RegionRow:
    return RegionRow(2 * number * MIB, (2 * number + 1) * MIB, number % 21, age=number % 7)


def _snapshots(context: str = "context", count: int = 3, regions: int = 4) -> list[Snapshot]:
    rows = [_row(number) for number in range(regions)]
    return [
        make_snapshot({"first": rows, "second": rows[:1]}, context=context, number=number)
        for number in range(1, count + 1)
    ]


def _format(subject: Subject) -> RecordFormat:
    found: RecordFormat = subject.part
    if found.problem:
        raise NotCheckedError(found.problem)
    return found


def _path(subject: Subject, suffix: str | None = None) -> Path:
    suffix = _format(subject).suffixes[0] if suffix is None else suffix
    return subject.fresh_directory() / f"record{suffix}"


def _write(subject: Subject, path: Path, snapshots: Sequence[Snapshot]) -> None:
    with _format(subject).write(path, RecordInfo.here()) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)


def _read(subject: Subject, path: Path) -> list[Snapshot]:
    with _format(subject).read(path) as reader:
        return list(reader.snapshots())


def _assert_kept(found: Sequence[Snapshot], written: Sequence[Snapshot]) -> None:
    """Check that what comes back is what was written, within what `fill_in` and rounding allow."""
    assert len(found) == len(written), f"{len(found)} aggregations instead of {len(written)}"
    for one, other in zip(found, written, strict=True):
        where = f"aggregation {other.number}"
        assert one.time_us == other.time_us, f"{where}: time_us {one.time_us}, not {other.time_us}"
        names = [target.name for target in one.targets if len(target)]
        expected = [target.name for target in other.targets if len(target)]
        assert names == expected, f"{where}: targets {names} instead of {expected}"
        for column in _KEPT:
            same = getattr(one, column).tolist() == getattr(other, column).tolist()
            assert same, f"{where}: the column {column} is another"
        # Formats may round counts, but none that isn't a fraction.
        counts = [one.nr_accesses.tolist(), other.nr_accesses.tolist()]
        assert counts[0] == counts[1], f"{where}: nr_accesses {counts[0]} instead of {counts[1]}"


def _round_trips(subject: Subject, snapshots: Sequence[Snapshot]) -> None:
    for suffix in _format(subject).suffixes:
        path = _path(subject, suffix)
        _write(subject, path, snapshots)
        try:
            _assert_kept(_read(subject, path), snapshots)
        except AssertionError as error:
            raise AssertionError(f"{suffix}: {error}") from error


def _keeps_snapshots(subject: Subject) -> None:
    _round_trips(subject, _snapshots())


def _keeps_many(subject: Subject) -> None:
    _round_trips(subject, _snapshots(regions=MANY, count=2))


def _takes_no_regions(subject: Subject) -> None:
    snapshots = [
        make_snapshot({"empty": [], "first": [_row(1)]}, number=1),
        make_snapshot({"first": [_row(1), _row(2)]}, number=2),
    ]
    _round_trips(subject, snapshots)
    path = _path(subject)
    _write(subject, path, [make_snapshot({}, number=1), *_snapshots(count=2)[1:]])
    assert _read(subject, path)[-1].number, "the aggregation after one without targets is lost"


def _takes_an_empty_record(subject: Subject) -> None:
    path = _path(subject)
    _write(subject, path, [])
    if not path.exists():
        return
    try:
        found = _read(subject, path)
    except DamonError:
        return
    assert found == [], f"a record without aggregations is read as {len(found)}"


def _finds_times(subject: Subject) -> None:
    snapshots = _snapshots(count=5)
    path = _path(subject)
    _write(subject, path, snapshots)
    times = [snapshot.time_us for snapshot in snapshots]
    with _format(subject).read(path) as reader:
        span = reader.span_us()
        expected = times[0] - snapshots[0].elapsed_us, times[-1]
        assert (span or (0, 0))[1] == expected[1], f"span_us is {span}, not {expected}"
        found = [each.time_us for each in reader.snapshots(times[1], times[3])]
    assert found == times[2:4], (
        f"of the aggregations behind {times[1]} up to {times[3]} it yields {found}"
    )


def _keeps_contexts(subject: Subject) -> None:
    path = _path(subject)
    written = [*_snapshots("one", 2), *_snapshots("two", 2)]
    written.sort(key=lambda snapshot: snapshot.time_us)
    try:
        _write(subject, path, written)
    except DamonError as error:
        raise NotCheckedError(f"it keeps one context in a file: {error}") from error
    found = _read(subject, path)
    names = {snapshot.context for snapshot in found}
    if len(names) == 1:
        raise NotCheckedError("it doesn't keep the names of contexts")
    for name in ("one", "two"):
        _assert_kept(
            [each for each in found if each.context == name],
            [each for each in written if each.context == name],
        )


def _never_overwrites(subject: Subject) -> None:
    for is_record in (False, True):
        path = _path(subject)
        if is_record:
            _write(subject, path, _snapshots(count=1))
        else:
            path.write_bytes(b"precious")
        content = path.read_bytes()
        try:
            later = _snapshots(count=3)[1:]
            _write(subject, path, later)
        except (DamonError, OSError):
            assert path.read_bytes() == content, "a file that it refuses to overwrite has changed"
            continue
        kept = [each.read_bytes() for each in path.parent.iterdir() if each.is_file()]
        assert any(each.startswith(content) or content in each for each in kept) or _has(
            subject, path, 3
        ), "what was in a file of this name is lost"


def _has(subject: Subject, path: Path, count: int) -> bool:
    """Return whether a record has been continued: a format may rewrite what it keeps."""
    try:
        return len(_read(subject, path)) == count
    except DamonError:
        return False


def _is_private(subject: Subject) -> None:
    mask = os.umask(0)
    try:
        path = _path(subject)
        _write(subject, path, _snapshots())
    finally:
        os.umask(mask)
    for entry in path.parent.iterdir():
        mode = stat.S_IMODE(entry.stat().st_mode)
        assert mode == PRIVATE_MODE, f"'{entry.name}' has mode {mode:o}, not {PRIVATE_MODE:o}"


def _refused(subject: Subject, path: Path, where: str) -> None:
    """Check that a file is read, as far as it is whole, or refused by one error."""
    try:
        _read(subject, path)
    except DamonError as error:
        if "\n" in error.message:
            text = f"{where}: its error has several lines: {error.message!r}"
            raise AssertionError(text) from error
    except Exception as error:
        raise AssertionError(
            f"{where}: {type(error).__name__} instead of a DamonError: {error}"
        ) from error


def _refuses_cut_files(subject: Subject) -> None:
    path = _path(subject)
    _write(subject, path, _snapshots(count=5))
    content = path.read_bytes()
    size = len(content)
    for length in sorted({0, 1, size // 4, size // 2, 3 * size // 4, size - 9, size - 1}):
        cut = path.with_name(f"cut{length}{_format(subject).suffixes[0]}")
        cut.write_bytes(content[: max(length, 0)])
        _refused(subject, cut, f"cut after {length} of {size} bytes")


def _refuses_others(subject: Subject) -> None:
    for content in (b"", b"something else\n", b"\x00" * PAGE, b"PK\x03\x04", b"{}\n["):
        for suffix in _format(subject).suffixes:
            path = _path(subject, suffix)
            path.write_bytes(content)
            _refused(subject, path, f"a {suffix} that begins with {content[:14]!r}")


def _refuses_what_is_not_there(subject: Subject) -> None:
    path = _path(subject)
    actions: dict[str, Callable[[], object]] = {
        "reading a file that isn't there": lambda: _read(subject, path),
        "writing in a directory that isn't there": lambda: _write(
            subject, path.parent / "none" / path.name, _snapshots()
        ),
    }
    for where, act in actions.items():
        try:
            act()
        except InputError:
            continue
        except Exception as error:
            raise AssertionError(
                f"{where}: {type(error).__name__} instead of an InputError: {error}"
            ) from error
        raise AssertionError(f"{where} raises nothing")


def _closes_twice(subject: Subject) -> None:
    path = _path(subject)
    writer = _format(subject).write(path, RecordInfo.here())
    writer.write(_snapshots(count=1)[0])
    writer.close()
    writer.close()
    reader = _format(subject).read(path)
    reader.close()
    reader.close()


def _leaves_nothing_behind(subject: Subject) -> None:
    def use() -> None:
        path = _path(subject)
        _write(subject, path, _snapshots())
        _read(subject, path)
        with _format(subject).read(path) as reader:
            next(iter(reader.snapshots()))
        path.write_bytes(b"something else\n")
        _refused(subject, path, "something else")

    use()
    before = holdings()
    use()
    assert_nothing_left(before, subject.grace_s)


def _use(subject: Subject, _written: Mapping[str, Any]) -> None:
    _keeps_snapshots(subject)


def _is_registered_well(subject: Subject) -> None:
    summary = _format(subject).summary
    assert summary.strip(), "its summary is empty: listings have nothing to show"
    assert "\n" not in summary, "its summary has more than one line"


def _says_how_it_was_made(subject: Subject) -> None:
    path = _path(subject)
    _write(subject, path, _snapshots())
    with _format(subject).read(path) as reader:
        info = reader.info
    assert isinstance(info, RecordInfo), f"info is {info!r}, not a RecordInfo"


#: In the order in which they are checked: what changes the process is seen first.
FORMAT_RULES = (
    *process_rules(_use),
    Rule("registered", "It has a summary of one line.", _is_registered_well),
    Rule("round-trip", "What is written is read again, with every ending.", _keeps_snapshots),
    Rule("thousand-regions", "It keeps a thousand regions.", _keeps_many),
    Rule("no-regions", "It takes targets without regions, and no targets.", _takes_no_regions),
    Rule(
        "empty-record",
        "A record without an aggregation is read as such, or refused.",
        _takes_an_empty_record,
    ),
    Rule("times", "It finds aggregations by time, and knows the time of all.", _finds_times),
    Rule("several-contexts", "It keeps several contexts apart in one file.", _keeps_contexts),
    Rule("info", "Its reader says how the record was made.", _says_how_it_was_made),
    Rule("never-overwrites", "It never overwrites what is in a file.", _never_overwrites),
    Rule("private", "Its files are for their owner alone.", _is_private),
    Rule("cut-file", "A file that was cut is read or refused by one line.", _refuses_cut_files),
    Rule("other-file", "A file of something else is refused by one line.", _refuses_others),
    Rule(
        "not-there",
        "What isn't there or can't be written is refused as an InputError.",
        _refuses_what_is_not_there,
    ),
    Rule("closes-twice", "Closing readers and writers twice is closing once.", _closes_twice),
    Rule("nothing-left", "It leaves no descriptor or thread behind.", _leaves_nothing_behind),
)
