"""Rules by labels of targets, and labels in notifications."""

import logging
from collections.abc import Mapping

import pytest
from damon_alert import Notification, Rule
from damon_alert.rules import Evaluator

from damon_core import AttributeValueError, Intervals, Snapshot, Stats, testing
from damon_core.testing import RegionRow

MIB = 1 << 20

REDIS = {"unit": "redis.service", "user": "redis", "cgroup": "/system.slice/redis.service"}
LABELS = {
    "redis[1]": {**REDIS, "pid": "1", "comm": "redis"},
    "redis[2]": {**REDIS, "pid": "2", "comm": "bgsave"},
    "web[3]": {"unit": "web.service", "pod": "web-1", "namespace": "shop", "pid": "3"},
    "sh[4]": {"pid": "4"},
}


def snapshot(
    sizes: Mapping[str, int], labels: Mapping[str, Mapping[str, str]] = LABELS
) -> Snapshot:
    """Return a snapshot of targets of which so many MiB were accessed."""
    return testing.make_snapshot(
        {name: [RegionRow(0, size * MIB, 10)] for name, size in sizes.items()},
        context="db",
        labels=labels,
        intervals=Intervals(sampling_us=100_000, aggregation_us=1_000_000),
    )


def news(rule: Rule, *snapshots: Snapshot) -> list[Notification]:
    """Return the notifications of a rule."""
    evaluator = Evaluator([rule])
    return [each for one in snapshots for each in evaluator.evaluate(one, Stats())]


SIZES = {"redis[1]": 40, "redis[2]": 30, "web[3]": 50, "sh[4]": 90}


def test_per_label() -> None:
    """What targets of one value use is added up; those without the label don't count."""
    rule = Rule("large", "working_set", above="64MiB", per="unit")
    (fired,) = news(rule, snapshot(SIZES))
    assert (fired.group, fired.target, fired.value) == ("redis.service", None, 70 * MIB)


def test_per_several_labels() -> None:
    """Each combination has an alert."""
    rule = Rule("some", "working_set", above="1MiB", per="namespace,pod")
    assert [each.group for each in news(rule, snapshot(SIZES))] == ["shop web-1"]


def test_only_targets_that_match() -> None:
    """By patterns of their labels."""
    rule = Rule("large", "working_set", above="1MiB", match={"unit": "redis*"})
    (fired,) = news(rule, snapshot(SIZES))
    assert (fired.target, fired.group, fired.value) == (None, None, 70 * MIB)


def test_matching_targets_one_by_one() -> None:
    """With an alert for each."""
    rule = Rule("some", "working_set", above="1MiB", per="target", match={"unit": "redis*"})
    assert [each.target for each in news(rule, snapshot(SIZES))] == ["redis[1]", "redis[2]"]


def test_it_is_resolved_when_the_last_target_is_gone() -> None:
    """As an alert of a target is."""
    rule = Rule("large", "working_set", above="64MiB", per="unit")
    _, resolved = news(rule, snapshot(SIZES), snapshot({"sh[4]": 1}))
    assert (resolved.status, resolved.group) == ("resolved", "redis.service")


def test_labels_of_a_target() -> None:
    """Its notification has all of them."""
    rule = Rule("large", "working_set", above="45MiB", per="target", match={"pod": "*"})
    (fired,) = news(rule, snapshot({"web[3]": 50}))
    assert fired.target_labels == LABELS["web[3]"]


def test_labels_of_a_group() -> None:
    """Those that all have; a pid is that of one process."""
    rule = Rule("large", "working_set", above="64MiB", per="unit")
    (fired,) = news(rule, snapshot(SIZES))
    assert fired.target_labels == REDIS


def test_labels_stay_while_an_alert_fires() -> None:
    """They identify it: with others it would be another one, and never be resolved."""
    rule = Rule("large", "working_set", above="64MiB", clear="60MiB", per="unit")
    other = {"redis[1]": {"unit": "redis.service", "user": "root"}}
    fired, resolved = news(rule, snapshot(SIZES), snapshot({"redis[1]": 1}, other))
    assert resolved.labels == fired.labels


def test_alertmanager_has_the_labels_of_targets() -> None:
    """Called as cAdvisor calls them; those of the rule win."""
    rule = Rule("large", "working_set", above="64MiB", per="unit", labels={"user": "team"})
    (fired,) = news(rule, snapshot(SIZES))
    labels = fired.labels
    assert labels.pop("instance")
    assert labels == {
        "alertname": "large",
        "severity": "warning",
        "context": "db",
        "unit": "redis.service",
        "user": "team",
        "id": "/system.slice/redis.service",
    }


def test_json_has_the_labels_of_targets() -> None:
    """For programs and hooks."""
    rule = Rule("large", "working_set", above="64MiB", per="unit")
    (fired,) = news(rule, snapshot(SIZES))
    document = fired.as_json()
    assert (document["group"], document["target_labels"]) == ("redis.service", REDIS)


def test_summary_names_the_group() -> None:
    """One line for people says whose memory it is."""
    rule = Rule("large", "working_set", above="64MiB", per="unit")
    (fired,) = news(rule, snapshot(SIZES))
    assert fired.summary == "working set of redis.service in db: 70.0 MiB, above 64.0 MiB"


def test_a_rule_about_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A label that no target has is logged, once."""
    rule = Rule("large", "working_set", above="64MiB", per="unti")
    with caplog.at_level(logging.WARNING):
        assert news(rule, snapshot(SIZES), snapshot(SIZES)) == []
    assert [each.getMessage() for each in caplog.records] == [
        "context 'db': rule 'large' concerns none of the targets: none has what 'per' and 'match' "
        "name; their labels are: cgroup, comm, namespace, pid, pod, unit, user"
    ]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"when": "working_set", "per": "a-b"}, "per"),
        ({"when": "working_set", "per": ""}, "per"),
        ({"when": "working_set", "match": {"a-b": "*"}}, "match"),
        ({"when": "missed_samples", "match": {"unit": "*"}}, "match"),
        ({"when": "missed_samples", "per": "unit"}, "per"),
    ],
)
def test_rules_that_make_no_sense(options: dict[str, object], field: str) -> None:
    """The mistake names the option."""
    with pytest.raises(AttributeValueError) as caught:
        Rule("x", above=1, **options)  # type: ignore[arg-type]
    assert caught.value.attribute == field
