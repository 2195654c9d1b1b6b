"""The policy `kernel`: region adjustment as in Linux 6.12's DAMON, without two bugs.

One uniformly random page of each region is checked. Neighbours with similar nr_accesses are
merged, and regions are split at random places to find differences inside them.

Differences from Linux:

- The random page is drawn from the whole region. Linux up to 7.1 draws a 32-bit offset, so most
  of a region of 4 GiB and more is never checked.
- Regions age once per aggregation. Linux up to 7.1 ages them again in each repeated merge pass.
- Linux keeps the size limit even if more than max_regions regions remain. Here a last pass joins
  the most similar neighbours, however large, so that max_regions always holds; except for ranges
  with gaps between them, which can't be joined.
- The number of regions at the last split is kept per context, not for all contexts together.
- A check without an answer, and one that wasn't made because the region appeared during the
  aggregation, counts neither as accessed nor as idle: nr_accesses is scaled up from the checks
  with an answer. A region without any answer keeps its last nr_accesses, its age and its idle
  time. Linux counts both kinds of checks as not accessed.
"""

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen
from attrs.validators import optional

from damon_core.attributes import RegionLimits
from damon_core.memory.regions import PAGE_SIZE_BYTES, Regions
from damon_core.memory.samples import Samples
from damon_core.memory.target import Target
from damon_core.validators import at_least

#: A merge tolerates a difference of at most a tenth of the largest nr_accesses, at first.
_THRESHOLD_DIVISOR = 10
#: A region is cut at a multiple of a tenth of its size, from one to nine tenths.
_CUT_TENTHS = 10
#: Regions of up to two pages aren't split.
_UNSPLIT_PAGES = 2


@frozen
class KernelPolicyOptions:
    """Options of the policy."""

    seed: int | None = field(
        default=None,
        validator=optional(at_least(0)),
        metadata={"help": "Seed of the random choices, for repeatable runs; none: random."},
    )


class KernelPolicy:
    """The region adjustment of Linux 6.12's DAMON.

    Args:
        options: The seed.
    """

    name = "kernel"

    def __init__(self, options: KernelPolicyOptions | None = None) -> None:
        self._seed = (options or KernelPolicyOptions()).seed
        self.begin(RegionLimits())

    def begin(self, limits: RegionLimits) -> None:
        """Start a new run: forget the number of regions and reseed the random numbers."""
        self._limits = limits
        self._rng = np.random.default_rng(self._seed)
        self._regions_at_last_split = 0

    def set_limits(self, limits: RegionLimits) -> None:
        """Apply other limits from the next aggregation on."""
        self._limits = limits

    def choose(self, targets: Sequence[Target]) -> None:
        """Choose one random page of each region."""
        for target in targets:
            target.samples = Samples(target.regions.random_pages(self._rng))

    def observe(self, targets: Sequence[Target]) -> None:
        """Count the samples in their regions."""
        for target in targets:
            if target.samples is not None:
                _count_samples(target.regions, target.samples)

    def aggregate(self, targets: Sequence[Target], checks: int, elapsed_us: int) -> None:
        """Age the regions, then merge neighbours until there are at most max_regions."""
        for target in targets:
            _scale_up(target.regions, checks)
        largest = max((target.regions.nr_accesses.max(initial=0) for target in targets), default=0)
        threshold = int(largest) // _THRESHOLD_DIVISOR
        for target in targets:
            _grow_older(target.regions, elapsed_us, threshold)
        limit_bytes = self._size_limit_bytes(targets)
        while True:
            for target in targets:
                target.regions = merged(target.regions, threshold, limit_bytes)
            threshold = max(1, 2 * threshold)
            surplus = _count(targets) - self._limits.max_regions
            if surplus <= 0:
                return
            if threshold // 2 >= checks:
                break
        join_most_similar(targets, surplus)

    def adapt(self, targets: Sequence[Target]) -> None:
        """Split regions in two, or in three if the last split in two didn't change their number."""
        count = _count(targets)
        if count > self._limits.max_regions // 2:
            return
        in_three = count == self._regions_at_last_split and count < self._limits.max_regions // 3
        self._regions_at_last_split = count
        for target in targets:
            target.regions = split(target.regions, 3 if in_three else 2, self._rng)

    def _size_limit_bytes(self, targets: Sequence[Target]) -> int:
        total = sum(int(target.regions.size_bytes.sum()) for target in targets)
        return max(PAGE_SIZE_BYTES, total // self._limits.min_regions)


def _count(targets: Sequence[Target]) -> int:
    return sum(len(target.regions) for target in targets)


def _count_samples(regions: Regions, samples: Samples) -> None:
    """Add the samples' results to the regions that contain them now."""
    addresses = samples.addresses
    known = samples.known
    hit = samples.accessed & known
    if len(addresses) == len(regions) and bool(
        ((regions.start <= addresses) & (addresses < regions.end)).all()
    ):
        regions.nr_checks += known
        regions.nr_accesses += hit
        return
    # The table was replaced: a region may now contain several samples, and a sample lie in none.
    index = regions.holding(addresses)
    regions.nr_checks += np.bincount(index[known & (index >= 0)], minlength=len(regions))
    regions.nr_accesses += np.bincount(index[hit & (index >= 0)], minlength=len(regions))


def _scale_up(regions: Regions, checks: int) -> None:
    """Scale nr_accesses up to `checks` where some checks had no answer; keep the last without any.

    The results are whole numbers, like all counters of single pages.
    """
    known = regions.nr_checks > 0
    share = regions.nr_accesses[known] / regions.nr_checks[known]
    regions.nr_accesses = np.minimum(np.rint(regions.last_nr_accesses), checks)
    regions.nr_accesses[known] = np.rint(share * checks)


def _grow_older(regions: Regions, elapsed_us: int, threshold: int) -> None:
    """Increase the ages and idle times of regions with at least one answer."""
    unknown = regions.nr_checks == 0
    age, idle_us = regions.age[unknown], regions.idle_us[unknown]
    regions.grow_older(elapsed_us, threshold)
    regions.age[unknown], regions.idle_us[unknown] = age, idle_us


def merged(regions: Regions, threshold: int, limit_bytes: int) -> Regions:
    """Return regions with similar neighbours joined.

    From left to right, a region is joined to the one before it if they touch, their nr_accesses
    differ by at most `threshold`, and their size together is at most `limit_bytes`. nr_accesses
    and age become means weighted by size, rounded down.
    """
    touching = regions.end[:-1] == regions.start[1:]
    similar = (
        touching
        & (np.abs(np.diff(regions.nr_accesses)) <= threshold)
        & (regions.end[1:] - regions.start[:-1] <= limit_bytes)
    )
    # Lists: a loop over their numbers is much faster than one over elements of columns.
    touches, size = [False, *touching.tolist()], regions.size_bytes.tolist()
    accesses, age = regions.nr_accesses.astype(np.int64).tolist(), regions.age.tolist()
    count = len(size)
    first = np.ones(count, dtype=np.bool_)  # where a joined region begins
    stop = 0  # the first region after all runs so far
    for left in np.flatnonzero(similar).tolist():
        if left < stop:
            continue
        whole, mean, mean_age = size[left], accesses[left], age[left]
        for stop in range(left + 1, count + 1):  # pragma: no branch: the last one breaks
            if (
                stop == count
                or not touches[stop]
                or abs(mean - accesses[stop]) > threshold
                or whole + size[stop] > limit_bytes
            ):
                break
            part = size[stop]
            if mean != accesses[stop]:
                mean = (mean * whole + accesses[stop] * part) // (whole + part)
            if mean_age != age[stop]:
                mean_age = (mean_age * whole + age[stop] * part) // (whole + part)
            whole += part
        first[left + 1 : stop] = False
        accesses[left], age[left] = mean, mean_age
    if first.all():
        return regions
    index = np.flatnonzero(first)
    joined = regions.joined(index)
    joined.nr_accesses = np.array(accesses, dtype=np.float64)[index]
    joined.age = np.array(age)[index]
    return joined


def join_most_similar(targets: Sequence[Target], surplus: int) -> None:
    """Join `surplus` pairs of touching neighbours, the most similar of all targets first."""
    differences = [
        np.where(
            target.regions.end[:-1] == target.regions.start[1:],
            np.abs(np.diff(target.regions.nr_accesses)),
            np.inf,
        )
        for target in targets
    ]
    together = np.concatenate(differences)
    most_similar = np.argsort(together, kind="stable")[:surplus]
    joins = np.zeros(len(together), dtype=np.bool_)
    joins[most_similar[np.isfinite(together[most_similar])]] = True
    borders = np.cumsum([len(difference) for difference in differences])[:-1]
    for target, join in zip(targets, np.split(joins, borders), strict=True):
        if join.any():
            first = np.flatnonzero(np.append(True, ~join))
            target.regions = target.regions.joined(first)
            target.regions.nr_accesses = np.floor(target.regions.nr_accesses)


def split(regions: Regions, parts: int, rng: np.random.Generator) -> Regions:
    """Return regions, each cut into up to `parts` at random tenths of its size.

    Parts inherit all counters. For three parts, the first of two is cut again.
    """
    pages = regions.size_bytes // PAGE_SIZE_BYTES
    cuts = []
    for _ in range(parts - 1):
        tenths = rng.integers(1, _CUT_TENTHS, len(regions))
        cut = pages * tenths // _CUT_TENTHS
        cuttable = (pages > _UNSPLIT_PAGES) & (cut > 0)
        cuts.append((regions.start + cut * PAGE_SIZE_BYTES)[cuttable])
        pages = np.where(cuttable, cut, pages)
    return regions.cut_at(np.concatenate(cuts))
