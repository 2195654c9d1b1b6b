"""From snapshots to notifications, exactly."""

from collections.abc import Callable

import pytest
from damon_alert import Notification, Rule
from damon_alert.quantities import Amount, Window
from damon_alert.rules import Alert, Evaluator, Phase

from damon_core import CallbackStats, Microseconds, Snapshot, Stats, testing
from damon_core.testing import RegionRow

Make = Callable[..., Snapshot]
UNIX_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
MIB = 1 << 20
STATS = Stats()


def phases(rule: Rule, values: list[float | None]) -> list[str]:
    """Return the phase after each value, one value a second; '!' marks a notification."""
    alert = Alert(rule.condition, rule.lasting)
    seen = []
    for second, value in enumerate(values):
        amount = None if value is None else Amount.known(value)
        changed = alert.observe(amount, second * SECOND_US, UNIX_US)
        seen.append(alert.phase.value + "!" * changed)
    return seen


def test_alert_fires_after_condition_lasted() -> None:
    """An alert is pending while its condition lasts, and fires when it has lasted long enough."""
    rule = Rule("r", "missed_samples", above=5, lasting=Microseconds(2 * SECOND_US))
    assert phases(rule, [5, 6, 7, 8, 9]) == [
        "inactive",
        "pending",
        "pending",
        "firing!",
        "firing",
    ]


def test_alert_without_duration_fires_at_once() -> None:
    """Without `lasting`, the first value beyond the threshold fires."""
    assert phases(Rule("r", "missed_samples", above=5), [6]) == ["firing!"]


def test_pending_alert_begins_anew() -> None:
    """If the condition of a pending alert fails once, the whole time starts over."""
    rule = Rule("r", "missed_samples", above=5, lasting=Microseconds(2 * SECOND_US))
    assert phases(rule, [6, 6, 5, 6, 6, 6])[2:] == ["inactive", "pending", "pending", "firing!"]


def test_firing_alert_stays_between_thresholds() -> None:
    """Between `clear` and the threshold a firing alert stays firing, an inactive one inactive."""
    rule = Rule("r", "missed_samples", above=10, clear=5)
    assert phases(rule, [8, 11, 8, 6, 5, 8, 11]) == [
        "inactive",
        "firing!",
        "firing",
        "firing",
        "inactive!",
        "inactive",
        "firing!",
    ]


def test_below_is_the_mirror_image() -> None:
    """A rule with `below` fires below its threshold and is cleared at or above `clear`."""
    rule = Rule("r", "missed_samples", below=10, clear=20)
    assert phases(rule, [10, 9, 15, 19, 20]) == [
        "inactive",
        "firing!",
        "firing",
        "firing",
        "inactive!",
    ]


def test_nothing_to_measure_ends_alerts() -> None:
    """Without a value a pending alert is inactive, and a firing one resolved."""
    rule = Rule("r", "missed_samples", above=5, lasting=Microseconds(SECOND_US))
    assert phases(rule, [6, None, 6, 6, None]) == [
        "pending",
        "inactive",
        "pending",
        "firing!",
        "inactive!",
    ]


def test_new_alert_is_inactive() -> None:
    """An alert begins inactive."""
    assert Alert(Rule("r", "idle", above=5).condition, 0).phase is Phase.INACTIVE


def test_notifications_of_a_whole_life(make_snapshot: Make) -> None:
    """Notifications of firing and of its end have the value and the times of the snapshots."""
    rule = Rule(
        "large", "working_set", above="64MiB", clear="48MiB", lasting=Microseconds(2_000_000)
    )
    evaluator = Evaluator([rule])
    changes = [
        evaluator.evaluate(
            make_snapshot({"a": [(size, 10, 0)]}, time_us=UNIX_US + second * SECOND_US), STATS
        )
        for second, size in enumerate([10, 70, 71, 72, 50, 40])
    ]
    fired = Notification(
        "firing", rule, "db", None, 72 << 20, UNIX_US + SECOND_US, UNIX_US + 3 * SECOND_US
    )
    resolved = Notification(
        "resolved",
        rule,
        "db",
        None,
        40 << 20,
        UNIX_US + SECOND_US,
        UNIX_US + 3 * SECOND_US,
        UNIX_US + 5 * SECOND_US,
    )
    assert changes == [[], [], [], [fired], [], [resolved]]


def test_time_of_day_that_is_set_changes_no_alert(make_snapshot: Make) -> None:
    """`lasting` counts the duration of the aggregations, not differences of the time of day."""
    rule = Rule("large", "working_set", above="64MiB", lasting=Microseconds(2 * SECOND_US))
    evaluator = Evaluator([rule])
    times = [0, 3_600, -3_600]
    fired = [
        bool(
            evaluator.evaluate(
                make_snapshot({"a": [(70, 10, 0)]}, time_us=UNIX_US + offset * SECOND_US), STATS
            )
        )
        for offset in times
    ]
    assert fired == [False, False, True]


def test_targets_alert_one_by_one(make_snapshot: Make) -> None:
    """A rule per target fires for the targets concerned, not for their sum."""
    evaluator = Evaluator([Rule("large", "working_set", above="64MiB", per="target")])
    changes = evaluator.evaluate(
        make_snapshot({"a": [(50, 10, 0)], "b": [(70, 10, 0)], "c": [(80, 10, 0)]}), STATS
    )
    assert [change.target for change in changes] == ["b", "c"]


def test_target_that_is_gone_resolves_its_alert(make_snapshot: Make) -> None:
    """When a target ends, its alert is resolved, with the note that nothing is measured."""
    evaluator = Evaluator([Rule("large", "working_set", above="64MiB", per="target")])
    evaluator.evaluate(make_snapshot({"a": [(70, 10, 0)]}), STATS)
    (change,) = evaluator.evaluate(make_snapshot({}), STATS)
    assert (change.status, change.target, change.value) == ("resolved", "a", None)
    assert change.summary == "working set of a in db: no longer measured"


def test_target_that_is_gone_is_forgotten(make_snapshot: Make) -> None:
    """The state of targets that have ended is removed."""
    evaluator = Evaluator([Rule("large", "working_set", above="64MiB", per="target")])
    for number in range(10):
        evaluator.evaluate(make_snapshot({f"t{number}": [(1, 10, 0)]}), STATS)
    assert len(evaluator._alerts[0]) == 1  # noqa: SLF001  # memory that is kept shows nowhere else


def test_firing_has_what_fires_now_with_its_value_now(make_snapshot: Make) -> None:
    """Alerts are listed from their firing to their end, with the value of each aggregation."""
    evaluator = Evaluator(
        [Rule("large", "working_set", above="64MiB", clear="48MiB", per="target")]
    )
    seen = []
    for a, b in [(60, 70), (70, 60), (60, 40), (40, 40)]:
        evaluator.evaluate(make_snapshot({"a": [(a, 10, 0)], "b": [(b, 10, 0)]}), STATS)
        seen.append({alert.target: alert.value_text for alert in evaluator.firing})
    assert seen == [
        {"b": "70.0 MiB"},
        {"a": "70.0 MiB", "b": "60.0 MiB"},
        {"a": "60.0 MiB"},
        {},
    ]


@pytest.mark.parametrize(
    ("when", "idle_for_us", "expected"),
    [
        ("working_set", None, 30 << 20),
        ("accessed", None, (10 << 20) + (10 << 20)),
        ("monitored", None, 100 << 20),
        ("idle", None, 70 << 20),
        ("idle", 60 * SECOND_US, 50 << 20),
        ("working_set_share", None, 0.3),
        ("accessed_share", None, 0.2),
        ("idle_share", 60 * SECOND_US, 0.5),
    ],
)
def test_quantities(
    when: str, idle_for_us: int | None, expected: float, make_snapshot: Make
) -> None:
    """Each quantity has the value that its definition gives."""
    idle_for = None if idle_for_us is None else Microseconds(idle_for_us)
    rule = Rule("r", when, above=0, idle_for=idle_for)  # type: ignore[arg-type]
    regions = [(10, 10, 0), (20, 5, 0), (20, 0, SECOND_US), (50, 0, 60 * SECOND_US)]
    (change,) = Evaluator([rule]).evaluate(make_snapshot({"a": regions}), STATS)
    assert change.value == pytest.approx(expected)


class TestBounds:
    """Of 100 MiB, from 40 to 70 have been idle for a minute."""

    @staticmethod
    def evaluator(**rule: str) -> Evaluator:
        """Return the evaluator of a rule on them."""
        idle_for = Microseconds(60 * SECOND_US)
        return Evaluator([Rule("cold", "idle", idle_for=idle_for, **rule)])  # type: ignore[arg-type]

    @staticmethod
    def snapshot(low: int = 40, high: int = 70) -> Snapshot:
        """Return a snapshot with these bounds."""
        region = RegionRow(
            0,
            100 * MIB,
            touched_bytes=(100 - high) * MIB,
            idle_us=0,
            idle_10m_bytes=low * MIB,
        )
        return testing.make_snapshot({"a": [region]}, context="db")

    @pytest.mark.parametrize(
        ("rule", "fires"),
        [
            ({"above": "39MiB"}, ["40.0 MiB"]),
            ({"above": "40MiB"}, []),
            ({"below": "71MiB"}, ["70.0 MiB"]),
            ({"below": "70MiB"}, []),
        ],
    )
    def test_a_rule_fires_if_it_is_certain(self, rule: dict[str, str], fires: list[str]) -> None:
        """With the bound that it compares, never on 0."""
        changes = self.evaluator(**rule).evaluate(self.snapshot(), STATS)
        assert [change.value_text for change in changes] == fires

    def test_a_firing_alert_is_resolved_if_that_is_certain(self) -> None:
        """What isn't known any more changes nothing."""
        evaluator = self.evaluator(above="60MiB")
        seen = [
            [change.status for change in evaluator.evaluate(self.snapshot(low, 70), STATS)]
            for low in (70, 40)
        ]
        resolved = evaluator.evaluate(self.snapshot(40, 60), STATS)
        assert (seen, [change.status for change in resolved]) == ([["firing"], []], ["resolved"])

    def test_it_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """Which rule, of how long, and what is known."""
        evaluator = self.evaluator(above="60MiB")
        for _ in range(2):
            evaluator.evaluate(self.snapshot(), STATS)
        (record,) = caplog.records
        assert record.getMessage().startswith(
            "context 'db': rule 'cold': how much memory has been idle for 1m isn't known yet: "
            "40.0 MiB to 70.0 MiB"
        )


def test_share_of_nothing_has_no_value(make_snapshot: Make) -> None:
    """While nothing is monitored, a share is neither above nor below a threshold."""
    evaluator = Evaluator([Rule("r", "idle_share", below="50%"), Rule("s", "idle_share", above=0)])
    assert evaluator.evaluate(make_snapshot({"a": []}), STATS) == []


def test_missed_samples_count_within_window(make_snapshot: Make) -> None:
    """Only the missed samples of the last `within` count, so the alert ends when they cease."""
    rule = Rule("late", "missed_samples", above=5, within=Microseconds(3 * SECOND_US))
    evaluator = Evaluator([rule])
    statuses = []
    for missed in [0, 4, 8, 8, 8, 8]:
        changes = evaluator.evaluate(make_snapshot({}), Stats(missed_samples=missed))
        statuses.append([change.status for change in changes])
    assert statuses == [[], [], ["firing"], [], ["resolved"], []]


def test_callback_failures(make_snapshot: Make) -> None:
    """Failures of all callbacks together are counted."""
    stats = Stats(callbacks={"csv": CallbackStats(failures=2), "other": CallbackStats(failures=1)})
    evaluator = Evaluator([Rule("broken", "callback_failures", above=2)])
    (change,) = evaluator.evaluate(make_snapshot({}), stats)
    assert change.summary == "callback failures within 1m of db: 3, above 2"


def test_window_keeps_only_growth() -> None:
    """A count that doesn't grow costs no memory, however long it is watched."""
    window = Window(within_us=1 << 60)
    assert [window.grown(5, now_us) for now_us in range(1_000)] == [5] * 1_000
    assert len(window._steps) == 1  # noqa: SLF001  # memory that is kept shows nowhere else


def test_rules_are_independent(make_snapshot: Make) -> None:
    """Each rule has its own state; changes are returned in the rules' order."""
    evaluator = Evaluator(
        [
            Rule("warn", "working_set", above="10MiB"),
            Rule("crit", "working_set", above="20MiB", severity="critical"),
        ]
    )
    seen = [
        [
            (change.rule.name, change.status)
            for change in evaluator.evaluate(make_snapshot({"a": [(size, 10, 0)]}), STATS)
        ]
        for size in (15, 25, 15, 5)
    ]
    assert seen == [
        [("warn", "firing")],
        [("crit", "firing")],
        [("crit", "resolved")],
        [("warn", "resolved")],
    ]
