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
    """

    elapsed_us: int = 0
    checks: int = 0
    accesses: float = 0.0
    resident: int = 0
    fractions: bool = False
    slack: int = 0
    _exact: int = field(default=0, init=False)

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
            size = target.resident_bytes if touched else target.size_bytes
            whole = target.nr_accesses == np.round(target.nr_accesses)
            # Whole ones are added as whole numbers, which are exact at any length.
            counts = np.where(whole, target.nr_accesses, 0).astype(np.int64)
            self._exact += int((size * counts).sum())
            if not whole.all():
                self.fractions = True
                self.accesses += float((size * target.nr_accesses)[~whole].sum())

    @property
    def byte_checks(self) -> float:
        """All accesses."""
        return self._exact + self.accesses

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
        if abs(self.byte_checks - other.byte_checks) > most * self.byte_checks:
            found.append(
                f"{other.byte_checks:.0f} byte-checks of accesses, not {self.byte_checks:.0f}"
            )
        return found

    def deviation(self, other: "RecordTotals") -> float:
        """Return the share by which accesses differ."""
        return abs(other.byte_checks - self.byte_checks) / max(self.byte_checks, 1.0)
