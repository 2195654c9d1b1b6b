"""The callback in contexts, and what its package registers."""

import subprocess
import sys
from pathlib import Path

import pytest
from damon_parquet import plugin
from damon_parquet.callback import ParquetCallback
from damon_parquet.options import ParquetOptions
from damon_parquet.reader import ParquetReader

from damon_core import (
    Callback,
    Context,
    InputError,
    Intervals,
    Microseconds,
    RecordFormat,
    RecordTotals,
    RegionLimits,
    VirtualClock,
    hookimpl,
    moved_aside,
)
from damon_core.testing import ScriptedMemory, ScriptedRegion, run, run_virtual

TEN_MINUTES_US = 600_000_000
TEN_MINUTES = Intervals(TEN_MINUTES_US // 20, TEN_MINUTES_US, TEN_MINUTES_US)


def busy(aggregations: int = 50) -> ScriptedMemory:
    """Return a primitive all of whose memory is always accessed."""
    return ScriptedMemory({"t": [ScriptedRegion(0, 1 << 20)]}, 20 * aggregations, name="busy")


def run_each(*callbacks: object) -> None:
    """Run a context for each callback, all at the same time."""
    contexts = [
        Context(
            busy(), [each], limits=RegionLimits(4, 4), clock=VirtualClock(), name=f"context {index}"
        )
        for index, each in enumerate(callbacks)
    ]
    run(*contexts)
    for context in contexts:
        assert [each.failures for each in context.stats.callbacks.values()] == [0]


def recorded(directory: Path) -> list[tuple[str, int]]:
    """Return context and number of all aggregations in the records of a directory."""
    found = []
    for path in directory.glob("*.parquet"):
        with ParquetReader(path) as reader:
            found += [(each.context, each.number) for each in reader.snapshots()]
    return sorted(found)


def test_every_aggregation_is_recorded(tmp_path: Path) -> None:
    """A context's snapshots are in the file, which says how they were made."""
    path = tmp_path / "out.parquet"
    run_each(ParquetCallback(ParquetOptions(path)))
    assert recorded(tmp_path) == [("context 0", number) for number in range(1, 51)]
    (context,) = ParquetReader(path).info.contexts
    assert (context.name, context.primitive, context.limits) == (
        "context 0",
        "busy",
        RegionLimits(4, 4),
    )


def test_contexts_share_a_file(tmp_path: Path) -> None:
    """Several workers write beside each other by one callback."""
    run_each(*[ParquetCallback(ParquetOptions(tmp_path / "out.parquet"))] * 4)
    wanted = [(f"context {index}", number) for index in range(4) for number in range(1, 51)]
    assert recorded(tmp_path) == wanted


def test_a_path_has_one_callback(tmp_path: Path) -> None:
    """The second is refused; the file of the first is left alone."""
    options = ParquetOptions(tmp_path / "out.parquet")
    one, other = ParquetCallback(options), ParquetCallback(options)
    contexts = [Context(busy(), [each], clock=VirtualClock()) for each in (one, other)]
    one.before_start(contexts[0])
    with pytest.raises(InputError, match="is being written by another: choose another path"):
        other.before_start(contexts[1])
    one.before_terminate(contexts[0])
    assert [each.name for each in tmp_path.iterdir()] == ["out.parquet"]


def test_a_second_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    """What was recorded before is moved aside."""
    callback = ParquetCallback(ParquetOptions(tmp_path / "out.parquet"))
    run_each(callback)
    run_each(callback)
    assert len(list(tmp_path.iterdir())) == 2
    assert len(recorded(tmp_path)) == 100


@pytest.mark.slow
def test_an_hourly_file_of_a_day_of_monitoring(tmp_path: Path) -> None:
    """The virtual clock's day becomes files by the hour; the last three are kept."""
    path = tmp_path / "out.parquet"
    options = ParquetOptions(path, rotate_every=Microseconds(3_600_000_000), keep=3)
    context = run_virtual(busy(24 * 6), ParquetCallback(options), intervals=TEN_MINUTES)
    hours = []
    for each in [*moved_aside(path), path]:
        with ParquetReader(each) as reader:
            assert [info.name for info in reader.info.contexts] == [context.name]
            hours.append([snapshot.number for snapshot in reader.snapshots()])
    # It begins 13 minutes past the hour.
    assert hours == [
        list(range(first, last + 1))
        for first, last in ((125, 130), (131, 136), (137, 142), (143, 144))
    ]


def test_a_run_keeps_no_more_than_it_is_to(tmp_path: Path) -> None:
    """What an earlier run left counts among those that are kept, rotated or not."""
    path = tmp_path / "out.parquet"
    for _ in range(4):
        run_each(ParquetCallback(ParquetOptions(path, keep=2)))
    assert len(moved_aside(path)) == 2
    assert path.exists()


def test_contexts_share_rotated_files(tmp_path: Path) -> None:
    """Whichever of them comes first after the hour begins the file, once."""
    options = ParquetOptions(tmp_path / "out.parquet", rotate_every=Microseconds(1_000_000))
    run_each(*[ParquetCallback(options)] * 4)
    wanted = [(f"context {index}", number) for index in range(4) for number in range(1, 51)]
    assert recorded(tmp_path) == wanted


def test_longer_aggregations_add_up_to_what_was_seen(tmp_path: Path) -> None:
    """Checks, times and accesses are those of a record of each, to the last incomplete second."""
    exact, longer = tmp_path / "exact.parquet", tmp_path / "longer.parquet"
    context = Context(
        busy(57),
        [
            ParquetCallback(ParquetOptions(exact)),
            ParquetCallback(ParquetOptions(longer, every=Microseconds(1_000_000))),
        ],
        limits=RegionLimits(4, 4),
        clock=VirtualClock(),
    )
    run(context)
    with ParquetReader(exact) as before, ParquetReader(longer) as after:
        found = list(after.snapshots())
        assert [each.max_nr_accesses for each in found] == [200] * 5 + [140]
        assert (before.info.every_us, after.info.every_us) == (None, 1_000_000)
        totals = RecordTotals.of(before.snapshots())
        assert totals.byte_checks > 0
        assert totals.differences(RecordTotals.of(found), after.info, shortened=True) == []


def test_contexts_share_a_file_of_longer_aggregations(tmp_path: Path) -> None:
    """The last one to end writes what isn't complete of all of them."""
    path = tmp_path / "out.parquet"
    callback = ParquetCallback(ParquetOptions(path, every=Microseconds(1_000_000)))
    run_each(callback, callback)
    with ParquetReader(path) as reader:
        checks: dict[str, int] = {}
        for each in reader.snapshots():
            checks[each.context] = checks.get(each.context, 0) + each.max_nr_accesses
    assert checks == {"context 0": 1_000, "context 1": 1_000}


def test_every_page_is_not_kept_of_longer_aggregations(tmp_path: Path) -> None:
    """To ask for both is refused."""
    with pytest.raises(InputError, match="can't be set with pages"):
        ParquetOptions(tmp_path / "out.parquet", pages=True, every=Microseconds(1_000_000))


def test_a_directory_that_comes_back_is_written_again(tmp_path: Path) -> None:
    """What couldn't be written meanwhile is counted, and lost; nothing else is."""
    here, away = tmp_path / "here", tmp_path / "away"
    here.mkdir()

    class Removes:
        @hookimpl
        def after_aggregation(self, context: Context) -> None:
            number = context.stats.aggregations
            if number == 9:
                here.rename(away)
            elif number == 12:
                away.rename(here)

    options = ParquetOptions(here / "out.parquet", rotate_every=Microseconds(1_000_000))
    callbacks = Removes(), ParquetCallback(options)
    context = run_virtual(busy(), *callbacks, callbacks_may_fail=True)
    numbers = [number for _, number in recorded(here)]
    assert numbers == [number for number in range(1, 51) if number not in (10, 11)]
    assert context.stats.callbacks["parquet"].failures == 2


def test_making_it_changes_nothing(tmp_path: Path) -> None:
    """A configuration is checked by making its parts: that must not touch what is there."""
    path = tmp_path / "out.parquet"
    path.write_bytes(b"a record")
    ParquetCallback(ParquetOptions(path))
    assert [each.name for each in tmp_path.iterdir()] == ["out.parquet"]
    assert path.read_bytes() == b"a record"


@pytest.mark.parametrize(
    ("where", "message"),
    [("none/out.parquet", "there is no directory"), (".", "is not a regular file")],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, where: str, message: str) -> None:
    """Before anything runs, in one line."""
    with pytest.raises(InputError, match=message):
        ParquetCallback(ParquetOptions(tmp_path / where))


def test_what_the_package_registers() -> None:
    """A callback and a format."""
    callbacks: list[Callback] = []
    formats: list[RecordFormat] = []
    plugin.register_callbacks(callbacks.append)
    plugin.register_formats(formats.append)
    assert [each.name for each in callbacks] == ["parquet"]
    assert [(each.name, each.suffixes) for each in formats] == [("parquet", (".parquet",))]


def test_registering_imports_no_pyarrow() -> None:
    """It takes its time, and most commands don't need it."""
    program = "import sys, damon_parquet.plugin; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout == b"False\n"
