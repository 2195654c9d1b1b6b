"""What the workload really did, as it told itself: which bytes were hot when."""

import json
from collections.abc import Iterable

from attrs import frozen

from damon_core import DamonError, Range


@frozen
class AreaPlace:
    """Where an area of the workload lies.

    Attributes:
        name: Its name.
        start: Its first address.
        end: The first address behind it.
    """

    name: str
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Its size in bytes."""
        return self.end - self.start


@frozen
class PhaseStart:
    """The beginning of a phase.

    Attributes:
        number: 1 for the first, then 2, 3, …
        unix_us: When it began, microseconds since 1970-01-01 UTC.
        boottime_us: The same on CLOCK_BOOTTIME.
        hot: Names of the areas that are hot until the next phase.
    """

    number: int
    unix_us: int
    boottime_us: int
    hot: tuple[str, ...]


@frozen
class Truth:
    """Where the workload's areas lie and which of them are hot when; times in Unix microseconds.

    Attributes:
        pid: The workload's process.
        areas: Its areas, the lowest address first.
        phases: The phases that have begun, in order.
        end_us: When the last phase ended; None while it goes on.
    """

    pid: int
    areas: tuple[AreaPlace, ...]
    phases: tuple[PhaseStart, ...] = ()
    end_us: int | None = None

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Truth":
        """Return the truth that the workload printed.

        Raises:
            DamonError: The lines aren't the output of the workload.
        """
        places: tuple[AreaPlace, ...] | None = None
        pid, phases, end_us = 0, [], None
        try:
            for line in lines:
                event = json.loads(line)
                match event["event"]:
                    case "areas":
                        pid = event["pid"]
                        found = [AreaPlace(**area) for area in event["areas"]]
                        places = tuple(sorted(found, key=lambda area: area.start))
                    case "phase":
                        phases.append(
                            PhaseStart(
                                number=event["number"],
                                unix_us=event["unix_us"],
                                boottime_us=event["boottime_us"],
                                hot=tuple(event["hot"]),
                            )
                        )
                    case "end":
                        end_us = event["unix_us"]
        except (ValueError, KeyError, TypeError) as error:
            raise DamonError(f"the workload printed what isn't a line of its: {line!r}") from error
        if places is None:
            raise DamonError("the workload didn't tell where its areas lie")
        return cls(pid, places, tuple(phases), end_us)

    def phase_at(self, time_us: int) -> PhaseStart | None:
        """Return the phase at a time; None before the first and after the end."""
        if self.end_us is not None and time_us >= self.end_us:
            return None
        begun = [phase for phase in self.phases if phase.unix_us <= time_us]
        return begun[-1] if begun else None

    def phase_throughout(self, begin_us: int, end_us: int) -> PhaseStart | None:
        """Return the phase that fills the whole time between; None if it changed."""
        phase = self.phase_at(begin_us)
        return phase if phase == self.phase_at(end_us) else None

    def hot_ranges(self, time_us: int) -> list[Range]:
        """Return the addresses that are hot at a time, the lowest first."""
        phase = self.phase_at(time_us)
        hot = phase.hot if phase is not None else ()
        return [Range(area.start, area.end) for area in self.areas if area.name in hot]

    def hot_bytes(self, time_us: int) -> int:
        """Return how many bytes are hot at a time."""
        return sum(end - start for start, end in self.hot_ranges(time_us))

    def cold_bytes(self, time_us: int) -> int:
        """Return how many bytes of the areas are not hot at a time."""
        return sum(area.size_bytes for area in self.areas) - self.hot_bytes(time_us)
