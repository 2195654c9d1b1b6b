"""How much has been accessed at each look of an epoch's first aggregation, and what follows of it.

Of what is accessed in an aggregation some isn't accessed in the next: how much that is decides
whether a later aggregation can be inferred. Accesses at random leave a trace of it: that share of
pages waits for its first access that long, too.
"""

import math

from attrs import define, field

#: A look that is so much later than a time still counts as one at that time.
_AS_LATE = 1.1
#: The looks that are compared come before this part of the time.
_BEFORE = 0.75


@define(eq=False)
class Growth:
    """How many pages had been accessed since the clearing, look by look."""

    _looks: list[tuple[int, int]] = field(factory=list, init=False)

    def add(self, new: int, elapsed_us: int) -> None:
        """Add a look.

        Args:
            new: How many pages it found accessed that weren't before.
            elapsed_us: The time from the clearing to the look.
        """
        self._looks.append((elapsed_us, new + (self._looks[-1][1] if self._looks else 0)))

    @property
    def looks_us(self) -> list[int]:
        """How long after the clearing each look was."""
        return [us for us, _ in self._looks]

    @property
    def rate(self) -> float:
        """How many new pages there were in a microsecond, up to the last look; 0 before that."""
        if not self._looks:
            return 0.0
        (before_us, before), (last_us, last) = ((0, 0), *self._looks)[-2:]
        return (last - before) / max(last_us - before_us, 1)

    def missed(self, interval_us: int) -> tuple[float, int]:
        """Return how much of what is accessed in some time isn't accessed in the next, probably.

        The share that waits for its first access falls from look to look: as the square where the
        time doubles if all pages are alike, and the more slowly the more they differ. It is taken
        to go on as it fell between the two last looks before the end.

        Args:
            interval_us: The time; not longer than up to the last look.

        Returns:
            The number of pages that aren't accessed again, and of all that are accessed.
        """
        looks = [each for each in self._looks if each[0] <= _AS_LATE * interval_us]
        if not looks or not looks[-1][1]:
            return 0.0, 0
        touched = looks[-1][1]
        earlier = [each for each in looks if each[0] <= _BEFORE * looks[-1][0]]
        waiting = [(us, 1 - count / touched) for us, count in earlier if count]
        if not waiting or not waiting[-1][1]:
            return 0.0, touched
        late_us, late = waiting[-1]
        growth = 0.0
        if len(waiting) > 1 and waiting[-2][1] < 1:
            early_us, early = waiting[-2]
            fell = math.log(late) / math.log(early)
            growth = min(max(math.log(fell) / math.log(late_us / early_us), 0.0), 1.0)
        return touched * late ** ((interval_us / late_us) ** growth), touched
