"""A quantity over time, as means of equal pieces of the time."""

import math
from array import array

import numpy as np

from damon_report.naming import FloatColumn

_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.-=+*#@"


class Timeline:
    """The mean, the least and the greatest value of a quantity in equal pieces of a time.

    Args:
        begin_us: When the time begins.
        end_us: When the time ends, after `begin_us`.
        pieces: The number of pieces.

    Attributes:
        edges_us: The begin of each piece, and the end of the last one.
    """

    def __init__(self, begin_us: int, end_us: int, pieces: int) -> None:
        self.edges_us: FloatColumn = np.linspace(begin_us, end_us, pieces + 1)
        self._begin_us, self._end_us = begin_us, end_us
        self._per_us = pieces / (end_us - begin_us)
        # Not numpy arrays: changing single elements of those is slow.
        self._sums = array("d", bytes(8 * pieces))
        self._weights = array("d", bytes(8 * pieces))
        self._least = array("d", [math.inf]) * pieces
        self._greatest = array("d", [-math.inf]) * pieces

    def add(self, value: float, begin_us: int, end_us: int) -> None:
        """Add a value that held from one time to another; time outside is left out."""
        begin_us, end_us = max(begin_us, self._begin_us), min(end_us, self._end_us)
        if begin_us >= end_us:
            return
        position = (begin_us - self._begin_us) * self._per_us
        end = (end_us - self._begin_us) * self._per_us
        last = len(self._sums) - 1
        piece = int(position)
        while piece < last and end > piece + 1:
            self._count(piece, value, piece + 1 - position)
            piece += 1
            position = piece
        self._count(min(piece, last), value, end - position)

    def _count(self, piece: int, value: float, weight: float) -> None:
        self._sums[piece] += value * weight
        self._weights[piece] += weight
        self._least[piece] = min(self._least[piece], value)
        self._greatest[piece] = max(self._greatest[piece], value)

    @property
    def mean(self) -> FloatColumn:
        """The mean over the time of each piece; NaN without a value."""
        weights = np.array(self._weights)
        with np.errstate(invalid="ignore"):
            return np.array(self._sums) / np.where(weights > 0, weights, np.nan)

    @property
    def least(self) -> FloatColumn:
        """The least value in each piece; NaN without a value."""
        return _known(self._least)

    @property
    def greatest(self) -> FloatColumn:
        """The greatest value in each piece; NaN without a value."""
        return _known(self._greatest)


class Begins:
    """When aggregations begin in lines over time: a short gap before one leaves no hole."""

    def __init__(self) -> None:
        self._ended_us: dict[str, int] = {}

    def of(self, context: str, elapsed_us: int, time_us: int) -> int:
        """Return when the next aggregation of a context began, by when it ended."""
        begin_us = time_us - elapsed_us
        before_us = self._ended_us.get(context, begin_us)
        self._ended_us[context] = time_us
        return before_us if 0 < begin_us - before_us < elapsed_us else begin_us


def _known(values: "array[float]") -> FloatColumn:
    column = np.array(values)
    column[~np.isfinite(column)] = np.nan
    return column


def sparkline(values: FloatColumn, *, ascii_only: bool = False) -> str:
    """Return values as characters of rising height, from 0 to the greatest; NaN is blank."""
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    greatest = np.nanmax(values, initial=0.0)
    return "".join(
        " " if np.isnan(value) else levels[_level(value, greatest, len(levels))] for value in values
    )


def _level(value: float, greatest: float, levels: int) -> int:
    return round(float(value / greatest) * (levels - 1)) if greatest > 0 else 0


def coarser(values: FloatColumn, pieces: int) -> FloatColumn:
    """Return at most `pieces` values, as means of neighbours that ignore NaN."""
    if len(values) <= pieces:
        return values
    groups = np.array_split(values, pieces)
    return np.array([np.nan if np.isnan(each).all() else np.nanmean(each) for each in groups])
