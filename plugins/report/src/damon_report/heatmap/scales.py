"""The scale that all heat maps share: how frequencies become colours."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Frequencies are shown by their root, as most of a program's memory is accessed rarely.
GAMMA = 0.5
#: The frequencies at which a scale of colours is labelled.
TICKS = (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)


def shown(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far up the scale of colours frequencies are, 0.0 to 1.0."""
    scaled: npt.NDArray[np.float64] = np.clip(frequency, 0.0, 1.0) ** GAMMA
    return scaled


def mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return the mean of what is known, 0.0 if nothing is."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
