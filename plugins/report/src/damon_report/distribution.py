"""The distribution of a quantity over time, in bounded memory for records of any length."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Up to this number of different values, values are exact.
_EXACT = 2_048
#: Beyond it they are rounded to this number of binary digits: by less than 0.1 %.
_DIGITS = 10
_BUFFER = 1_024


class Distribution:
    """Values, each weighted with the time for which it held.

    Up to 2048 different values are exact; with more, each has an error below 0.1 %. The least,
    the greatest and the mean are always exact.
    """

    def __init__(self) -> None:
        self._values: npt.NDArray[np.float64] = np.zeros(0)
        self._weights: npt.NDArray[np.float64] = np.zeros(0)
        self._new: list[tuple[float, float]] = []
        self._rounds = False
        self._least = np.inf
        self._greatest = -np.inf
        self._sum = 0.0

    def add(self, value: float, weight: float) -> None:
        """Add a value that held for a time; a time of 0 adds nothing."""
        if weight <= 0:
            return
        self._new.append((value, weight))
        if len(self._new) == _BUFFER:
            self._settle()

    @property
    def weight(self) -> float:
        """The sum of the times of all values."""
        self._settle()
        return float(self._weights.sum())

    @property
    def greatest(self) -> float:
        """The greatest value; 0 without values."""
        self._settle()
        return max(self._greatest, 0.0)

    @property
    def mean(self) -> float:
        """The mean; 0 without values."""
        weight = self.weight
        return self._sum / weight if weight else 0.0

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        """Return the values that were not exceeded for these percentages of the time.

        0 gives the least value and 100 the greatest. Without values all are 0.
        """
        self._settle()
        if not len(self._values):
            return [0.0 for _ in percents]
        wanted = np.asarray(percents, np.float64)
        below = np.cumsum(self._weights)
        # Slightly less, so that rounding of the sum doesn't select the next value.
        index = below.searchsorted(wanted / 100 * below[-1] * (1 - 1e-12))
        found = self._values[np.minimum(index, len(below) - 1)]
        found[wanted <= 0] = self._least
        found[wanted >= 100] = self._greatest
        return [float(each) for each in found.clip(self._least, self._greatest)]

    def _settle(self) -> None:
        """Merge the buffered values into the sorted, distinct ones."""
        if not self._new:
            return
        new = np.array(self._new)
        self._new.clear()
        self._least = min(self._least, float(new[:, 0].min()))
        self._greatest = max(self._greatest, float(new[:, 0].max()))
        self._sum += float((new[:, 0] * new[:, 1]).sum())
        self._merge(np.append(self._values, new[:, 0]), np.append(self._weights, new[:, 1]))
        if len(self._values) > _EXACT:
            self._rounds = True
            self._merge(self._values, self._weights)

    def _merge(self, values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> None:
        if self._rounds:
            part, power = np.frexp(values)
            values = np.ldexp(np.round(np.ldexp(part, _DIGITS)), power - _DIGITS)
        self._values, inverse = np.unique(values, return_inverse=True)
        self._weights = np.bincount(inverse, weights).astype(np.float64)
