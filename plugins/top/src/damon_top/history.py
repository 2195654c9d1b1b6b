"""What the view remembers of aggregations: bounded, and kept by a callback of its own."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from damon_core import Context, Snapshot, hookimpl

#: Aggregations closer together than this are left out: a column of the picture has four at least.
_FRAME_US = 250_000
#: At most so many aggregations are kept, with at most so many regions together: some 20 MB.
_MOST_FRAMES = 1_200
_MOST_REGIONS = 500_000


@frozen(eq=False)
class Piece:
    """The regions of one target in one aggregation.

    Attributes:
        begin_us: When the aggregation began, on the context's clock.
        end_us: When it ended.
        start: First address of each region.
        end: First address behind each region.
        frequency: Share of the checks in which each was accessed.
        resident_bytes: How much of each was in memory.
    """

    begin_us: int
    end_us: int
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    frequency: npt.NDArray[np.float32]
    resident_bytes: npt.NDArray[np.float32]


@frozen(eq=False)
class Frame:
    """What is kept of one aggregation, all targets one behind the other.

    Attributes:
        whole: The regions of all targets.
        index: The number of each target.
        rows: Where the regions of each target begin, and where the last one's end.
        working_set_bytes: Of each target.
    """

    whole: Piece
    index: Mapping[str, int]
    rows: npt.NDArray[np.int64]
    working_set_bytes: npt.NDArray[np.float64]

    def of(self, target: str) -> Piece | None:
        """Return the regions of one target; None if it wasn't there."""
        index = self.index.get(target)
        if index is None:
            return None
        part = slice(self.rows[index], self.rows[index + 1])
        whole = self.whole
        return Piece(
            whole.begin_us,
            whole.end_us,
            whole.start[part],
            whole.end[part],
            whole.frequency[part],
            whole.resident_bytes[part],
        )


@define
class _Kept:
    """The frames of one context; the tuple is replaced, so that any thread may read it."""

    frames: tuple[Frame, ...] = ()
    regions: int = 0


@define(eq=False)
class History:
    """A callback that remembers the last aggregations of each context.

    Attributes:
        frame_us: Aggregations closer together than this are left out.
        most_frames: How many aggregations are kept at most.
        most_regions: How many regions these may have together.
    """

    name = "top"

    frame_us: int = _FRAME_US
    most_frames: int = _MOST_FRAMES
    most_regions: int = _MOST_REGIONS
    _nothing: _Kept = field(factory=_Kept, init=False)

    def frames(self, context: Context) -> tuple[Frame, ...]:
        """Return what is remembered of a context, the oldest first; from any thread."""
        kept: _Kept = context.private(self).get("kept", self._nothing)
        return kept.frames

    @hookimpl
    def before_start(self, context: Context) -> None:
        """Begin anew."""
        context.private(self)["kept"] = _Kept()

    @hookimpl
    def after_aggregation(self, context: Context) -> None:
        """Remember one aggregation, and forget the oldest."""
        kept: _Kept = context.private(self)["kept"]
        snapshot, now_us = context.snapshot, context.clock.now_us()
        assert snapshot is not None
        frames = kept.frames
        if frames and now_us - frames[-1].whole.end_us < self.frame_us:
            return
        first = 0
        kept.regions += len(snapshot)
        while first < len(frames) and (
            len(frames) - first >= self.most_frames or kept.regions > self.most_regions
        ):
            kept.regions -= len(frames[first].whole.start)
            first += 1
        before = frames[-1].index if frames else {}
        kept.frames = (*frames[first:], frame_of(snapshot, now_us, before))


def frame_of(snapshot: Snapshot, now_us: int, before: Mapping[str, int]) -> Frame:
    """Return what is kept of a snapshot.

    Args:
        snapshot: The snapshot.
        now_us: When it was taken, on the context's clock.
        before: The index of an earlier frame, to be shared if it is the same.
    """
    index = {target.name: number for number, target in enumerate(snapshot.targets)}
    resident = snapshot.resident_bytes.astype(np.float32)
    rows = np.cumsum([0, *(len(target) for target in snapshot.targets)])
    accessed = np.concatenate([[0.0], np.cumsum(snapshot.working_set())])
    return Frame(
        Piece(
            now_us - snapshot.elapsed_us,
            now_us,
            # Copies, as they would keep all columns of the snapshot alive.
            snapshot.start.copy(),
            snapshot.end.copy(),
            snapshot.frequency.astype(np.float32),
            resident,
        ),
        before if index == before else index,
        rows,
        np.diff(accessed[rows]),
    )
