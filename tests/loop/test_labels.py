"""What targets are known by besides their names: labels of primitives, callbacks and people."""

from __future__ import annotations

import pytest

from damon_core import AttributeValueError, Context, Regions, Target, hookimpl
from damon_core.testing import Recorder, run_virtual


class Labelled:
    """A primitive with a target that has a label."""

    name = "labelled"

    @hookimpl
    def init(self, context: Context) -> None:
        context.targets.append(Target("a", Regions([0], [4096])))
        context.targets[0].labels = {"unit": "a.service"}


def label(context: Context) -> None:
    """Add a label to each target, as packages do."""
    for target in context.targets:
        target.labels = {**target.labels, "rack": "7"}


def last_labels(context: Context) -> list[dict[str, str]]:
    """Return the labels of the targets of the last snapshot."""
    assert context.snapshot is not None
    return [dict(target.labels) for target in context.snapshot.targets]


def test_a_snapshot_has_the_labels_of_the_primitive() -> None:
    """What the primitive knows of a target stands in each snapshot."""
    context = run_virtual(Labelled(), aggregations=1)
    assert last_labels(context) == [{"unit": "a.service"}]


def test_callbacks_add_labels() -> None:
    """What a package knows is added before the first snapshot."""
    context = run_virtual(Labelled(), Recorder(label_targets=label), aggregations=1)
    assert last_labels(context) == [{"unit": "a.service", "rack": "7"}]


def test_labels_of_ones_own_win() -> None:
    """Those that a context was given are those of every target, whatever parts say."""
    own = {"rack": "8", "team": "db"}
    context = run_virtual(Labelled(), Recorder(label_targets=label), aggregations=1, labels=own)
    assert last_labels(context) == [{"unit": "a.service", "rack": "8", "team": "db"}]


def test_nobody_is_asked_while_targets_stay() -> None:
    """Callbacks are asked about new targets only."""
    recorder = Recorder()
    run_virtual(Labelled(), recorder, aggregations=3)
    assert recorder.events.count("label_targets") == 1


def test_a_target_that_is_labelled_anew() -> None:
    """Callbacks are asked again when the primitive has changed labels, as after a rename."""

    def rename(context: Context) -> None:
        if context.snapshot.number == 1:  # type: ignore[union-attr]
            context.targets[0].labels = {"unit": "b.service"}

    recorder = Recorder(label_targets=label, after_aggregation=rename)
    context = run_virtual(Labelled(), recorder, aggregations=2)
    assert last_labels(context) == [{"unit": "b.service", "rack": "7"}]


def test_a_new_target_is_labelled() -> None:
    """One that comes later has the labels of its first snapshot at once."""

    def come(context: Context) -> None:
        if context.snapshot.number == 1:  # type: ignore[union-attr]
            context.targets.append(Target("b", Regions([0], [4096])))

    recorder = Recorder(label_targets=label, after_aggregation=come)
    context = run_virtual(Labelled(), recorder, aggregations=2)
    assert last_labels(context)[1] == {"rack": "7"}


def test_labels_cannot_be_changed_in_place() -> None:
    """Snapshots share them with targets."""
    target = Target("a")
    target.labels = {"unit": "a.service"}
    with pytest.raises(TypeError):
        target.labels["unit"] = "b.service"


def test_empty_labels_are_left_out() -> None:
    """What isn't known has no label."""
    target = Target("a")
    target.labels = {"unit": "", "comm": "x"}
    assert dict(target.labels) == {"comm": "x"}


@pytest.mark.parametrize("labels", [{"a-b": "x"}, {"": "x"}, {"7up": "x"}, {"a": "x\n"}, {"a": 1}])
def test_what_is_not_a_label(labels: dict[str, str]) -> None:
    """Names are those that every output can have, and values are printable."""
    with pytest.raises(AttributeValueError, match=r"^labels"):
        Target("a").labels = labels
