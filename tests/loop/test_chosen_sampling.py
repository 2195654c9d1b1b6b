"""Ways of sampling that a primitive chooses for its context."""

import pytest

from damon_core import (
    Context,
    DamonError,
    DelegatedSampling,
    HookContext,
    Intervals,
    PageSampling,
    PluginError,
    RegionPolicy,
    SamplingFactory,
    TargetError,
)


class Choosing:
    """Pages where checks are rare, otherwise what something else samples."""

    name = "choosing"

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.policies: list[RegionPolicy | None] = []

    def choose_sampling(self, context: HookContext, policy: RegionPolicy | None) -> SamplingFactory:
        """Return the way."""
        if self.fails is not None:
            raise self.fails
        self.policies.append(policy)
        return PageSampling if context.intervals.sampling_us > 50_000 else DelegatedSampling


@pytest.mark.parametrize(
    ("intervals", "policy"), [(Intervals(), ""), (Intervals(100_000, 2_000_000), "evidence")]
)
def test_it_may_depend_on_the_intervals(intervals: Intervals, policy: str) -> None:
    """The policy is only named where it takes part."""
    assert Context(Choosing(), intervals=intervals).policy_name == policy


def test_it_is_chosen_once() -> None:
    """When the context is made, which was given no policy."""
    primitive = Choosing()
    Context(primitive)
    assert primitive.policies == [None]


@pytest.mark.parametrize(
    ("fails", "error", "text"),
    [
        (TargetError("pid 1", "it isn't there"), TargetError, "it isn't there"),
        (ValueError("oops"), PluginError, "its method 'choose_sampling' fails: .*oops"),
    ],
)
def test_a_failure_is_of_the_primitive(
    fails: Exception, error: type[DamonError], text: str
) -> None:
    """What it raises on purpose is passed on."""
    with pytest.raises(error, match=text):
        Context(Choosing(fails))


def test_something_else_is_refused() -> None:
    """The message names the method."""

    class Wrong:
        name = "wrong"

        def choose_sampling(self, _context: HookContext, _policy: object) -> str:
            return "pages"

    with pytest.raises(PluginError, match="'choose_sampling' must return a way of sampling"):
        Context(Wrong())
