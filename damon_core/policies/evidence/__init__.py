"""The policy `evidence`: regions from all access checks that are still valid.

Linux's DAMON checks one random page per region and sampling interval, discards the addresses, and
cuts regions at random places. This policy keeps recent checks in a pool, where their weight fades
with time (`pool`). For each aggregation it plans which pages to check (`plan`), and afterwards

1. forgets old checks that the new ones contradict (`forgetting`);
2. moves borders to their most likely place, cuts areas whose checks differ by more than chance,
   and merges neighbours that don't (`borders`);
3. reports as nr_accesses of a region the share of its valid checks that saw an access: an
   estimate of the mean over its pages, as in Linux.

No step loops over regions or checks: all operate on columns (`areas`, and `division` with the
checks in each area). The number of checks grows with that of regions only if there are many.
"""

from damon_core.policies.evidence.policy import EvidencePolicy, EvidencePolicyOptions

__all__ = ["EvidencePolicy", "EvidencePolicyOptions"]
