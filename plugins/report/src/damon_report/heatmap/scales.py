"""The colour scale of all heat maps: how frequencies become colours."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Colours follow the square root of frequencies, as most memory of a program is accessed rarely.
GAMMA = 0.5
#: The frequencies at which a scale of colours is labelled.
TICKS = (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)


def shown(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the positions of frequencies on the colour scale, 0.0 to 1.0."""
    scaled: npt.NDArray[np.float64] = np.clip(frequency, 0.0, 1.0) ** GAMMA
    return scaled


def mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return the mean of the values that aren't NaN; 0.0 if there are none."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
