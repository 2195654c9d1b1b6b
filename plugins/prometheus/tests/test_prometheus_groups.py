"""Series by labels of targets, and what they are joined by."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from damon_prometheus import Listener, PrometheusCallback, PrometheusOptions

from damon_core import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    HookContext,
    Microseconds,
    PageMap,
    Regions,
    Target,
    Toll,
    hookimpl,
)
from damon_core.testing import Recorder, ScriptedMemory, ScriptedRegion, run_virtual

MIB = 1 << 20
DEPLOYMENT = Path(__file__).parents[3] / "docs/deployment.md"
MakeListener = Callable[..., Listener]
Values = Callable[[Listener], dict[str, float]]
Scraped = Callable[..., dict[str, float]]

ID = "9" * 64
REDIS = {"unit": "redis.service", "user": "redis"}
WEB = {"container": ID, "container_name": "web", "pod": "web-1", "namespace": "shop"}
LABELS: Mapping[str, Mapping[str, str]] = {
    "redis[1]": {**REDIS, "pid": "1", "comm": "redis"},
    "redis[2]": {**REDIS, "pid": "2", "comm": "redis-bgsave"},
    "web[3]": {**WEB, "pid": "3", "cgroup": "/kubepods/x"},
    "sh[4]": {},
}


class Labelled:
    """Labels targets as a primitive does."""

    def __init__(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        self._labels = labels

    @hookimpl
    def label_targets(self, context: HookContext) -> None:
        for target in context.targets:
            target.labels = self._labels.get(target.name, REDIS)


@pytest.fixture
def scraped(make_listener: MakeListener, values: Values) -> Scraped:
    """Return a function that scrapes labelled targets, the first of 1 MiB, the next of 2 …"""

    def scrape(
        *,
        labels: Mapping[str, Mapping[str, str]] = LABELS,
        at_aggregation: Callable[[HookContext], object] = lambda _context: None,
        tolls: Mapping[str, Toll] | None = None,
        aggregations: int = 1,
        **options: object,
    ) -> dict[str, float]:
        listener, found = make_listener(), dict[str, float]()

        def look(context: HookContext) -> None:
            found.clear()
            found.update(values(listener))
            at_aggregation(context)

        regions = {
            name: [ScriptedRegion(0, number * MIB, heat=1.0)]
            for number, name in enumerate(labels, 1)
        }
        run_virtual(
            ScriptedMemory(regions, tolls=tolls),
            PrometheusCallback(PrometheusOptions(**options), listener),  # type: ignore[arg-type]
            Labelled(labels),
            Recorder(after_aggregation=look),
            aggregations=aggregations,
        )
        return found

    return scrape


def series(found: dict[str, float], metric: str) -> dict[str, float]:
    """Return a metric by its labels but the context, in MiB."""
    start = f'{metric}{{context="context"'
    return {
        name.removeprefix(start).strip(",}"): value / MIB
        for name, value in found.items()
        if name.startswith(start)
    }


def test_by_a_label(scraped: Scraped) -> None:
    """Targets of one value are added up; those that have no such label, too."""
    assert series(scraped(by=("unit",)), "damon_working_set_bytes") == {
        'unit="redis.service"': 3,
        'unit=""': 7,
    }


def test_by_several_labels(scraped: Scraped) -> None:
    """Each combination that there is has series."""
    assert series(scraped(by=("unit", "namespace")), "damon_monitored_bytes") == {
        'unit="redis.service",namespace=""': 3,
        'unit="",namespace="shop"': 3,
        'unit="",namespace=""': 4,
    }


def test_by_nothing(scraped: Scraped) -> None:
    """The context has one of each."""
    assert series(scraped(by=()), "damon_monitored_bytes") == {"": 10}


def test_labels_are_called_as_cadvisor_calls_them(scraped: Scraped) -> None:
    """So that series of both can be joined."""
    by = ("cgroup", "container", "container_name", "pod", "namespace")
    labels = {"web[3]": LABELS["web[3]"]}
    (found,) = series(scraped(by=by, labels=labels), "damon_monitored_bytes")
    assert found == (
        f'id="/kubepods/x",container_id="{ID}",container="web",pod="web-1",namespace="shop"'
    )


def test_groups_beyond_the_number_are_added_up(scraped: Scraped) -> None:
    """As targets are: the largest working sets have series."""
    found = scraped(by=("unit", "pod"), max_targets=1)
    assert series(found, "damon_working_set_bytes") == {
        'unit="",pod=""': 4,
        'unit="other",pod="other"': 6,
    }


def test_what_a_target_is_known_by(scraped: Scraped) -> None:
    """All of its labels, for joins."""
    (found,) = [
        set(labels.split(","))
        for labels in series(scraped(), "damon_target_info")
        if 'pid="1"' in labels
    ]
    assert found == {
        'target="redis[1]"',
        'unit="redis.service"',
        'user="redis"',
        'pid="1"',
        'comm="redis"',
    }


def test_what_a_group_is_known_by(scraped: Scraped) -> None:
    """What its targets have in common; a pid is that of one of them."""
    labels = {name: LABELS[name] for name in ("redis[1]", "redis[2]")}
    (found,) = series(scraped(by=("unit",), labels=labels), "damon_target_info")
    assert set(found.split(",")) == {'unit="redis.service"', 'user="redis"'}


def test_a_group_of_one_has_no_pid(scraped: Scraped) -> None:
    """Its series are to survive a restart."""
    labels = {"redis[1]": LABELS["redis[1]"]}
    (found,) = series(scraped(by=("unit",), labels=labels), "damon_target_info")
    assert "pid=" not in found


def test_a_series_survives_a_restart(scraped: Scraped) -> None:
    """A process that takes the place of one that has ended has the same series."""

    def restart(context: HookContext) -> None:
        context.targets[0] = Target("redis[9]", Regions([0], [MIB]))

    labels = {"redis[1]": REDIS}
    found = scraped(by=("unit",), labels=labels, at_aggregation=restart, aggregations=2)
    assert series(found, "damon_working_set_bytes") == {'unit="redis.service"': 1}


def test_number_of_targets(scraped: Scraped) -> None:
    """It is that of targets, not of groups."""
    assert scraped(by=("unit",))['damon_targets{context="context"}'] == 4


def test_what_a_group_lost(scraped: Scraped) -> None:
    """The sum of what its targets lost."""
    labels = {"redis[1]": REDIS, "redis[2]": REDIS}
    tolls = dict.fromkeys(labels, Toll(500, 500))
    found = scraped(by=("unit",), labels=labels, tolls=tolls, aggregations=2)
    assert found['damon_target_lost_seconds_total{context="context",unit="redis.service"}'] == 0.002


@pytest.mark.parametrize(
    "by", [("context",), ("kind",), ("__name__",), ("a-b",), ("unit", "unit"), ("cgroup", "id")]
)
def test_labels_that_can_not_be(by: tuple[str, ...]) -> None:
    """A series has each label once, and what isn't a name of one can't be scraped."""
    with pytest.raises(ValueError, match="label"):
        PrometheusOptions(by=by)


class Exact(ScriptedMemory):
    """Memory of which every page is known, so that there are all series."""

    @hookimpl
    def describe_regions(self, context: HookContext) -> None:
        """Give every target its pages."""
        periods = np.full((1, BLOCK_PAGES), 13, dtype=np.uint8)
        for target in context.targets:
            target.page_map = PageMap.of_periods(
                np.array([0]), periods, shortest=10, longest=31, watched_us=1 << 40
            )


def test_a_host_has_no_more_series_than_documented(
    make_listener: MakeListener, values: Values
) -> None:
    """docs/deployment.md says how many: of 20 containers and of the others, and some besides."""
    listener, found = make_listener(), dict[str, float]()
    names = [f"web[{number}]" for number in range(1, 41)]
    labels = {
        name: {"namespace": "shop", "pod": f"web-{name}", "container_name": "web"} for name in names
    }
    options = PrometheusOptions(
        by=("namespace", "pod", "container_name"),
        windows=(Microseconds(100_000), Microseconds(200_000), Microseconds(300_000)),
        idle_thresholds=tuple(Microseconds(100_000 * number) for number in range(1, 6)),
    )
    run_virtual(
        Exact(
            {name: [ScriptedRegion(0, BLOCK_BYTES, heat=1.0)] for name in names},
            tolls={name: Toll(500, 500) for name in names},
        ),
        PrometheusCallback(options, listener),
        Labelled(labels),
        Recorder(after_aggregation=lambda _context: found.update(values(listener))),
        aggregations=9,
    )
    of_groups = Counter(
        match[1] for name in found if (match := re.search(r'pod="([^"]*)"', name)) is not None
    )
    assert len(of_groups) == 21
    text = DEPLOYMENT.read_text()
    of_each, of_host = map(int, re.findall(r"with `pagetable`, (\d+) and\s+about (\d+)", text)[0])
    assert max(of_groups.values()) <= of_each
    assert of_each * 20 < len(found) <= of_host
