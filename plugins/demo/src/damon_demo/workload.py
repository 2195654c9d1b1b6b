"""A program whose memory accesses are known to the byte.

Run it as ``python -m damon_demo PATTERN.json`` (``-`` reads the pattern from the standard
input). A pattern names areas of memory and a schedule of phases, which is repeated to the end::

    {"areas": [{"name": "a", "size_bytes": 8388608},
               {"name": "b", "size_bytes": 8388608, "kind": "file"}],
     "phases": [{"hot": ["a"], "duration_us": 4000000},
                {"hot": [{"area": "b", "share": 0.5, "every_us": 20000}], "duration_us": 4000000}],
     "for_us": 20000000}

Every area is a separate mapping, wholly resident from the start. In each phase the pages of its
hot areas are read or written again and again; nothing touches the others. The program prints one
JSON line with the addresses of its areas, then one at the start of each phase, one at the end of
each phase with the number of its sweeps, and one at the end of the program; `damon_demo.truth`
reads them. The program ends after ``for_us``, or with its parent.

The program imports only the standard library, so that the process is small and its memory
consists mostly of the areas.
"""

import argparse
import ctypes
import itertools
import json
import math
import mmap
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

#: A sweep over the hot areas takes well under a millisecond: most of the time the program sleeps.
DEFAULT_PAUSE_US = 5_000
HUGE_PAGE_BYTES = 2 << 20
#: The kinds of areas, and the size of their pages.
KINDS = {
    "anonymous": mmap.PAGESIZE,
    "file": mmap.PAGESIZE,
    "shared": mmap.PAGESIZE,
    "thp": HUGE_PAGE_BYTES,
    "hugetlb": HUGE_PAGE_BYTES,
}

#: How often the program checks whether its parent still runs; no sleep is longer.
_LOOK_AT_PARENT_US = 100_000
#: Huge pages of 2 MiB, whichever size is the system's default; Python has no names for these.
_MAP_HUGETLB_2MB = 0x40000 | 21 << 26


class AreaSpec(NamedTuple):
    """One area of memory.

    Attributes:
        name: The area's name.
        size_bytes: The area's size, a multiple of its kind's page size.
        kind: ``anonymous``: private memory in small pages. ``file``: a private mapping of an
            unlinked temporary file, all of it in the page cache; the first write to a page makes
            a private copy of it. ``shared``: anonymous memory that children share. ``thp``:
            private memory in transparent huge pages. ``hugetlb``: shared memory in huge pages
            that the administrator reserved.
    """

    name: str
    size_bytes: int
    kind: str = "anonymous"

    @property
    def pages(self) -> int:
        """The number of pages."""
        return self.size_bytes // KINDS[self.kind]


class Touch(NamedTuple):
    """How an area is touched in a phase.

    Attributes:
        area: The area's name.
        share: The share of the area's pages that is touched, above 0 to 1.
        begin: Where the touched pages begin, as a share of the area. Of n pages, those from
            ``round(begin * n)`` to before ``round((begin + share) * n)`` are touched.
        scattered: Whether evenly scattered pages are touched instead: of
            ``m = round(share * n)`` the pages ``i * n // m`` for i from 0 to m - 1.
        every_us: Microseconds from the start of one sweep over these pages to the start of the
            next; None for the pattern's pause. 0 spins: sweep follows sweep and the program never
            sleeps, so that no switch to another program empties the TLB.
        write: Whether the pages are written instead of read.
    """

    area: str
    share: float = 1.0
    begin: float = 0.0
    scattered: bool = False
    every_us: int | None = None
    write: bool = False

    def page_runs(self, pages: int) -> list[tuple[int, int]]:
        """Return the touched pages of an area, as pairs of a first page and an end."""
        if not self.scattered:
            return [(round(self.begin * pages), round((self.begin + self.share) * pages))]
        runs: list[tuple[int, int]] = []
        for page in self._scattered_pages(pages):
            first = runs.pop()[0] if runs and runs[-1][1] == page else page
            runs.append((first, page + 1))
        return runs

    def _scattered_pages(self, pages: int) -> list[int]:
        count = round(self.share * pages)
        return [number * pages // count for number in range(count)]

    def byte_slices(self, size_bytes: int, page_bytes: int) -> list[slice]:
        """Return slices of an area with one byte of each small page that is touched.

        Adjacent pages, and pages at equal distances, share one slice.
        """
        pages, step = size_bytes // page_bytes, mmap.PAGESIZE
        if self.scattered and page_bytes == step:
            scattered = self._scattered_pages(pages)
            # The distances between the pages repeat with this number of periods.
            periods = math.gcd(len(scattered), pages)
            firsts = scattered[: len(scattered) // periods]
            return [slice(page * step, size_bytes, pages // periods * step) for page in firsts]
        return [
            slice(first * page_bytes, end * page_bytes, step)
            for first, end in self.page_runs(pages)
        ]


class Phase(NamedTuple):
    """Which areas are hot, and for how long.

    Attributes:
        hot: How each hot area is touched; a name alone is ``Touch(name)``.
        duration_us: How long the phase lasts.
    """

    hot: tuple[str | Touch, ...]
    duration_us: int

    @property
    def touches(self) -> tuple[Touch, ...]:
        """The touch of each hot area; a name alone becomes ``Touch(name)``."""
        return tuple(Touch(hot) if isinstance(hot, str) else hot for hot in self.hot)


class Pattern(NamedTuple):
    """The areas and phases that the program carries out.

    Attributes:
        areas: The areas.
        phases: The phases in order; after the last one the first follows again.
        for_us: How long the program runs.
        pause_us: The `every_us` of touches without one.
        children: Number of forked children that do the same with the same areas.
    """

    areas: tuple[AreaSpec, ...]
    phases: tuple[Phase, ...]
    for_us: int
    pause_us: int = DEFAULT_PAUSE_US
    children: int = 0

    @classmethod
    def moving(
        cls,
        hot_bytes: int,
        size_bytes: int,
        duration_us: int,
        for_us: int,
        *,
        kind: str = "anonymous",
        every_us: int | None = None,
        write: bool = False,
    ) -> "Pattern":
        """Return a pattern of one area, ``moving``, whose parts are hot in turn.

        Args:
            hot_bytes: The size of a part, in whole pages.
            size_bytes: The size of the area, in whole parts.
            duration_us: How long each part is hot.
            for_us: How long the program runs.
            kind: The kind of the area.
            every_us: Microseconds from sweep to sweep; None for the default pause.
            write: Whether the parts are written instead of read.

        Raises:
            ValueError: The area can't be divided into such parts.
        """
        if hot_bytes <= 0 or hot_bytes % KINDS[kind] or size_bytes % hot_bytes:
            raise ValueError(
                f"size_bytes must be a multiple of hot_bytes, and hot_bytes of {KINDS[kind]}"
            )
        parts = size_bytes // hot_bytes
        return cls(
            areas=(AreaSpec("moving", size_bytes, kind),),
            phases=tuple(
                Phase(
                    (
                        Touch(
                            "moving",
                            share=1 / parts,
                            begin=part / parts,
                            every_us=every_us,
                            write=write,
                        ),
                    ),
                    duration_us,
                )
                for part in range(parts)
            ),
            for_us=for_us,
        )

    def to_json(self) -> str:
        """Return the pattern as JSON, as the program reads it."""
        phases = [
            {
                "hot": [hot if isinstance(hot, str) else hot._asdict() for hot in phase.hot],
                "duration_us": phase.duration_us,
            }
            for phase in self.phases
        ]
        areas = [area._asdict() for area in self.areas]
        return json.dumps({**self._asdict(), "areas": areas, "phases": phases})

    @classmethod
    def from_json(cls, text: str) -> "Pattern":
        """Return the pattern that a JSON text describes.

        Raises:
            ValueError: The text isn't JSON, a key is missing or unknown, or a value is wrong.
        """
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("the pattern must be an object with areas, phases and for_us")
        try:
            pattern = cls(
                areas=tuple(AreaSpec(**area) for area in data.pop("areas")),
                phases=tuple(
                    Phase(
                        tuple(
                            hot if isinstance(hot, str) else Touch(**hot)
                            for hot in phase.pop("hot")
                        ),
                        **phase,
                    )
                    for phase in data.pop("phases")
                ),
                **data,
            )
            pattern._check()
        except KeyError as error:
            raise ValueError(f"{error} is missing") from error
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        return pattern

    def _check(self) -> None:
        areas = {area.name: area for area in self.areas}
        if not areas or len(areas) != len(self.areas):
            raise ValueError("areas: at least one, each with a different name")
        for area in self.areas:
            _check_area(area)
        if not self.phases:
            raise ValueError("phases: at least one")
        for number, phase in enumerate(self.phases, start=1):
            _check_whole(f"phase {number}: duration_us", phase.duration_us, 1)
            for touch in phase.touches:
                if touch.area not in areas:
                    raise ValueError(f"phase {number}: there is no area '{touch.area}'")
                _check_touch(f"phase {number}, area '{touch.area}'", touch, areas[touch.area])
            if len({touch.area for touch in phase.touches}) != len(phase.touches):
                raise ValueError(f"phase {number}: an area can be hot only once in a phase")
        _check_whole("for_us", self.for_us, 1)
        _check_whole("pause_us", self.pause_us, 0)
        _check_whole("children", self.children, 0)


def _check_area(area: AreaSpec) -> None:
    if area.kind not in KINDS:
        raise ValueError(
            f"area '{area.name}': kind is '{area.kind}', must be one of {', '.join(KINDS)}"
        )
    _check_whole(f"area '{area.name}': size_bytes", area.size_bytes, 1)
    if area.size_bytes % KINDS[area.kind]:
        raise ValueError(f"area '{area.name}': size_bytes must be a multiple of {KINDS[area.kind]}")


def _check_touch(where: str, touch: Touch, area: AreaSpec) -> None:
    for name, value in (("share", touch.share), ("begin", touch.begin)):
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ValueError(f"{where}: {name} must be from 0 to 1")
    for name, flag in (("scattered", touch.scattered), ("write", touch.write)):
        if type(flag) is not bool:
            raise ValueError(f"{where}: {name} must be true or false")
    if touch.every_us is not None:
        _check_whole(f"{where}: every_us", touch.every_us, 0)
    if touch.scattered and touch.begin:
        raise ValueError(f"{where}: begin can't be given for scattered pages")
    runs = touch.page_runs(area.pages)
    if not runs or runs[0][0] == runs[0][1]:
        raise ValueError(f"{where}: share {touch.share} of {area.pages} pages is less than a page")
    if runs[-1][1] > area.pages:
        raise ValueError(f"{where}: begin + share is beyond the end of the area")


def _check_whole(what: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"{what} must be a whole number of at least {least}")


class SetUpError(Exception):
    """The machine can't provide an area of a pattern."""


class Area:
    """Resident memory in a separate mapping.

    Args:
        spec: Size and kind of the area.

    Attributes:
        spec: Size and kind of the area.
        memory: The mapped memory: the area and the inaccessible pages around it.
        offset: The offset of the area in `memory`.
        start: The area's first address.
        end: The first address after the area.

    Raises:
        SetUpError: The machine can't provide such memory.
    """

    def __init__(self, spec: AreaSpec) -> None:
        self.spec = spec
        try:
            self.memory = _map(spec)
            base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
            # Between two inaccessible pages: otherwise the kernel would merge adjacent mappings.
            # It never merges hugetlb ones, whose pages are reserved.
            page = KINDS[spec.kind]
            self.start = base if spec.kind == "hugetlb" else (base // page + 1) * page
            self.end = self.start + spec.size_bytes
            self.offset = self.start - base
            _make_inaccessible(base, self.start)
            _make_inaccessible(self.end, base + len(self.memory))
            self._advise()
            self._make_resident()
        except OSError as error:
            raise SetUpError(f"area '{spec.name}': {error.strerror}{_hint(spec)}") from error

    def _advise(self) -> None:
        if self.spec.kind != "hugetlb":
            # One referenced huge page makes 2 MiB look hot, so areas of small pages must have
            # none.
            advice = mmap.MADV_HUGEPAGE if self.spec.kind == "thp" else mmap.MADV_NOHUGEPAGE
            self.memory.madvise(advice, self.offset, self.spec.size_bytes)

    def _make_resident(self) -> None:
        # Pages of a file are only read: a write would replace them with private copies.
        Sweep(self, Touch(self.spec.name, write=self.spec.kind != "file"), 0).make(0)
        if self.spec.kind == "thp":
            huge = _huge_bytes(self.start, self.end)
            if huge != self.spec.size_bytes:
                raise SetUpError(
                    f"area '{self.spec.name}': only {huge} of {self.spec.size_bytes} bytes are in "
                    "huge pages: set /sys/kernel/mm/transparent_hugepage/enabled to madvise or "
                    "always, and make sure that enough contiguous memory is free"
                )


def _map(spec: AreaSpec) -> mmap.mmap:
    if spec.kind == "hugetlb":
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_HUGETLB_2MB
        return mmap.mmap(-1, spec.size_bytes, flags=flags)
    size_bytes = spec.size_bytes + 2 * KINDS[spec.kind]
    if spec.kind == "file":
        return _map_file(size_bytes)
    sharing = mmap.MAP_SHARED if spec.kind == "shared" else mmap.MAP_PRIVATE
    return mmap.mmap(-1, size_bytes, flags=sharing | mmap.MAP_ANONYMOUS)


def _file_directory() -> str:
    # /var/tmp is on a disk even if /tmp isn't.
    return os.environ.get("TMPDIR", "/var/tmp")


def _map_file(size_bytes: int) -> mmap.mmap:
    path = f"{_file_directory()}/damon-demo-{os.getpid()}-{time.time_ns()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.unlink(path)
        chunk = bytes(1 << 20)
        left = size_bytes
        while left:
            left -= os.write(descriptor, chunk[:left])
        return mmap.mmap(descriptor, size_bytes, flags=mmap.MAP_PRIVATE)
    finally:
        os.close(descriptor)


def _hint(spec: AreaSpec) -> str:
    if spec.kind == "hugetlb":
        return (
            f": the area needs {spec.pages} free huge pages, reserve them in "
            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        )
    if spec.kind == "file":
        return (
            f": the area needs {spec.size_bytes} bytes in {_file_directory()}: free them, or set "
            "TMPDIR to another directory"
        )
    return ""


def _huge_bytes(start: int, end: int) -> int:
    """Return the bytes of a mapping of this process that are in transparent huge pages."""
    with open("/proc/self/smaps", encoding="utf-8") as lines:
        mapping = itertools.dropwhile(
            lambda line: not line.startswith(f"{start:x}-{end:x} "), lines
        )
        found = next((line for line in mapping if line.startswith("AnonHugePages:")), ": 0")
    return int(found.split()[1]) * 1024


def _make_inaccessible(start: int, end: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    no_access = 0  # PROT_NONE
    if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(end - start), no_access) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Sweep:
    """Repeats one touch of an area.

    Args:
        area: The area.
        touch: How the area is touched.
        pause_us: The `every_us` if the touch has none.

    Attributes:
        touch: The touch, with its `every_us` set.
        due_us: When the next sweep is due, on CLOCK_BOOTTIME.
        count: Number of sweeps in this phase.
    """

    def __init__(self, area: Area, touch: Touch, pause_us: int) -> None:
        self._every_us = pause_us if touch.every_us is None else touch.every_us
        self.touch = touch._replace(every_us=self._every_us)
        self._memory = area.memory
        slices = touch.byte_slices(area.spec.size_bytes, KINDS[area.spec.kind])
        self._slices = [
            slice(each.start + area.offset, each.stop + area.offset, each.step) for each in slices
        ]
        lengths = [len(range(each.start, each.stop, each.step)) for each in slices]
        self._data = [b"\x01" * length for length in lengths] if touch.write else []
        self.due_us = 0
        self.count = 0

    def begin(self, time_us: int) -> None:
        """Begin a phase."""
        self.due_us = time_us
        self.count = 0

    def make(self, time_us: int) -> None:
        """Touch one byte of each of the pages."""
        if self.touch.write:
            for where, data in zip(self._slices, self._data, strict=True):
                self._memory[where] = data
        else:
            for where in self._slices:
                self._memory[where]
        self.count += 1
        self.due_us += self._every_us
        if self.due_us < time_us:
            # Missed sweeps are left out, not made up for.
            self.due_us = time_us + self._every_us


def now_us(clock: int = time.CLOCK_BOOTTIME) -> int:
    """Return the time of a clock in microseconds."""
    return time.clock_gettime_ns(clock) // 1_000


class Performance:
    """Carries out a pattern: maps its areas, and runs the sweeps of its phases.

    Raises:
        SetUpError: The machine can't provide an area.
    """

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._areas = {spec.name: Area(spec) for spec in pattern.areas}
        self._phases = [
            (
                phase.duration_us,
                [
                    Sweep(self._areas[touch.area], touch, pattern.pause_us)
                    for touch in phase.touches
                ],
            )
            for phase in pattern.phases
        ]

    def run(self) -> None:
        """Carry out the pattern, and print areas and phases on the standard output."""
        parent = os.getppid()
        wait_end, begin_end = os.pipe()
        children = [self._fork(wait_end, begin_end) for _ in range(self._pattern.children)]
        _print_event(
            "areas",
            pid=os.getpid(),
            children=children,
            areas=[
                {
                    "name": area.spec.name,
                    "kind": area.spec.kind,
                    "start": area.start,
                    "end": area.end,
                }
                for area in self._areas.values()
            ],
        )
        # The areas are printed: now the children may begin too.
        os.close(begin_end)
        if self._carry_out(parent, _print_event):
            for child in children:
                os.waitpid(child, 0)
            _print_event("end")

    def _fork(self, wait_end: int, begin_end: int) -> int:
        """Fork a child that begins when this process closes `begin_end`; return its pid."""
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            try:
                os.close(begin_end)
                os.read(wait_end, 1)
                self._carry_out(parent, lambda event, **facts: None)
            finally:
                os._exit(0)
        return child

    def _carry_out(self, parent: int, report: Callable[..., None]) -> bool:
        """Run the phases; return False as soon as the parent is gone."""
        begin_us = phase_end_us = now_us()
        end_us = begin_us + self._pattern.for_us
        for number, (duration_us, sweeps) in enumerate(itertools.cycle(self._phases), start=1):
            if phase_end_us >= end_us:
                break
            phase_end_us += duration_us
            report("phase", number=number, hot=[sweep.touch._asdict() for sweep in sweeps])
            if not _sweep_until(min(phase_end_us, end_us), sweeps, parent):
                return False
            counts = {sweep.touch.area: sweep.count for sweep in sweeps}
            report("phase_end", number=number, sweeps=counts)
        return True


def _sweep_until(end_us: int, sweeps: Sequence[Sweep], parent: int) -> bool:
    """Make each sweep when it is due; return False as soon as the parent is gone."""
    look_us = now_us()
    for sweep in sweeps:
        sweep.begin(look_us)
    while (time_us := now_us()) < end_us:
        # Not in each round: sweeps that spin must not be interrupted by a system call.
        if time_us >= look_us:
            if os.getppid() != parent:
                return False
            look_us = time_us + _LOOK_AT_PARENT_US
        for sweep in sweeps:
            if sweep.due_us <= time_us:
                sweep.make(time_us)
        wake_us = min(end_us, look_us, *(sweep.due_us for sweep in sweeps))
        if wake_us > time_us and (wait_us := wake_us - now_us()) > 0:
            time.sleep(wait_us / 1e6)
    return True


def _print_event(event: str, **facts: Any) -> None:
    """Print one event as a JSON line, with the time."""
    times = {"boottime_us": now_us(), "unix_us": now_us(time.CLOCK_REALTIME)}
    print(json.dumps({"event": event, **times, **facts}), flush=True)  # noqa: T201


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        prog="python -m damon_demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pattern", help="a file with the pattern as JSON; - for standard input")
    name = parser.parse_args().pattern
    try:
        pattern = Pattern.from_json(
            sys.stdin.read() if name == "-" else pathlib.Path(name).read_text(encoding="utf-8")
        )
        performance = Performance(pattern)
    except (OSError, ValueError, SetUpError) as error:
        parser.exit(2, f"{parser.prog}: {name}: {error}\n")
    try:
        performance.run()
    except (BrokenPipeError, KeyboardInterrupt):
        # The reader of the output is gone.
        os._exit(0)


if __name__ == "__main__":
    main()
