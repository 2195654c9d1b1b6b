"""Scales that all heat maps share: time, names, and how frequencies become colours."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Frequencies are shown by their root, as most of a program's memory is accessed rarely.
GAMMA = 0.5
#: The frequencies at which a scale of colours is labelled.
TICKS = (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)

_S = 1_000_000
_STEPS_US = (
    *(unit * number for unit in (1_000, 10_000, 100_000) for number in (1, 2, 5)),
    *(number * _S for number in (1, 2, 5, 10, 15, 30)),
    *(number * 60 * _S for number in (1, 2, 5, 10, 15, 30)),
    *(number * 3_600 * _S for number in (1, 2, 3, 6, 12)),
    *(number * 86_400 * _S for number in (1, 2, 7, 14, 28, 91, 364, 3_640)),
)


def shown(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far up the scale of colours frequencies are, 0.0 to 1.0."""
    scaled: npt.NDArray[np.float64] = np.clip(frequency, 0.0, 1.0) ** GAMMA
    return scaled


def time_ticks(span_us: int, most: int) -> list[tuple[int, str]]:
    """Return round times since the start, at most `most`, with their labels."""
    step_us = next((step for step in _STEPS_US if span_us < most * step), _STEPS_US[-1])
    return [(us, _since_start(us, step_us)) for us in range(0, span_us + 1, step_us)]


def _since_start(us: int, step_us: int) -> str:
    if step_us < _S:
        return f"{us / 1_000:g}ms" if 0 < us < _S else f"{us / _S:g}s"
    seconds = us // _S
    if us == 0 or (seconds < 120 and step_us < 60 * _S):
        return f"{seconds}s"
    days, seconds = divmod(seconds, 86_400)
    parts = ((days, "d"), (seconds // 3_600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def base_name(name: str) -> str:
    """Return what a mapping is called where room is scarce: of a path the last part."""
    path = name.removesuffix(" (deleted)")
    return path.rstrip("/").rpartition("/")[2] if path.startswith("/") else name


def shortened(name: str, most: int) -> str:
    """Return a name of at most `most` characters: what is too long loses its middle."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return name[: most - 1 - tail] + "…" + name[len(name) - tail :]


def mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return the mean of what is known, 0.0 if nothing is."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
