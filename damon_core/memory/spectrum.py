"""Memory by how often it is accessed: sums that are small enough to be in every snapshot."""

from collections.abc import Iterable
from typing import Final

from attrs import frozen

#: The times of a spectrum in microseconds: 1 ms, 8 ms, 66 ms, 0.5 s, 4 s, 34 s, 4.5 min, 36 min.
#: Each is eight times the one before, about a decade. They are powers of two because the periods of
#: pages are, so no page has to be divided between two classes. They are the same for all contexts,
#: whatever their intervals, so that spectra of several can be added and compared.
SPECTRUM_US: Final = tuple(1 << exponent for exponent in range(10, 32, 3))


@frozen
class Spectrum:
    """How much memory is accessed at least every 8 ms, every 66 ms … every 36 minutes.

    What counts is the time from a moment to the next access: the clearing of accessed bits, or for
    memory that wasn't accessed since, from its last access until now. Memory that is accessed
    every 4 s is among what was accessed within 0.5 s of the clearing with an eighth of its pages.

    Attributes:
        within_bytes: For each time of `SPECTRUM_US` the bytes that were accessed within it. None
            for times that are shorter than the first look was after the clearing, or longer than
            the memory has been watched.
        total_bytes: All bytes that are in memory: what isn't within the longest known time hasn't
            been accessed for longer.
    """

    within_bytes: tuple[int | None, ...]
    total_bytes: int

    @classmethod
    def sum(cls, spectra: Iterable["Spectrum | None"]) -> "Spectrum | None":
        """Return the spectrum of several parts of memory together.

        None if it isn't known of one of them, or if there is none. A time that isn't known of one
        isn't known of all.
        """
        parts = list(spectra)
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return None
        columns = zip(*(part.within_bytes for part in known), strict=True)
        return cls(
            tuple(None if None in column else sum(map(int, column)) for column in columns),
            sum(part.total_bytes for part in known),
        )
