"""The metrics of a scrape."""

import logging
import re
import subprocess
from collections.abc import Callable, Iterable
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
from damon_prometheus import Listener, PrometheusCallback, PrometheusOptions
from damon_prometheus.series import snapshot_metrics
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from damon_core import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    Context,
    IdleAges,
    Microseconds,
    Owner,
    PageMap,
    Toll,
    bounded_targets,
    hookimpl,
)
from damon_core.metrics import Followed
from damon_core.testing import (
    Recorder,
    RegionRow,
    ScriptedMemory,
    ScriptedRegion,
    make_snapshot,
    run,
    run_virtual,
)

MIB = 1 << 20
TEN_SECONDS = Microseconds(10_000_000)
Make = Callable[..., Context]
MakeListener = Callable[..., Listener]
Values = Callable[[Listener], dict[str, float]]
Get = Callable[..., tuple[str, Message]]


@pytest.fixture
def scraped(
    make_context: Make, make_listener: MakeListener, values: Values
) -> Callable[..., dict[str, float]]:
    """Return a function that runs a context and scrapes it after the second aggregation."""

    def scrape(options: PrometheusOptions | None = None, **context: object) -> dict[str, float]:
        listener = make_listener()
        result: list[dict[str, float]] = []
        callback = PrometheusCallback(options, listener)
        run(
            make_context(
                callback, at_aggregation=lambda _context: result.append(values(listener)), **context
            )
        )
        return result[1]

    return scrape


def test_working_set(scraped: Callable[..., dict[str, float]]) -> None:
    """The working set is what was accessed in the last aggregation."""
    assert scraped()['damon_working_set_bytes{context="db",target="one"}'] == 3 * MIB


def exact() -> ScriptedMemory:
    """Return memory of which every page is known: 3 pages are accessed all the time, 5 aren't."""
    periods = np.zeros((1, BLOCK_PAGES), dtype=np.uint8)
    periods[0, :8] = [13] * 3 + [30] * 5
    every_page = PageMap.of_periods(
        np.array([0]), periods, shortest=13, longest=20, watched_us=60_000_000
    )
    names = ("one", "two")
    return ScriptedMemory(
        {name: [ScriptedRegion(0, BLOCK_BYTES, heat=1.0)] for name in names},
        checks=20,
        page_maps=dict.fromkeys(names, every_page),
        left_out={"unreadable": 1},
    )


def touched(
    make_listener: MakeListener, values: Values, options: PrometheusOptions
) -> dict[str, float]:
    """Return the spectra of a scrape."""
    listener, found = make_listener(), dict[str, float]()

    class Scrape:
        @hookimpl
        def after_aggregation(self) -> None:
            found.update(values(listener))

    run_virtual(exact(), PrometheusCallback(options, listener), Scrape(), aggregations=1)
    return {name: value for name, value in found.items() if name.startswith("damon_touched")}


def test_spectrum(make_listener: MakeListener, values: Values) -> None:
    """What is accessed at least every so often, cumulative, as far as that is known."""
    found = touched(make_listener, values, PrometheusOptions())
    assert {name.split("within=")[1]: value for name, value in found.items() if "one" in name} == {
        '"8.192ms"}': 3 * 4096,
        '"65.54ms"}': 3 * 4096,
        '"524.3ms"}': 3 * 4096,
        '"4.194s"}': 3 * 4096,
        '"33.55s"}': 3 * 4096,
    }


def test_spectra_of_other_targets_add_up(make_listener: MakeListener, values: Values) -> None:
    """As their bytes do."""
    found = touched(make_listener, values, PrometheusOptions(max_targets=1))
    assert len([name for name in found if 'target="other"' in name]) == 5


def test_no_spectrum_where_pages_aren_t_known(scraped: Callable[..., dict[str, float]]) -> None:
    """Not even zeros."""
    assert not [name for name in scraped() if name.startswith("damon_touched")]


def test_accessed_bytes(scraped: Callable[..., dict[str, float]]) -> None:
    """Accessed bytes are weighted with their frequency."""
    result = scraped(targets={"one": [(4 * MIB, 0.5), (4 * MIB, 1.0)]})
    assert result['damon_accessed_bytes{context="db",target="one"}'] == 6 * MIB


def test_what_monitoring_costs(scraped: Callable[..., dict[str, float]]) -> None:
    """The CPU time that a target lost, as a share too, and the longest stall; twice 50 ms."""
    result = scraped(tolls={"one": Toll(500, 3_000)})
    assert result['damon_target_lost_seconds_total{context="db",target="one"}'] == 0.001
    assert result['damon_slowdown_ratio{context="db"}'] == 0.01
    assert result['damon_longest_stall_seconds{context="db"}'] == 0.003


def test_what_others_lose_is_no_counter(scraped: Callable[..., dict[str, float]]) -> None:
    """Their sum shrinks with each that ends or is shown by itself."""
    targets = {"large": [(MIB, 1.0)], "b": [(10, 1.0)], "c": [(10, 1.0)]}
    tolls = dict.fromkeys(targets, Toll(500, 3_000))
    result = scraped(PrometheusOptions(max_targets=1), targets=targets, tolls=tolls)
    assert [name for name in result if name.startswith("damon_target_lost")] == [
        'damon_target_lost_seconds_total{context="db",target="large"}'
    ]


def test_monitored_bytes_and_regions(scraped: Callable[..., dict[str, float]]) -> None:
    """All memory and the number of its regions are exported."""
    result = scraped()
    assert result['damon_monitored_bytes{context="db",target="one"}'] == 8 * MIB
    assert result['damon_regions{context="db",target="one"}'] == 2


def test_bytes_by_frequency(scraped: Callable[..., dict[str, float]]) -> None:
    """Each byte is in the series of all shares of checks that its frequency is above."""
    result = scraped(targets={"one": [(1 * MIB, 0.0), (2 * MIB, 0.5), (4 * MIB, 1.0)]})
    by_frequency = {
        match[1]: value
        for key, value in result.items()
        if (match := re.fullmatch(r'damon_frequency_bytes\{.*above="(.*)"\}', key))
    }
    assert by_frequency == {
        **dict.fromkeys(("0", "0.1", "0.2", "0.3", "0.4"), 6 * MIB),
        **dict.fromkeys(("0.5", "0.6", "0.7", "0.8", "0.9"), 4 * MIB),
    }


def test_idle_bytes(scraped: Callable[..., dict[str, float]]) -> None:
    """Memory counts as idle for each threshold that its idle time has reached."""
    options = PrometheusOptions(
        idle_thresholds=(Microseconds(1), Microseconds(100_000), Microseconds(101_000))
    )
    result = scraped(options)  # after two aggregations of 50 ms
    idle = [value for key, value in result.items() if key.startswith("damon_idle_bytes")]
    assert idle == [5 * MIB, 5 * MIB, 0]


def test_idle_labels(scraped: Callable[..., dict[str, float]]) -> None:
    """The labels of thresholds are durations with a unit."""
    assert [
        match[1]
        for key in scraped()
        if (match := re.fullmatch(r'damon_idle_bytes\{.*at_least="(.*)"\}', key))
    ] == ["1s", "10s", "1m", "10m", "1h"]


def test_counts(scraped: Callable[..., dict[str, float]]) -> None:
    """Samples and aggregations are counted."""
    result = scraped()
    assert result['damon_samples_total{context="db"}'] == 20
    assert result['damon_aggregations_total{context="db"}'] == 2


def test_missed_samples(make_context: Make, make_listener: MakeListener, values: Values) -> None:
    """Missed checks are counted."""
    listener = make_listener()
    result: list[float] = []

    def delay(context: Context) -> None:
        context.clock.advance(32_000)  # type: ignore[attr-defined]
        result.append(values(listener)['damon_missed_samples_total{context="db"}'])

    run(make_context(PrometheusCallback(listener=listener), at_aggregation=delay))
    assert result[:2] == [0, 6]


def test_callback_failures(make_context: Make, make_listener: MakeListener, values: Values) -> None:
    """Failures are counted for each callback, and a switched off callback is marked."""

    class Broken:
        name = "broken"

        @hookimpl
        def after_sampling(self) -> None:
            raise RuntimeError("no")

    listener = make_listener()
    run(make_context(PrometheusCallback(listener=listener), Broken()))
    result = values(listener)
    assert result['damon_callback_failures_total{context="db",callback="broken"}'] == 10
    assert result['damon_callback_switched_off{context="db",callback="broken"}'] == 1
    assert result['damon_callback_skipped_calls_total{context="db",callback="broken"}'] > 0
    assert result['damon_callback_failures_total{context="db",callback="prometheus"}'] == 0
    assert result['damon_callback_switched_off{context="db",callback="prometheus"}'] == 0


def test_intervals_in_force(
    make_context: Make, make_listener: MakeListener, values: Values
) -> None:
    """The lengthened intervals are exported, not the configured ones."""
    listener = make_listener()
    result: list[tuple[float, float]] = []

    def stretch(context: Context) -> None:
        context.commit(intervals=context.intervals.stretched(80_000))
        seen = values(listener)
        result.append(
            (
                seen['damon_sampling_interval_seconds{context="db"}'],
                seen['damon_aggregation_interval_seconds{context="db"}'],
            )
        )

    run(make_context(PrometheusCallback(listener=listener), at_aggregation=stretch))
    assert result[:2] == [(0.005, 0.05), (0.08, 0.08)]


def test_last_aggregation(scraped: Callable[..., dict[str, float]]) -> None:
    """The time of the last aggregation is Unix time in seconds."""
    # A virtual clock begins at this time; two aggregations take 100 ms.
    result = scraped()['damon_last_aggregation_timestamp_seconds{context="db"}']
    assert result == pytest.approx(1_700_000_000.1, abs=1e-3)


def test_own_resident_memory(scraped: Callable[..., dict[str, float]]) -> None:
    """The resident memory of the monitoring process is exported, by the usual name."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    resident_kib = int(status.partition("VmRSS:")[2].split()[0])
    assert scraped()["process_resident_memory_bytes"] == pytest.approx(resident_kib * 1024, rel=0.5)


def test_cpu_seconds(make_context: Make, make_listener: MakeListener, values: Values) -> None:
    """The worker's CPU time is in seconds."""
    listener = make_listener()
    context = make_context(PrometheusCallback(listener=listener))
    run(context)
    shown = values(listener)['damon_cpu_seconds_total{context="db"}']
    assert shown == context.stats.cpu_us / 1e6


def test_before_the_first_aggregation(
    make_context: Make, make_listener: MakeListener, values: Values
) -> None:
    """Without a snapshot there are no bytes, but the context is running."""
    listener = make_listener()
    result: list[dict[str, float]] = []

    class AtFirstSample:
        @hookimpl
        def after_sampling(self) -> bool:
            result.append(values(listener))
            return True

    run(make_context(PrometheusCallback(listener=listener), AtFirstSample()))
    assert result[0]['damon_running{context="db"}'] == 1
    assert not [key for key in result[0] if "target=" in key]


def test_after_the_end(make_context: Make, make_listener: MakeListener, values: Values) -> None:
    """After a context has ended, its counts remain but its last snapshot doesn't."""
    listener = make_listener()
    context = make_context(PrometheusCallback(listener=listener))
    run(context)
    result = values(listener)
    assert result['damon_running{context="db"}'] == 0
    assert result['damon_samples_total{context="db"}'] == 20
    assert not [key for key in result if "target=" in key]


def test_forgotten_context(make_context: Make, make_listener: MakeListener, values: Values) -> None:
    """A context that ended and was garbage-collected has no series any more."""
    import gc

    listener = make_listener()
    run(make_context(PrometheusCallback(listener=listener)))
    gc.collect()
    assert not [key for key in values(listener) if "context=" in key]


def test_restart(make_context: Make, make_listener: MakeListener, values: Values) -> None:
    """A context that starts again is shown once, with counts from 0."""
    listener = make_listener()
    seen: list[float] = []
    context = make_context(
        PrometheusCallback(listener=listener),
        at_aggregation=lambda _context: seen.append(
            values(listener)['damon_samples_total{context="db"}']
        ),
    )
    run(context)
    run(context)
    assert seen == [10, 20, 10, 20]


def test_same_names(
    make_context: Make,
    make_listener: MakeListener,
    values: Values,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two running contexts with the same name get different labels, and that is logged."""
    import threading

    listener = make_listener()
    together = threading.Barrier(2, timeout=60)
    result: list[dict[str, float]] = []

    def both_run(_context: Context) -> bool:
        together.wait()
        result.append(values(listener))
        together.wait()
        return True

    contexts = [
        make_context(PrometheusCallback(listener=listener), at_aggregation=both_run)
        for _ in range(2)
    ]
    with caplog.at_level(logging.WARNING):
        run(*contexts)
    assert result[0]['damon_running{context="db"}'] == 1
    assert result[0]['damon_running{context="db#2"}'] == 1
    assert "'db' is served already" in caplog.text


AWKWARD = 'a "b" \\ {c} ü'
MANY = {f"p{number}": [(number * MIB, 1.0), (MIB, 0.0)] for number in (2, 5, 1, 4, 3)}


def test_max_targets(scraped: Callable[..., dict[str, float]]) -> None:
    """The targets with the largest working sets keep their series, the others are added up."""
    result = scraped(PrometheusOptions(max_targets=2), targets=MANY)
    working_sets = {
        key: value for key, value in result.items() if key.startswith("damon_working_set_bytes")
    }
    assert working_sets == {
        'damon_working_set_bytes{context="db",target="p5"}': 5 * MIB,
        'damon_working_set_bytes{context="db",target="p4"}': 4 * MIB,
        'damon_working_set_bytes{context="db",target="other"}': 6 * MIB,
    }


@pytest.mark.parametrize("max_targets", [1, 2, 4, 5, 20])
def test_other_keeps_sums(scraped: Callable[..., dict[str, float]], max_targets: int) -> None:
    """Sums over all targets don't depend on `max_targets`."""
    result = scraped(PrometheusOptions(max_targets=max_targets), targets=MANY)
    monitored = [value for key, value in result.items() if key.startswith("damon_monitored_bytes")]
    used = [value for key, value in result.items() if 'above="0"' in key]
    assert len(monitored) == min(max_targets + 1, 5)
    assert sum(monitored) == 20 * MIB
    assert sum(used) == 15 * MIB


def test_other_keeps_what_was_touched() -> None:
    """The working set of targets together is the sum of theirs."""
    region = RegionRow(0, 4096, nr_accesses=20, touched_bytes=1024)
    (other,) = bounded_targets(make_snapshot({"a": [region], "b": [region]}).targets, 0)
    assert other.working_set_bytes() == 2048


@pytest.mark.parametrize(("idle_bytes", "series"), [(512, 1), (None, 0)])
def test_idle_bytes_that_are_not_known_have_no_series(
    idle_bytes: int | None,
    series: int,
    make_listener: MakeListener,
    values: Values,
) -> None:
    """Instead of 0. Those that are known have a number, and when it was measured."""
    listener = make_listener()
    result: dict[str, float] = {}
    region = ScriptedRegion(0, 4096, touched_bytes=1024, idle_10s_bytes=idle_bytes)
    ages = {"a": IdleAges(7_000_000)}
    callback = PrometheusCallback(PrometheusOptions(idle_thresholds=(TEN_SECONDS,)), listener)
    recorder = Recorder(after_aggregation=lambda _context: result.update(values(listener)))
    memory = ScriptedMemory({"a": [region]}, idle_ages=ages)
    run_virtual(memory, callback, recorder, aggregations=1)
    found = [(name, value) for name, value in result.items() if "at_least" in name]
    labels = '{context="context",target="a",at_least="10s"}'
    measured = [
        (f"damon_idle_bytes{labels}", 512),
        (f"damon_idle_measured_timestamp_seconds{labels}", recorder.snapshots[0].time_us / 1e6 - 7),
    ]
    assert found == measured * series


def test_other_keeps_what_is_idle() -> None:
    """Idle bytes of targets together are the sum of theirs, as old as the oldest."""
    region = RegionRow(0, 4096, nr_accesses=20, touched_bytes=1024, idle_10s_bytes=512)
    ages = {"a": IdleAges(7), "b": IdleAges(9)}
    snapshot = make_snapshot({"a": [region], "b": [region]}, idle_ages=ages)
    (other,) = bounded_targets(snapshot.targets, 0)
    idle = other.idle(TEN_SECONDS)
    assert (idle.bytes, idle.age_us) == (1024, 9)


def test_a_target_named_other(scraped: Callable[..., dict[str, float]]) -> None:
    """A target that is really called "other" is added to the rest, never a second series."""
    targets = {"other": [(9 * MIB, 1.0)], "a": [(2 * MIB, 1.0)], "b": [(MIB, 1.0)]}
    result = scraped(PrometheusOptions(max_targets=2), targets=targets)
    assert result['damon_working_set_bytes{context="db",target="other"}'] == 10 * MIB
    assert result['damon_working_set_bytes{context="db",target="a"}'] == 2 * MIB


def owner(name: str, size: int, kind: str = "cgroup") -> Owner:
    """Return an owner of some MiB, half of which is its working set."""
    return Owner(kind, name, size * MIB, size * MIB // 2, size * MIB // 4)


OWNERS = {"p1": [owner("/a", 8), owner("/b", 4)], "p2": [owner("/a", 2), owner("/c", 16)]}


def owner_series(result: dict[str, float], metric: str = "damon_owner_bytes") -> dict[str, float]:
    """Return a metric of owners by ``target kind owner``, in MiB."""
    labels = r'\{context="db",target="(.*)",kind="(.*)",owner="(.*)"\}'
    return {
        " ".join(match.groups()): value / MIB
        for key, value in result.items()
        if (match := re.fullmatch(metric + labels, key))
    }


def test_owners(scraped: Callable[..., dict[str, float]]) -> None:
    """The owners of each target are exported with all their metrics."""
    result = scraped(targets=MANY, owners=OWNERS)
    sizes = {"p1 cgroup /a": 8, "p1 cgroup /b": 4, "p2 cgroup /a": 2, "p2 cgroup /c": 16}
    assert owner_series(result) == sizes
    for metric, part in (("working_set", 2), ("accessed", 4)):
        shown = owner_series(result, f"damon_owner_{metric}_bytes")
        assert shown == {key: size / part for key, size in sizes.items()}


def test_no_owners(scraped: Callable[..., dict[str, float]]) -> None:
    """Without owners in the snapshot there are no series of owners."""
    assert not [key for key in scraped() if "owner" in key]


def test_max_owners(scraped: Callable[..., dict[str, float]]) -> None:
    """Owners with the largest working sets keep their series, the others are added up."""
    owners = {"p1": [*OWNERS["p1"], owner("/d", 1)], "p2": OWNERS["p2"]}
    result = scraped(PrometheusOptions(max_owners=1), targets=MANY, owners=owners)
    assert owner_series(result) == {
        "p1 cgroup other": 13,
        "p2 cgroup other": 2,
        "p2 cgroup /c": 16,
    }


def test_an_owner_named_other(scraped: Callable[..., dict[str, float]]) -> None:
    """An owner that is really called "other" is added to the rest of its kind."""
    owners = {"p1": [owner("other", 9), owner("x", 1), owner("y", 2, "user")]}
    result = scraped(PrometheusOptions(max_owners=1), targets=MANY, owners=owners)
    assert owner_series(result) == {"p1 cgroup other": 10, "p1 user other": 2}


def test_owners_of_other_targets(scraped: Callable[..., dict[str, float]]) -> None:
    """The owners' bytes of targets without their own series are added up as well."""
    result = scraped(PrometheusOptions(max_targets=1), targets=MANY, owners=OWNERS)
    assert owner_series(result) == {
        "other cgroup /a": 10,
        "other cgroup /b": 4,
        "other cgroup /c": 16,
    }


@pytest.fixture
def awkward_scrape(make_context: Make, make_listener: MakeListener, get: Get) -> Get:
    """Return a function that scrapes a context with awkward names in a format."""

    def scrape(accept: str) -> tuple[str, Message]:
        listener = make_listener()
        scrapes: list[tuple[str, Message]] = []
        run(
            make_context(
                PrometheusCallback(PrometheusOptions(max_targets=2), listener),
                targets=MANY | {AWKWARD: [(90 * MIB, 1.0)]},
                owners=OWNERS | {AWKWARD: [owner(f"{AWKWARD}\nd", 1)]},
                name='naïve "name"',
                at_aggregation=lambda _context: scrapes.append(
                    get(listener.url, headers={"Accept": accept})
                ),
            )
        )
        return scrapes[1]

    return scrape


@pytest.mark.needs("promtool")
def test_promtool(awkward_scrape: Get) -> None:
    """Debian's promtool accepts a real scrape without a warning."""
    text, headers = awkward_scrape("text/plain")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'target="other"' in text
    assert 'kind="cgroup",owner="/a"' in text
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_openmetrics(awkward_scrape: Get) -> None:
    """A client that asks for OpenMetrics gets it, and a strict parser reads it."""
    text, headers = awkward_scrape("application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    assert AWKWARD in {sample.labels.get("target") for one in families for sample in one.samples}


def test_kinds_of_memory() -> None:
    """How much there is of each, and of that idle: the share that it has of its region."""
    rows = [
        RegionRow(0, MIB, 20, touched_bytes=MIB // 2, kinds={"huge": MIB // 2, "swapped": 0}),
        RegionRow(MIB, 2 * MIB, kinds={"swapped": MIB}, resident_bytes=0, touched_bytes=0),
    ]
    followed = Followed(make_snapshot({"p": rows}), 0, (None,), {}, late_after_us=1)
    options = PrometheusOptions(idle_thresholds=(Microseconds(100_000),))
    found = {
        (sample.name, sample.labels["memory_kind"]): sample.value
        for family in snapshot_metrics("db", options, followed).values()
        for sample in family.samples
        if "memory_kind" in sample.labels
    }
    assert found == {
        ("damon_kind_bytes", "huge"): MIB // 2,
        ("damon_kind_bytes", "swapped"): MIB,
        ("damon_kind_idle_bytes", "huge"): MIB // 4,
    }


def test_readme_lists_all_metrics(make_context: Make, make_listener: MakeListener) -> None:
    """The README's table names exactly the metrics of a scrape, with their types and labels."""
    listener = make_listener()
    seen: dict[str, tuple[str, set[str]]] = {}

    def note(families: Iterable[Metric]) -> None:
        for family in families:
            for sample in family.samples:
                seen[sample.name] = (family.type, set(sample.labels))

    def scrape(_context: Context) -> None:
        note(listener.contexts.collect())

    targets = {"p1": [(MIB, 1.0)], "p2": [(MIB, 1.0)]}
    run(
        make_context(
            PrometheusCallback(listener=listener),
            targets=targets,
            owners=OWNERS,
            tolls={"p1": Toll(1, 1)},
            at_aggregation=scrape,
        )
    )

    class Scrape:
        @hookimpl
        def after_aggregation(self, context: Context) -> None:
            scrape(context)

    options = PrometheusOptions(windows=(Microseconds(1),))
    run_virtual(exact(), PrometheusCallback(options, listener), Scrape(), aggregations=1)
    old = make_snapshot({"p": [RegionRow(0, 4096, kinds={"huge": 4096})]}, stale_us={"p": 2})
    late = Followed(old, 0, (None,), {}, late_after_us=1)
    note(snapshot_metrics("db", PrometheusOptions(), late).values())
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(damon_\w+)` \| (\w+) \| ([\w, ]*?) ?\|", readme, re.MULTILINE)
    assert {
        name: (kind, set(filter(None, labels.split(", ")))) for name, kind, labels in table
    } == seen


def test_readme_lists_all_options() -> None:
    """The README's table names exactly the options, in their order."""
    import attrs

    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Options")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert named == [option.name for option in attrs.fields(PrometheusOptions)]
