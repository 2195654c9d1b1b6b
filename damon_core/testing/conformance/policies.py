"""The rules of policies: regions of several shapes are sampled, merged, split and aged by them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from damon_core.attributes import RegionLimits
from damon_core.contract.policy import RegionPolicy
from damon_core.memory.regions import PAGE_SIZE_BYTES, Range, Regions
from damon_core.memory.target import Target
from damon_core.testing.conformance.parts import part_rules, process_rules
from damon_core.testing.conformance.process import assert_nothing_left, holdings
from damon_core.testing.conformance.rules import Rule, Subject

PAGE = PAGE_SIZE_BYTES
_METHODS = ("begin", "set_limits", "choose", "observe", "aggregate", "adapt")
_LIMITS = RegionLimits(10, 100)
_CHECKS = 5
_AGGREGATION_US = 100_000
_SEED = 1

#: Address spaces of targets, as pages: a small one, one with a gap, one of 1 TiB, single pages.
_SPACES: dict[str, list[list[tuple[int, int]]]] = {
    "one page": [[(0, 1)]],
    "a small target": [[(16, 80)]],
    "a target with gaps": [[(0, 100), (200, 1_000), (5_000, 5_001)]],
    "1 TiB": [[(0, 1 << 28)]],
    "three targets": [[(0, 64)], [(0, 1_000)], [(7, 9), (1 << 20, 1 << 21)]],
}


class _Script:
    """Calls a policy as a context's worker does, over memory of which the first half is hot.

    Args:
        policy: The policy.
        spaces: The address space of each target, as pages.
        limits: The limits.
        regions: How many regions the primitive begins with, in each range of a target; evenly
            within the limits by default.
    """

    def __init__(
        self,
        policy: RegionPolicy,
        spaces: Sequence[Sequence[tuple[int, int]]],
        limits: RegionLimits = _LIMITS,
        regions: int = 0,
    ) -> None:
        self.policy = policy
        self.limits = limits
        self.targets = [
            Target(f"target{number}", _table(space, limits, regions))
            for number, space in enumerate(spaces)
        ]
        self._rng = np.random.default_rng(_SEED)
        self._last_checks = 1
        self.idle = False  # whether nothing is accessed

    def begin(self) -> None:
        """Begin a run."""
        self.policy.begin(self.limits)

    def aggregation(self) -> None:
        """Run an aggregation, and look at everything that the policy leaves.

        Raises:
            AssertionError: Something is wrong; the message says what.
        """
        for _ in range(_CHECKS):
            spaces = self._covered()
            self.policy.choose(self.targets)
            self._check_samples()
            for target in self.targets:
                self.look(target)
            self.policy.observe(self.targets)
            self._check_tables("observe", spaces)
        for target in self.targets:
            target.regions.rescale_accesses(self._last_checks, _CHECKS)
        self._last_checks = _CHECKS
        spaces, most = self._covered(), self._most()
        ages = [_by_page(target, "age") for target in self.targets]
        idle = [_by_page(target, "idle_us") for target in self.targets]
        self.policy.aggregate(self.targets, _CHECKS, _AGGREGATION_US)
        self._check_tables("aggregate", spaces)
        self._check_count("aggregate", most)
        self._check_results(ages, idle)
        for target in self.targets:
            target.regions.reset_aggregated()
        spaces, most = self._covered(), self._most()
        self.policy.adapt(self.targets)
        self._check_tables("adapt", spaces)
        self._check_count("adapt", most)

    def state(self) -> list[list[list[float]]]:
        """Return the columns of all regions."""
        names = ("start", "end", "age", "idle_us", "nr_accesses")
        return [
            [getattr(target.regions, name).tolist() for name in names] for target in self.targets
        ]

    def count(self) -> int:
        """Return the number of regions of all targets."""
        return sum(len(target.regions) for target in self.targets)

    def _covered(self) -> list[list[tuple[int, int]]]:
        return [_joined(target.regions) for target in self.targets]

    def _most(self) -> int:
        return max(self.limits.max_regions, self.count())

    def look(self, target: Target) -> None:
        """Say which samples of a target were accessed."""
        samples = target.samples
        if samples is None or not len(target.regions) or self.idle:
            return
        middle = int(target.regions.end[-1]) // 2
        rates = np.where(samples.addresses < middle, 0.9, 0.05)
        samples.accessed[:] = self._rng.random(len(samples.addresses)) < rates

    def _check_samples(self) -> None:
        for target in self.targets:
            samples, regions = target.samples, target.regions
            if samples is None:
                raise AssertionError(f"choose left no samples for '{target.name}'")
            addresses = samples.addresses
            if np.any(np.diff(addresses) < 0):
                raise AssertionError("choose: the samples aren't ascending")
            if np.any(addresses % PAGE):
                raise AssertionError("choose: a sample isn't the address of a page")
            if np.any(_row_of(regions, addresses) < 0):
                raise AssertionError("choose: a sample is outside all regions")

    def _check_tables(self, method: str, spaces: list[list[tuple[int, int]]]) -> None:
        for target, space in zip(self.targets, spaces, strict=True):
            regions = target.regions
            if np.any(regions.start >= regions.end) or np.any(regions.end[:-1] > regions.start[1:]):
                raise AssertionError(f"{method}: regions are empty, overlap or aren't ascending")
            if np.any(regions.start % PAGE) or np.any(regions.end % PAGE):
                raise AssertionError(f"{method}: a region isn't of whole pages")
            if _joined(regions) != space:
                raise AssertionError(
                    f"{method}: the regions of '{target.name}' cover {_size(_joined(regions))} "
                    f"bytes where the target has {_size(space)}, or others"
                )

    def _check_count(self, method: str, most: int) -> None:
        if self.count() > most:
            raise AssertionError(
                f"{method}: {self.count()} regions, more than max_regions ({most})"
            )

    def _check_results(self, ages: list[dict[int, int]], idle: list[dict[int, int]]) -> None:
        for target, age, idle_us in zip(self.targets, ages, idle, strict=True):
            regions = target.regions
            counts = regions.nr_accesses
            if np.any(counts < 0) or np.any(counts > _CHECKS) or not np.all(np.isfinite(counts)):
                raise AssertionError(
                    f"aggregate: nr_accesses from {counts.min()} to {counts.max()} "
                    f"of {_CHECKS} checks"
                )
            for name, before, step in (("age", age, 1), ("idle_us", idle_us, _AGGREGATION_US)):
                column = getattr(regions, name)
                if np.any(column < 0):
                    raise AssertionError(f"aggregate: {name} is below 0")
                oldest = max(before.values(), default=0) + step
                if len(column) and column.max() > oldest:
                    raise AssertionError(
                        f"aggregate: {name} grew to {column.max()} in an aggregation of {step}, "
                        f"from at most {oldest - step}"
                    )


def _table(space: Sequence[tuple[int, int]], limits: RegionLimits, regions: int) -> Regions:
    ranges = [Range(start * PAGE, end * PAGE) for start, end in space]
    if not regions:
        return Regions.evenly(ranges, limits)
    starts = [
        each.start + number * (each.end - each.start) // regions // PAGE * PAGE
        for each in ranges
        for number in range(regions)
    ]
    ends = [*starts[1:], ranges[-1].end]
    return Regions(starts, ends)


def _joined(regions: Regions) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in zip(regions.start.tolist(), regions.end.tolist(), strict=True):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _size(space: Sequence[tuple[int, int]]) -> int:
    return sum(end - start for start, end in space)


def _by_page(target: Target, column: str) -> dict[int, int]:
    starts = target.regions.start.tolist()
    return dict(zip(starts, getattr(target.regions, column).tolist(), strict=True))


def _row_of(regions: Regions, addresses: Any) -> Any:
    """Return the row of the region of each address; -1 where there is none."""
    rows = np.searchsorted(regions.start, addresses, side="right") - 1
    if not len(regions):
        return np.full(len(addresses), -1)
    inside = (rows >= 0) & (addresses < regions.end[np.maximum(rows, 0)])
    return np.where(inside, rows, -1)


def _has_methods(subject: Subject) -> None:
    policy = subject.make()
    missing = [name for name in _METHODS if not callable(getattr(policy, name, None))]
    assert not missing, f"it has no method {', '.join(missing)}"


def _use(subject: Subject, written: Mapping[str, Any]) -> None:
    _run(subject.make(written), _SPACES["three targets"])


def _run(
    policy: RegionPolicy,
    spaces: Sequence[Sequence[tuple[int, int]]],
    aggregations: int = 4,
    limits: RegionLimits = _LIMITS,
    regions: int = 0,
) -> _Script:
    script = _Script(policy, spaces, limits, regions)
    script.begin()
    for _ in range(aggregations):
        script.aggregation()
    return script


def _adapts_every_shape(subject: Subject) -> None:
    for where, spaces in _SPACES.items():
        _somewhere(where, lambda spaces=spaces: _run(subject.make(), spaces, 8))  # type: ignore[misc]


def _somewhere(where: str, body: Callable[[], object]) -> None:
    try:
        body()
    except Exception as error:
        text = str(error) if isinstance(error, AssertionError) else repr(error)
        raise AssertionError(f"{where}: {text}") from error


def _takes_nothing(subject: Subject) -> None:
    _somewhere("no targets", lambda: _run(subject.make(), []))
    _somewhere("a target without regions", lambda: _run(subject.make(), [[], [(0, 64)]]))


def _takes_many(subject: Subject) -> None:
    limits = RegionLimits(10, 1_000)
    _somewhere(
        "1,000 regions",
        lambda: _run(subject.make(), [[(0, 1 << 20)]], 3, limits, regions=1_000),
    )


def _keeps_limits(subject: Subject) -> None:
    for limits in (RegionLimits(1, 1), RegionLimits(3, 5), RegionLimits(50, 60)):
        _somewhere(
            f"{limits.min_regions} to {limits.max_regions} regions",
            lambda limits=limits: _run(subject.make(), [[(0, 1_000)]], 6, limits),  # type: ignore[misc]
        )


def _follows_other_limits(subject: Subject) -> None:
    script = _run(subject.make(), [[(0, 10_000)]], 4)
    script.limits = RegionLimits(3, 8)
    script.policy.set_limits(script.limits)
    for _ in range(12):
        script.aggregation()
    assert script.count() <= 8, (
        f"{script.count()} regions 12 aggregations after max_regions became 8"
    )


def _begins_anew(subject: Subject) -> None:
    """A second run is the same as the first of another object, but for what is random."""
    policy = subject.make()
    _run(policy, _SPACES["three targets"])
    _somewhere("a second run, of other targets", lambda: _run(policy, _SPACES["1 TiB"]))
    _somewhere("a third one, of no targets", lambda: _run(policy, []))


def _follows_updates(subject: Subject) -> None:
    script = _run(subject.make(), [[(0, 1_000)], [(0, 100)]], 2)

    def update() -> None:
        script.targets[0].regions = _table([(500, 3_000), (9_000, 9_001)], _LIMITS, 0)
        script.aggregation()
        del script.targets[0]
        script.aggregation()
        script.targets.append(Target("new", _table([(3, 700)], _LIMITS, 0)))
        script.aggregation()
        script.targets[-1].regions = Regions()
        script.aggregation()
        script.targets.clear()
        script.aggregation()

    _somewhere("targets come, go, grow and shrink", update)


def _follows_updates_between_calls(subject: Subject) -> None:
    """An update comes between two checks, so samples and regions needn't fit."""
    script = _run(subject.make(), [[(0, 1_000)]], 2)

    def between() -> None:
        script.policy.choose(script.targets)
        for target in script.targets:
            script.look(target)
        script.targets[0].regions = _table([(2_000, 2_050)], _LIMITS, 0)
        script.policy.observe(script.targets)
        script.targets[0].regions = _table([(10, 4_000)], _LIMITS, 0)
        script.aggregation()

    _somewhere("regions are replaced between choose and observe", between)


def _is_independent(subject: Subject) -> None:
    written = subject.written()
    alone, first, second = (subject.make(written) for _ in range(3))
    assert first is not second, "the factory returned the same object twice"
    spaces = _SPACES["a target with gaps"]
    one, other = _Script(first, spaces), _Script(second, _SPACES["three targets"])
    one.begin()
    other.begin()
    for _ in range(4):
        one.aggregation()
        other.aggregation()
    single = _run(alone, spaces)
    if _is_repeatable(subject, written):
        assert one.state() == single.state(), (
            "a second object at work beside it changes its results"
        )


def _is_repeatable(subject: Subject, written: Any) -> bool:
    runs = [_run(subject.make(written), _SPACES["a target with gaps"]).state() for _ in range(2)]
    return runs[0] == runs[1]


def _ages(subject: Subject) -> None:
    """Memory that is never accessed gets older and stays idle."""
    script = _Script(subject.make(), [[(0, 1_000)]])
    script.idle = True
    script.begin()
    for _ in range(6):
        script.aggregation()
    regions = script.targets[0].regions
    assert regions.age.max() >= 3, (
        f"after 6 aggregations alike the oldest has age {max(regions.age)}"
    )
    assert np.all(regions.idle_us >= 3 * _AGGREGATION_US), (
        f"after 6 aggregations without an access idle_us is {regions.idle_us.min()}"
    )


def _leaves_nothing_behind(subject: Subject) -> None:
    _run(subject.make(), _SPACES["three targets"])
    before = holdings()
    _run(subject.make(), _SPACES["three targets"])
    assert_nothing_left(before, subject.grace_s)


#: In the order in which they are checked: what changes the process is seen first.
POLICY_RULES = (
    *process_rules(_use),
    *part_rules(),
    Rule("methods", f"It has the methods {', '.join(_METHODS)}.", _has_methods),
    Rule(
        "every-shape",
        "It covers the targets' bytes, samples within regions, counts up to the checks, and ages "
        "by what has passed, whatever the address space.",
        _adapts_every_shape,
    ),
    Rule("nothing-there", "It takes no targets, and targets without regions.", _takes_nothing),
    Rule("thousand-regions", "It takes a thousand regions.", _takes_many),
    Rule("limits-kept", "It never makes more than max_regions regions.", _keeps_limits),
    Rule(
        "limits-change",
        "It follows limits that change during a run.",
        _follows_other_limits,
    ),
    Rule("begins-anew", "With begin it forgets all of the run before.", _begins_anew),
    Rule(
        "follows-updates",
        "It takes targets that come and go, and regions that an update has replaced.",
        _follows_updates,
    ),
    Rule(
        "updates-between-calls",
        "It takes regions that are replaced between any two calls.",
        _follows_updates_between_calls,
    ),
    Rule("ages", "Memory without accesses gets older, and idle for longer.", _ages),
    Rule(
        "several-contexts",
        "Two of its objects serve two contexts at once, each by itself.",
        _is_independent,
    ),
    Rule(
        "nothing-left",
        "After a run no descriptor, thread or program of it is left.",
        _leaves_nothing_behind,
    ),
)
