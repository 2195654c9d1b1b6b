"""``damon replay``: memory as a record says, and accesses in its sampling intervals."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from damon_cli.main import main
from damon_report.replaying import playing
from damon_report.replaying.compact import Compact
from damon_report.replaying.playing import Player
from damon_report.replaying.scoring import compared

from damon_core import Intervals, Plugins, RecordInfo, Snapshot, format_of
from damon_core.testing import RegionRow, make_snapshot

PAGE = 4096
FAST = Intervals(1_000, 10_000, 10_000)


def aggregation(rows: list[RegionRow], number: int = 1, target: str = "a") -> Snapshot:
    """Return an aggregation of 10 checks in 10 ms."""
    return make_snapshot({target: rows}, number=number, intervals=FAST)


def pages(first: int, last: int, nr_accesses: float = 0, **more: Any) -> RegionRow:
    """Return a region of some pages."""
    return RegionRow(first * PAGE, last * PAGE, nr_accesses, **more)


class TestCompact:
    def test_gaps_between_ranges_go(self) -> None:
        """What was never in memory takes none; behind each range is a page."""
        whole = Compact.of(
            [
                make_snapshot(
                    {
                        "a": [pages(0, 2), pages(100, 101), pages(200, 300, resident_bytes=0)],
                        "b": [pages(7, 8)],
                    }
                ),
                make_snapshot({"a": [pages(1, 4)]}, number=2),
            ]
        )
        assert whole.size_bytes == 9 * PAGE
        assert {name: each.at.tolist() for (_, name), each in whole.ranges.items()} == {
            "a": [0, 5 * PAGE],
            "b": [7 * PAGE],
        }

    def test_places_follow_addresses(self) -> None:
        """The end of a range is behind it, not at the begin of the next."""
        whole = Compact.of([aggregation([pages(0, 2), pages(10, 12)])])
        (ranges,) = whole.ranges.values()
        places = ranges.places(np.array([0, PAGE, 10 * PAGE, 11 * PAGE]))
        assert (places // PAGE).tolist() == [0, 1, 3, 4]
        assert [each // PAGE for each in whole.borders()] == [2, 5]


class TestPlayer:
    @pytest.fixture
    def played(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[int]]]:
        """Return a function that plays aggregations without waiting: pages by sampling interval."""
        now = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])

        def play(*snapshots: Snapshot) -> list[list[int]]:
            player = Player(Compact.of(snapshots))
            found: list[list[int]] = []

            def sleep(seconds: float) -> None:
                ranges = player.compact.ranges.values()
                there = [
                    np.arange(at, at + end - start, PAGE)
                    for each in ranges
                    for start, end, at in zip(each.start, each.end, each.at, strict=True)
                ]
                found.append(player.memory[np.concatenate(there)].tolist())
                now[0] += seconds

            monkeypatch.setattr(time, "sleep", sleep)
            begin_s = now[0]
            for number, snapshot in enumerate(snapshots):
                player.play(snapshot, begin_s + number * snapshot.elapsed_us / 1e6 + 0.001)
            sleep(0)
            assert player.late == 0
            return found

        return play

    def test_accesses_are_in_as_many_intervals(
        self, played: Callable[..., list[list[int]]]
    ) -> None:
        """Of ten checks: none, three, all."""
        steps = played(aggregation([pages(0, 1), pages(1, 2, 3), pages(2, 3, 10)]))
        changes = (np.diff(np.array(steps), axis=0) != 0).sum(axis=0)
        assert changes.tolist() == [0, 3, 10]

    def test_fractions_are_spread_over_aggregations(
        self, played: Callable[..., list[list[int]]]
    ) -> None:
        """Half an access each: one in two."""
        steps = played(*(aggregation([pages(0, 1, 0.5)], number) for number in range(1, 5)))
        assert (np.diff(np.array(steps), axis=0) != 0).sum() == 2

    def test_only_touched_bytes_are_accessed(self, played: Callable[..., list[list[int]]]) -> None:
        """As often as their region's accesses are theirs; the others are there and idle."""
        steps = played(aggregation([pages(0, 4, 2, touched_bytes=PAGE)]))
        changes = (np.diff(np.array(steps), axis=0) != 0).sum(axis=0)
        assert changes.tolist() == [8, 0, 0, 0]
        assert steps[0] == [1, 1, 1, 1]

    def test_memory_that_goes_is_given_back(self, played: Callable[..., list[list[int]]]) -> None:
        """It comes again as zeros; what isn't in memory isn't there."""
        steps = played(
            aggregation([pages(0, 2, 10), pages(5, 7, resident_bytes=PAGE)]),
            aggregation([pages(0, 1)], 2),
        )
        assert steps[-1] == [11, 0, 0, 0]


def record(path: Path, count: int = 20) -> Path:
    """Write a record of 8 MiB, half of which is accessed in each check of 20 ms."""
    intervals = Intervals(20_000, 200_000, 200_000)
    with format_of(path, Plugins.discover().formats()).write(path, RecordInfo()) as writer:
        for number in range(1, count + 1):
            rows = [pages(1 << 20, (1 << 20) + 1024, 10), pages((1 << 20) + 1024, (1 << 20) + 2048)]
            writer.write(make_snapshot({"a": rows}, number=number, intervals=intervals))
    return path


def run(*arguments: str | Path) -> Any:
    """Run ``damon replay``."""
    return CliRunner().invoke(main, ["replay", *map(str, arguments)])


def test_the_command_says_what_it_does(tmp_path: Path) -> None:
    """Where its memory is, how long it takes, and that it had the time."""
    done = run(record(tmp_path / "a.parquet", 2))
    first, last = done.stdout.splitlines()
    assert re.fullmatch(
        r"replaying 2 aggregations of 400ms: 8\.0 MiB at [0-9a-f]+-[0-9a-f]+", first
    )
    assert re.match(r"accessed in \d+ sampling intervals", last)


def test_more_than_there_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any memory is taken."""
    monkeypatch.setattr(playing, "_available_bytes", lambda: 9 << 20)
    done = run(record(tmp_path / "a.parquet", 2))
    assert done.exit_code == 2
    assert "choose a part with --target" in done.output


class TestScore:
    def test_the_same_has_no_error(self) -> None:
        """Every cell is as it was."""
        parts = [aggregation([pages(0, 512, 10), pages(512, 1024)], number) for number in (1, 2)]
        whole = Compact.of(parts)
        compact = [whole.snapshot(each) for each in parts]
        found = compared(compact, compact, whole, 2)
        assert (found.score.error, found.score.recorded, found.score.seen) == (0.0, 0.5, 1.0)
        assert (found.score.hot_recall, found.score.hot_precision) == (1.0, 1.0)
        assert len(found.regions) == 256

    def test_what_differs_is_its_share(self) -> None:
        """Half of the memory is cold instead of hot, and the other way round a quarter."""
        one = aggregation([pages(0, 512, 10), pages(512, 1024)])
        other = aggregation([pages(0, 256, 0), pages(256, 512, 10), pages(512, 1024, 5)])
        whole = Compact.of([one])
        score = compared([whole.snapshot(one)], [whole.snapshot(other)], whole, 1).score
        assert score.error == pytest.approx(0.25 + 0.25)
        assert score.hot_recall == 0.5
        assert score.hot_precision == pytest.approx(1 / 3)

    @pytest.mark.slow
    def test_a_replay_that_is_monitored(self, tmp_path: Path) -> None:
        """By the real thing: hot memory is hot again, and the idle half is mostly idle."""
        done = run("--score", "--backend", "referenced", record(tmp_path / "a.parquet", 40))
        assert done.exit_code == 0, done.output
        assert "mean error of access frequencies" in done.stdout
