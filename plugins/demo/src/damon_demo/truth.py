"""The workload's true accesses, as it printed them: which bytes were hot when."""

import json
from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from damon_core import DamonError, Range
from damon_demo.workload import KINDS, Touch


@frozen
class AreaPlace:
    """The addresses of an area of the workload.

    Attributes:
        name: The area's name.
        start: The first address.
        end: The first address after the area.
        kind: The kind of memory, one of those of `AreaSpec`.
    """

    name: str
    start: int
    end: int
    kind: str = "anonymous"

    @property
    def size_bytes(self) -> int:
        """The size of the area."""
        return self.end - self.start


@frozen
class AccessedRange:
    """A range of memory whose pages are all accessed in the same way.

    Attributes:
        start: The first address.
        end: The first address after the range.
        every_us: Microseconds between two accesses of a page; 0 for accesses without a break.
        write: Whether the accesses are writes.
    """

    start: int
    end: int
    every_us: int
    write: bool

    def frequency(self, sampling_us: int) -> float:
        """Return the expected share of checks that find the pages accessed, 0 to 1."""
        return min(sampling_us / self.every_us, 1.0) if self.every_us else 1.0


@frozen
class PhaseRun:
    """A phase as it was carried out.

    Attributes:
        number: 1 for the first phase, then 2, 3, …
        unix_us: When the phase began, microseconds since 1970-01-01 UTC.
        boottime_us: The same on CLOCK_BOOTTIME.
        touches: How each hot area is touched until the next phase.
        sweeps: Number of sweeps by area; None while the phase lasts. Fewer sweeps than in
            another run mean that the workload was slowed down.
    """

    number: int
    unix_us: int
    boottime_us: int
    touches: tuple[Touch, ...]
    sweeps: Mapping[str, int] | None = None

    @property
    def hot(self) -> tuple[str, ...]:
        """The names of the hot areas."""
        return tuple(touch.area for touch in self.touches)


@frozen
class Truth:
    """The addresses of the workload's areas, and when they are hot; times in Unix microseconds.

    Attributes:
        pid: The workload's process.
        areas: The areas, the lowest address first.
        phases: The phases that have begun, in order.
        end_us: When the last phase ended; None while it lasts.
        children: The processes that do the same at the same addresses.
    """

    pid: int
    areas: tuple[AreaPlace, ...]
    phases: tuple[PhaseRun, ...] = ()
    end_us: int | None = None
    children: tuple[int, ...] = ()

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Truth":
        """Return the truth that the workload printed.

        Raises:
            DamonError: The lines aren't the output of the workload.
        """
        places: tuple[AreaPlace, ...] | None = None
        pid, end_us = 0, None
        children: tuple[int, ...] = ()
        phases: list[PhaseRun] = []
        try:
            for line in lines:
                event = json.loads(line)
                match event["event"]:
                    case "areas":
                        pid, children = event["pid"], tuple(event["children"])
                        found = [AreaPlace(**area) for area in event["areas"]]
                        places = tuple(sorted(found, key=lambda area: area.start))
                    case "phase":
                        phases.append(
                            PhaseRun(
                                number=event["number"],
                                unix_us=event["unix_us"],
                                boottime_us=event["boottime_us"],
                                touches=tuple(Touch(**touch) for touch in event["hot"]),
                            )
                        )
                    case "phase_end":
                        phases[-1] = evolve(phases[-1], sweeps=event["sweeps"])
                    case "end":
                        end_us = event["unix_us"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DamonError(f"the workload printed an unexpected line: {line!r}") from error
        if places is None:
            raise DamonError("the workload didn't print the addresses of its areas")
        return cls(pid, places, tuple(phases), end_us, children)

    def phase_at(self, time_us: int) -> PhaseRun | None:
        """Return the phase at a time; None before the first and after the end."""
        if self.end_us is not None and time_us >= self.end_us:
            return None
        begun = [phase for phase in self.phases if phase.unix_us <= time_us]
        return begun[-1] if begun else None

    def phase_throughout(self, begin_us: int, end_us: int) -> PhaseRun | None:
        """Return the phase that lasts for the whole time; None if the phase changes."""
        phase = self.phase_at(begin_us)
        return phase if phase == self.phase_at(end_us) else None

    def accessed(self, time_us: int) -> list[AccessedRange]:
        """Return the ranges that are accessed at a time, exact to the page, sorted by address."""
        phase = self.phase_at(time_us)
        touches = {touch.area: touch for touch in phase.touches} if phase is not None else {}
        return [
            AccessedRange(
                area.start + first * KINDS[area.kind],
                area.start + end * KINDS[area.kind],
                touches[area.name].every_us or 0,
                touches[area.name].write,
            )
            for area in self.areas
            if area.name in touches
            for first, end in touches[area.name].page_runs(area.size_bytes // KINDS[area.kind])
        ]

    def hot_ranges(self, time_us: int) -> list[Range]:
        """Return the addresses that are accessed at a time, the lowest first."""
        return [Range(each.start, each.end) for each in self.accessed(time_us)]

    def hot_bytes(self, time_us: int) -> int:
        """Return the number of hot bytes at a time."""
        return sum(end - start for start, end in self.hot_ranges(time_us))

    def cold_bytes(self, time_us: int) -> int:
        """Return the number of bytes of the areas that are not hot at a time."""
        return sum(area.size_bytes for area in self.areas) - self.hot_bytes(time_us)
