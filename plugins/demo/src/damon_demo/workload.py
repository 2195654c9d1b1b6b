"""A program whose memory accesses are known to the byte.

Run as ``python -m damon_demo.workload PATTERN.json`` (``-`` reads the pattern from the standard
input). A pattern names areas of memory and a schedule of phases, repeated to the end::

    {"areas": [{"name": "a", "size_bytes": 8388608}, {"name": "b", "size_bytes": 8388608}],
     "phases": [{"hot": ["a"], "duration_us": 4000000}, {"hot": ["b"], "duration_us": 4000000}],
     "for_us": 20000000}

Every area is a private anonymous mapping of its own, wholly resident from the start. In each
phase every page of its hot areas is read again and again; nothing touches the others. The
program prints one JSON line with where its areas lie, then one at the start of each phase and
one at its end; `damon_demo.truth` reads them. It ends after ``for_us`` or with its parent.

Only the standard library is imported, so that the process is small: what a monitor has to walk
is mostly the areas.
"""

import argparse
import ctypes
import itertools
import json
import mmap
import os
import pathlib
import sys
import time
from typing import Any, NamedTuple

#: A sweep over the hot areas takes well under a millisecond: most of the time the program sleeps.
DEFAULT_PAUSE_US = 5_000


class AreaSpec(NamedTuple):
    """One area of memory: its name and its size, a multiple of the page size."""

    name: str
    size_bytes: int


class Phase(NamedTuple):
    """Which areas are hot, and for how long."""

    hot: tuple[str, ...]
    duration_us: int


class Pattern(NamedTuple):
    """What the program does.

    Attributes:
        areas: Its areas.
        phases: Its phases, in order; after the last comes the first again.
        for_us: When it ends.
        pause_us: How long it sleeps between two sweeps over the hot areas.
    """

    areas: tuple[AreaSpec, ...]
    phases: tuple[Phase, ...]
    for_us: int
    pause_us: int = DEFAULT_PAUSE_US

    def to_json(self) -> str:
        """Return the pattern as the program reads it."""
        return json.dumps(
            {
                "areas": [area._asdict() for area in self.areas],
                "phases": [phase._asdict() for phase in self.phases],
                "for_us": self.for_us,
                "pause_us": self.pause_us,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Pattern":
        """Return the pattern that a JSON text describes.

        Raises:
            ValueError: It isn't JSON, lacks something, or can't be carried out.
        """
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("it must be an object with areas, phases and for_us")
        try:
            pattern = cls(
                areas=tuple(AreaSpec(**area) for area in data.pop("areas")),
                phases=tuple(
                    Phase(tuple(phase.pop("hot")), **phase) for phase in data.pop("phases")
                ),
                **data,
            )
        except KeyError as error:
            raise ValueError(f"{error} is missing") from error
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        pattern._check()
        return pattern

    def _check(self) -> None:
        names = [area.name for area in self.areas]
        if not names or len(set(names)) != len(names):
            raise ValueError("areas: at least one, each with a name of its own")
        for area in self.areas:
            if area.size_bytes < mmap.PAGESIZE or area.size_bytes % mmap.PAGESIZE:
                raise ValueError(
                    f"area '{area.name}': size_bytes must be a multiple of {mmap.PAGESIZE}"
                )
        if not self.phases:
            raise ValueError("phases: at least one")
        for phase in self.phases:
            unknown = set(phase.hot) - set(names)
            if unknown:
                raise ValueError(f"a phase is hot in '{unknown.pop()}', which is not an area")
            if phase.duration_us <= 0:
                raise ValueError("duration_us must be above 0")
        if self.pause_us < 0:
            raise ValueError("pause_us must not be below 0")


class Area:
    """Resident memory that is a mapping of its own, between two inaccessible pages.

    Without them the kernel would join neighbouring areas to one mapping.

    Args:
        spec: Its name and size.

    Attributes:
        name: Its name.
        start: Its first address.
        end: The first address behind it.
    """

    def __init__(self, spec: AreaSpec) -> None:
        guard = mmap.PAGESIZE
        self.name = spec.name
        self._memory = mmap.mmap(
            -1, spec.size_bytes + 2 * guard, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )
        # One referenced huge page would make 2 MiB look hot where the pattern is known by 4 KiB.
        self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._pages = slice(guard, guard + spec.size_bytes, mmap.PAGESIZE)
        self._memory[self._pages] = b"\x01" * (spec.size_bytes // mmap.PAGESIZE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.start = base + guard
        self.end = self.start + spec.size_bytes
        for address in (base, self.end):
            _make_inaccessible(address, guard)

    def touch(self) -> None:
        """Read a byte of every page."""
        self._memory[self._pages]


def _make_inaccessible(address: int, size_bytes: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    no_access = 0  # PROT_NONE
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), no_access) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def now_us(clock: int = time.CLOCK_BOOTTIME) -> int:
    """Return the time of a clock in microseconds."""
    return time.clock_gettime_ns(clock) // 1_000


def run(pattern: Pattern) -> None:
    """Carry out a pattern, telling the truth of it on the standard output."""
    parent = os.getppid()
    areas = [Area(spec) for spec in pattern.areas]
    _tell(
        "areas",
        pid=os.getpid(),
        areas=[{"name": area.name, "start": area.start, "end": area.end} for area in areas],
    )
    begin_us = phase_end_us = now_us()
    end_us = begin_us + pattern.for_us
    for number, phase in enumerate(itertools.cycle(pattern.phases), start=1):
        if phase_end_us >= end_us:
            break
        phase_end_us += phase.duration_us
        hot = [area for area in areas if area.name in phase.hot]
        _tell("phase", number=number, hot=list(phase.hot))
        while now_us() < min(phase_end_us, end_us):
            if os.getppid() != parent:
                return
            for area in hot:
                area.touch()
            time.sleep(pattern.pause_us / 1e6)
    _tell("end")


def _tell(event: str, **facts: Any) -> None:
    """Print one event as a JSON line, with the time."""
    times = {"boottime_us": now_us(), "unix_us": now_us(time.CLOCK_REALTIME)}
    print(json.dumps({"event": event, **times, **facts}), flush=True)  # noqa: T201


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="damon_demo.workload", description=__doc__)
    parser.add_argument("pattern", help="a file with the pattern as JSON; - for standard input")
    name = parser.parse_args().pattern
    try:
        pattern = Pattern.from_json(
            sys.stdin.read() if name == "-" else pathlib.Path(name).read_text(encoding="utf-8")
        )
    except (OSError, ValueError) as error:
        parser.error(f"{name}: {error}")
    try:
        run(pattern)
    except (BrokenPipeError, KeyboardInterrupt):
        # Nobody wants to know any more.
        os._exit(0)


if __name__ == "__main__":
    main()
