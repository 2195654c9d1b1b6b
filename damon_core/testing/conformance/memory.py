"""Memory of many shapes, over which callbacks and policies are tried."""

from collections.abc import Callable

from damon_core.contract.context import HookContext
from damon_core.hookspecs import hookimpl
from damon_core.memory.idle import IdleAges
from damon_core.memory.regions import PAGE_SIZE_BYTES, Regions
from damon_core.memory.target import Area, Owner, Target, Toll
from damon_core.testing.parts import ScriptedMemory, ScriptedRegion

PAGE = PAGE_SIZE_BYTES
MIB = 1 << 20
#: The most regions that parts are tried with.
MANY = 1_000
#: Names of targets that people and programs do have, which no format of text takes as they are.
ODD_NAMES = (
    'a "quoted" name',
    "comma, semicolon; and {braces}",
    "back\\slash",
    "ünïcödé \U0001f9e0",
    "../../up",
    "<b>&amp;",
    "%s %(name)s",
    "a  b ",
)


def regions_of(count: int, size_bytes: int = 16 * PAGE) -> list[ScriptedRegion]:
    """Return regions of one size with a gap between any two, each a little hotter than the last."""
    return [
        ScriptedRegion(2 * number * size_bytes, (2 * number + 1) * size_bytes, (number % 11) / 10)
        for number in range(count)
    ]


def one_region() -> ScriptedMemory:
    """Return memory of one target with one region."""
    return ScriptedMemory({"process": [ScriptedRegion(MIB, 3 * MIB, heat=1.0)]})


def only_empty() -> ScriptedMemory:
    """Return memory of one target, without regions."""
    return ScriptedMemory({"empty": []})


def no_targets() -> ScriptedMemory:
    """Return memory of no target."""
    return ScriptedMemory({})


def many_regions() -> ScriptedMemory:
    """Return memory of one target with a thousand regions."""
    return ScriptedMemory({"process": regions_of(MANY)})


def odd_names() -> ScriptedMemory:
    """Return memory whose targets, areas and owners are called in every way."""
    return ScriptedMemory(
        {name: regions_of(2) for name in ODD_NAMES},
        areas={name: [Area(0, MIB, name)] for name in ODD_NAMES},
        owners={name: [Owner("cgroup", name, MIB, PAGE, PAGE)] for name in ODD_NAMES},
    )


def all_known() -> ScriptedMemory:
    """Return memory of which everything is known that a snapshot can have."""
    regions = [
        ScriptedRegion(0, 4 * MIB, 1.0, 3 * MIB, 2 * MIB, MIB),
        ScriptedRegion(8 * MIB, 16 * MIB, 0.0, 0, 0, 0),
        ScriptedRegion(1 << 46, (1 << 46) + PAGE, 0.25, PAGE, PAGE, 0),
    ]
    return ScriptedMemory(
        {"process": regions, "other": regions},
        areas={"process": [Area(0, 4 * MIB, "[heap]"), Area(8 * MIB, 16 * MIB, "/lib/x.so")]},
        owners={"process": [Owner("cgroup", "/a.slice", 3 * MIB, 2 * MIB, MIB)]},
        tolls={"process": Toll(100, 20, 10)},
        idle_ages={"process": IdleAges()},
    )


class ChangingMemory:
    """A primitive whose targets come, go, grow and shrink in every update."""

    name = "changing"

    def __init__(self) -> None:
        self._updates = 0

    @hookimpl
    def init(self, context: HookContext) -> None:
        """Build the first targets."""
        self._updates = 0
        context.targets.extend(self._target(number, 2) for number in range(2))

    @hookimpl
    def update(self, context: HookContext) -> None:
        """Let the oldest target go and two come, or all go; change the regions of the others."""
        self._updates += 1
        if self._updates % 4 == 0:
            context.targets.clear()
            return
        del context.targets[:1]
        for target in context.targets:
            target.regions = self._target(0, self._updates).regions
        first = 2 * self._updates
        context.targets.extend(self._target(first + number, number) for number in range(2))

    @hookimpl
    def check_accesses(self, context: HookContext) -> None:
        """Let everything be accessed in every other check."""
        for target in context.targets:
            target.regions.nr_accesses += context.stats.samples % 2

    @staticmethod
    def _target(number: int, count: int) -> Target:
        regions = regions_of(count)
        table = Regions([each.start for each in regions], [each.end for each in regions])
        target = Target(f"process[{number}]", table)
        target.labels = {"unit": f"{number}.service"}
        return target


#: Every shape of memory by what it is called.
SHAPES: dict[str, Callable[[], object]] = {
    "no targets": no_targets,
    "a target without regions": only_empty,
    "one region": one_region,
    "1,000 regions": many_regions,
    "targets that come and go": ChangingMemory,
}
