"""Memory, and which of its pages are used when."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen

from benchmarks.programs import line_of
from damon_core import PAGE_SIZE_BYTES

MIB = 1 << 20
#: Pages in a MiB.
EACH = MIB // PAGE_SIZE_BYTES

Pages = npt.NDArray[np.int64]


@frozen(eq=False)
class Pattern:
    """Memory, and the timetable of the pages that are used.

    Attributes:
        name: What it is called.
        mib: Its size.
        pages: The numbers of the pages that are used.
        periods: Every how many ticks each is used; 1 for all if it is empty.
        phases: In which tick first; 0 for all if it is empty.
        turns: In which turn each is used, from 1 on; always if it is empty.
        turn_s: How long a turn is.
        tick_us: The time from tick to tick; 0 to use pages without a pause.
    """

    name: str
    mib: int
    pages: Pages
    periods: Pages | None = None
    phases: Pages | None = None
    turns: Pages | None = None
    turn_s: float = 0.0
    tick_us: int = 0

    @property
    def turn_ticks(self) -> int:
        return round(self.turn_s * 1e6 / self.tick_us) if self.turn_s else 0

    def column(self, name: str) -> Pages:
        """Return the periods, phases or turns of all pages."""
        column: Pages | None = getattr(self, name)
        if column is None:
            return np.full(len(self.pages), 1 if name == "periods" else 0)
        return column

    @property
    def last_turn(self) -> int:
        return 0 if self.turns is None else int(self.turns.max())


def areas(mib: Sequence[tuple[float, float]]) -> Pages:
    """Return the pages of areas, each from one MiB to another."""
    return np.concatenate([np.arange(int(a * EACH), int(b * EACH)) for a, b in mib])


def patterns(scale: float = 1.0) -> Iterator[Pattern]:
    """Yield the patterns; with a scale below 1 they are smaller."""
    rng = np.random.default_rng(1)

    def scaled(mib: float) -> int:
        return max(round(mib * scale), 1)

    size = scaled(400)
    three = [(0.05, 0.15), (0.375, 0.4), (0.75, 0.775)]
    yield Pattern(
        f"three areas in {size} MiB", size, areas([(a * size, b * size) for a, b in three])
    )
    turns = [(size * n / 8, size * (n + 0.4) / 8) for n in (6, 1, 4, 2)]
    moving = areas(turns)
    of_turn = np.repeat(np.arange(4) + 1, len(moving) // 4)
    yield Pattern(
        f"moving {scaled(20)} of {size} MiB",
        size,
        moving,
        turns=of_turn,
        turn_s=10 / max(scale, 0.5),
        tick_us=2_000,
    )
    for what, count in ((f"{scaled(300)} areas of 64 KiB", scaled(300)), ("a tenth in 64 KiB", 0)):
        cells = rng.choice(size * EACH // 16, count or size * EACH // 160, replace=False)
        scattered = (cells[:, np.newaxis] * 16 + np.arange(16)).ravel()
        yield Pattern(f"{what} in {size} MiB", size, scattered)
    tenth = rng.choice(size * EACH, size * EACH // 10, replace=False)
    yield Pattern(f"a tenth of the pages of {size} MiB", size, tenth)
    large = scaled(8192)
    needle = large // 100
    yield Pattern(
        f"1 % of {_size(large)}", large, np.arange(needle * EACH) + large // 3 * EACH + 77
    )
    zipf = scaled(256)
    rank = np.arange(zipf * EACH) + 1
    periods = -(-rank * 8_192 // len(rank))
    yield Pattern(
        f"Zipf, {zipf} MiB",
        zipf,
        rng.permutation(zipf * EACH),
        periods=periods,
        phases=rng.integers(0, periods),
        tick_us=1_000,
    )
    yield Pattern(
        f"{scaled(16)} MiB every 10 ms",
        size,
        np.arange(scaled(16) * EACH) + size // 4 * EACH,
        tick_us=10_000,
    )
    yield Pattern(f"41 pages in a loop, of {size} MiB", size, rng.choice(size * EACH, 41, False))


def _size(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


@frozen
class Place:
    """A running pattern.

    Attributes:
        pid: The process.
        address: Where its memory is.
        log: Its log, see benchmarks/page_accuracy/program.c.
    """

    pid: int
    address: int
    log: Path


@contextmanager
def running(program: Path, pattern: Pattern, folder: Path) -> Iterator[Place]:
    """Run the program during the block, with all its memory there."""
    log = folder / "ticks"
    numbers = [pattern.mib, pattern.tick_us, pattern.turn_ticks, pattern.last_turn]
    entries = np.stack(
        [pattern.pages, *(pattern.column(name) for name in ("periods", "phases", "turns"))], axis=1
    )
    timetable = folder / "timetable"
    timetable.write_bytes(entries.astype(np.uint32).tobytes())
    with (
        timetable.open("rb") as file,
        subprocess.Popen(
            [str(program), str(log), *map(str, numbers)],
            stdin=file,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            yield Place(process.pid, int(line_of(process)), log)
        finally:
            process.kill()
    log.unlink()
