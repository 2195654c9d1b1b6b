"""The goal of a context in the kernel's terms."""

from damon_sysfs.goals import GoalKeeper, KernelGoal, tuned_to

from damon_core import Intervals, IntervalsGoal, Regions

GOAL = IntervalsGoal()


def memory(resident: float) -> list[Regions]:
    """Return regions of 1 GiB, of which a share is there."""
    regions = Regions([0, 1 << 29], [1 << 29, 1 << 30])
    regions.resident_bytes = (regions.resident_bytes * resident).astype(int)
    return [regions]


def test_its_share_is_that_of_the_memory_which_is_there() -> None:
    """4 % of a quarter are 1 % of what the kernel counts."""
    assert GoalKeeper().goal(GOAL, memory(1)) == KernelGoal(400, 3, 5_000, 10_000_000)
    assert GoalKeeper().goal(GOAL, memory(0.25)) == KernelGoal(100, 3, 5_000, 10_000_000)


def test_small_changes_change_no_goal() -> None:
    """Each change is a commit."""
    keeper = GoalKeeper()
    first = keeper.goal(GOAL, memory(0.5))
    assert keeper.goal(GOAL, memory(0.55)) == first
    assert keeper.goal(GOAL, memory(0.9)) != first


def test_what_the_kernel_cannot_express_is_no_goal() -> None:
    """Less than a ten-thousandth of what is mapped is there."""
    assert GoalKeeper().goal(GOAL, memory(0.0005)) is None
    assert GoalKeeper().goal(None, memory(1)) is None


def test_the_interval_in_force_is_in_range() -> None:
    """The kernel refuses others."""
    files = KernelGoal(400, 3, 5_000, 10_000).files(20_000)
    assert [value for path, value in files.items() if "max" in path] == ["20000"]


def test_tuned_intervals_have_as_many_checks() -> None:
    """As the kernel has it, which rounds down."""
    assert tuned_to(Intervals(7_000, 100_000), 10_000) == Intervals(10_000, 140_000)
