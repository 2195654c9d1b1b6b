"""What the aggregations of a record add up to: the same before and after a conversion."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from attrs import define, field

from damon_core.contract.provenance import RecordInfo
from damon_core.memory.snapshot import Snapshot

#: Fractions of accesses are kept to 1 %, rounded by half of that at most.
_FRACTIONS = 0.005


@define
class RecordTotals:
    """Sums over aggregations that have regions; formats may leave out the others.

    Attributes:
        elapsed_us: How long they took.
        checks: The checks that they made.
        accesses: Bytes times the checks that found them accessed. Where all that is in memory is
            looked at, resident bytes count, otherwise all of a region.
        resident: Resident bytes times checks.
        fractions: Whether some accesses aren't whole numbers.
        slack: By how much `resident` may differ where they are rounded: a byte a region.
        knows_touched: Whether all that is in memory was looked at, in some aggregation.
    """

    elapsed_us: int = 0
    checks: int = 0
    accesses: float = 0.0
    resident: int = 0
    fractions: bool = False
    slack: int = 0
    knows_touched: bool = field(default=False, init=False)
    _exact: int = field(default=0, init=False)
    _all_exact: int = field(default=0, init=False)
    _all_accesses: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, snapshots: Iterable[Snapshot]) -> Self:
        """Return the sums over aggregations."""
        totals = cls()
        for snapshot in snapshots:
            totals.add(snapshot)
        return totals

    def add(self, snapshot: Snapshot) -> None:
        """Add an aggregation."""
        if not len(snapshot):
            return
        self.elapsed_us += snapshot.elapsed_us
        self.checks += snapshot.max_nr_accesses
        self.resident += int(snapshot.resident_bytes.sum()) * snapshot.max_nr_accesses
        self.slack += len(snapshot) * snapshot.max_nr_accesses
        for target in snapshot.targets:
            touched = target.touched_bytes is not None
            self.knows_touched |= touched
            whole = target.nr_accesses == np.round(target.nr_accesses)
            # Whole ones are added as whole numbers, which are exact at any length.
            counts = np.where(whole, target.nr_accesses, 0).astype(np.int64)
            rest = np.where(whole, 0, target.nr_accesses)
            self.fractions |= not whole.all()
            size = target.resident_bytes if touched else target.size_bytes
            self._exact += int((size * counts).sum())
            self.accesses += float((size * rest).sum())
            self._all_exact += int((target.size_bytes * counts).sum())
            self._all_accesses += float((target.size_bytes * rest).sum())

    @property
    def byte_checks(self) -> float:
        """All accesses."""
        return self._exact + self.accesses

    @property
    def all_byte_checks(self) -> float:
        """All accesses if they count for every byte of a region, resident or not."""
        return self._all_exact + self._all_accesses

    def differences(self, other: "RecordTotals", info: RecordInfo, *, shortened: bool) -> list[str]:
        """Return what isn't the same in a record that was made of this one.

        Args:
            other: Those of the record.
            info: What is said of it: columns that it lacks aren't compared.
            shortened: Whether aggregations were put together: then resident bytes are rounded.
        """
        found = []
        if self.checks != other.checks:
            found.append(f"{other.checks} checks, not {self.checks}")
        if "elapsed_us" not in info.filled_in and self.elapsed_us != other.elapsed_us:
            found.append(f"{other.elapsed_us} us, not {self.elapsed_us}")
        slack = other.slack if shortened else 0
        surplus = abs(self.resident - other.resident)
        if "resident_bytes" not in info.filled_in and surplus > slack:
            found.append(f"{other.resident} resident byte-checks, not {self.resident}")
        most = _FRACTIONS if self.fractions or other.fractions else 0.0
        ours, theirs = self._accesses(other)
        if abs(ours - theirs) > most * ours:
            found.append(f"{theirs:.0f} byte-checks of accesses, not {ours:.0f}")
        return found

    def deviation(self, other: "RecordTotals") -> float:
        """Return the share by which accesses differ."""
        ours, theirs = self._accesses(other)
        return abs(theirs - ours) / max(ours, 1.0)

    def _accesses(self, other: "RecordTotals") -> tuple[float, float]:
        """Return the accesses of both, counted of the same bytes."""
        if self.knows_touched == other.knows_touched:
            return self.byte_checks, other.byte_checks
        # One of them can't tell what was in memory.
        return self.all_byte_checks, other.all_byte_checks
