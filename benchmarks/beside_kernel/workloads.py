"""The workloads that are monitored."""

from damon_demo.workload import AreaSpec, Pattern, Phase, Touch

MIB = 1 << 20
#: Longer than any run.
FOR_US = 600_000_000


def three_areas(sweep_us: int) -> Pattern:
    """Return three hot areas of 20 MiB in 400 MiB."""
    sizes = {"cold-1": 85, "hot-1": 20, "cold-2": 85, "hot-2": 20, "cold-3": 85, "hot-3": 20}
    return Pattern(
        areas=tuple(AreaSpec(name, size * MIB) for name, size in (sizes | {"cold-4": 85}).items()),
        phases=(Phase(tuple(name for name in sizes if name.startswith("hot")), FOR_US),),
        for_us=FOR_US,
        pause_us=sweep_us,
    )


def moving(sweep_us: int, hot_us: int) -> Pattern:
    """Return a hot 10 MiB that moves over 100 MiB."""
    return Pattern.moving(10 * MIB, 100 * MIB, hot_us, FOR_US, every_us=sweep_us)


def spinning() -> Pattern:
    """Return 16 MiB that are read without a pause, beside 48 MiB that are never read."""
    sizes = {"cold-1": 24, "hot": 16, "cold-2": 24}
    return Pattern(
        areas=tuple(AreaSpec(name, size * MIB) for name, size in sizes.items()),
        # Sweeps are counted for each phase.
        phases=(Phase((Touch("hot", every_us=0),), 1_000_000),),
        for_us=FOR_US,
    )


def scattered(sweep_us: int) -> Pattern:
    """Return 20 hot areas of 1 MiB, evenly in 400 MiB."""
    areas: list[AreaSpec] = []
    for number in range(20):
        areas += [AreaSpec(f"cold-{number}", 19 * MIB), AreaSpec(f"hot-{number}", MIB)]
    hot = tuple(area.name for area in areas if area.name.startswith("hot"))
    return Pattern(tuple(areas), (Phase(hot, FOR_US),), FOR_US, pause_us=sweep_us)


def needle(sweep_us: int) -> Pattern:
    """Return a hot area of 2 MiB in 800 MiB."""
    sizes = {"cold-1": 300, "hot": 2, "cold-2": 498}
    areas = tuple(AreaSpec(name, size * MIB) for name, size in sizes.items())
    return Pattern(areas, (Phase(("hot",), FOR_US),), FOR_US, pause_us=sweep_us)
