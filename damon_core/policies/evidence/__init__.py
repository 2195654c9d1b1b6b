"""The policy `evidence`: regions from all access checks that are still believed.

Linux's DAMON checks one random page per region and interval, throws the addresses away, and
cuts regions at random places. This policy keeps what was paid for: recent checks stay in a
pool and fade with time (`pool`). Each aggregation it plans where to look (`plan`), and then

1. forgets old checks that the new ones contradict (`forgetting`);
2. slides borders to where they are most likely, cuts areas whose checks differ by more than
   chance, and merges neighbours that differ by no more (`borders`);
3. tells as nr_accesses of a region the share of believed checks in it that saw an access: the
   mean over its pages, as Linux's is.

No step loops over regions or checks: all work on columns (`areas`, and with the checks in each
`division`). The number of checks doesn't grow with that of regions until there are many of these.
"""

from damon_core.policies.evidence.policy import EvidencePolicy, EvidencePolicyOptions

__all__ = ["EvidencePolicy", "EvidencePolicyOptions"]
