"""Borders between areas: sliding them, cutting new ones, and merging areas that are alike.

All compare likelihoods, as twice the gain of their logarithm: that of two rates, one on each
side, with that of a single rate on both.
"""

import numpy as np
from attrs import frozen

from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.pool import Pool
from damon_core.policies.evidence.statistics import (
    LEAST_RATE,
    best_of_each,
    log_likelihood,
    log_odds,
    ragged,
    rising_runs,
)
from damon_core.regions import FloatColumn, IntColumn
from damon_core.samples import BoolColumn

#: What a cut must gain. Scanning all places again and again makes gains of 8 common by chance.
_CUT_RATIO = 10.5
#: What an island must gain, which has two free ends, and how much more than the best single cut.
_ISLAND_RATIO = 12.0
_ISLAND_ADVANTAGE = 2.0
#: Log odds that an island must have before its gain is worth computing.
_ISLAND_SCORE = 2.0
#: Islands are sought with two ideas of how they differ from their area (least rate, direction).
#: Hot ones are what matters most and are sought each time; the others take turns, which saves
#: half of the time.
_EVERY_ISLAND = (0.9, 1)
_TURN_ISLANDS = ((0.35, 1), (0.9, -1), (0.35, -1))
#: Neighbours that a border gains less for are merged: well below the ratio of a cut, so that
#: areas aren't cut and merged in turn.
_MERGE_RATIO = 4.0
#: Merging begins to make room when more than this part of the areas allowed is used.
_FULL_SHARE = 0.95
#: Each pass joins pairs only; longer runs are joined over some aggregations.
_MERGE_PASSES = 2


def slide(areas: Areas, pool: Pool) -> Areas:
    """Return areas with each border at its most likely place.

    It is looked for between the middles of the two areas, so that borders can't pass each
    other. Without this a border would stay at its first, coarse place until the error were
    large enough for a cut of its own.
    """
    bound = pool.bounds(areas)
    count = np.diff(bound)
    pair = areas.touching & (np.minimum(count[:-1], count[1:]) >= 2)
    if not pair.any():
        return areas
    middle = (bound[:-1] + bound[1:]) // 2
    rate = np.clip(areas.rate, LEAST_RATE, 1 - LEAST_RATE)
    hit = np.log(rate[:-1] / rate[1:])
    miss = np.log((1 - rate[:-1]) / (1 - rate[1:]))
    owner = np.repeat(np.arange(len(pair)), np.diff(middle))
    span = slice(int(middle[0]), int(middle[-1]))
    score = np.cumsum(miss[owner] * pool.weights[span] + (hit - miss)[owner] * pool.hits[span])
    best = best_of_each(score, owner)
    left = owner[best]
    position = best + middle[0] + 1  # the border is behind the best check
    good = pair[left] & (position <= middle[left + 1]) & (position != bound[left + 1])
    # Equal rates have no best place.
    good &= np.abs(areas.rate[left] - areas.rate[left + 1]) > LEAST_RATE
    left, position = left[good], position[good]
    apart = pool.addresses[position] > pool.addresses[position - 1]
    left, position = left[apart], position[apart]
    return areas.with_borders(left, pool.between(position))


@frozen(eq=False)
class _Candidates:
    """Stretches of checks that may differ from the rest of their area.

    Attributes:
        area: The area of each.
        first: The position of its first check in the pool.
        stop: The position behind its last.
        gain: Of telling it from the rest.
    """

    area: IntColumn
    first: IntColumn
    stop: IntColumn
    gain: FloatColumn

    def only(self, kept: BoolColumn) -> "_Candidates":
        return _Candidates(self.area[kept], self.first[kept], self.stop[kept], self.gain[kept])


class _Search:
    """A search for cuts: what is known of the areas that could gain from any."""

    def __init__(self, areas: Areas, pool: Pool) -> None:
        self.pool = pool
        self.bound = pool.bounds(areas)
        self.total, self.hits = pool.sums(self.bound[:-1], self.bound[1:])
        self.alone = log_likelihood(self.hits, self.total)
        # No cut can gain more than the likelihood of an area lacks: all that are alike inside
        # are done with here.
        worthwhile = np.flatnonzero(-2 * self.alone > _CUT_RATIO)
        count = self.bound[worthwhile + 1] - self.bound[worthwhile]
        self.member = ragged(self.bound[worthwhile], count)
        self.area = np.repeat(worthwhile, count)
        self.member_hits = pool.hits[self.member]
        self.member_weights = pool.weights[self.member]

    def single_cuts(self) -> _Candidates:
        """Return the best place to cut each area in two, as the stretch from its start.

        The likelihood is largest where results change, so only places between a hit and a miss
        are tried.
        """
        hit = self.member_hits > 0
        change = np.flatnonzero((hit[1:] != hit[:-1]) & (self.area[1:] == self.area[:-1])) + 1
        found = self._candidates(
            self.area[change], self.bound[self.area[change]], self.member[change]
        )
        best = np.zeros(len(change), dtype=np.bool_)
        best[best_of_each(found.gain, found.area)] = True
        return found.only(best)

    def islands(self, least_rate: float, direction: int) -> _Candidates:
        """Return stretches that are accessed more (1) or less (-1) than the rest of their area."""
        miss, extra = log_odds((self.hits + 0.5) / (self.total + 1), direction, least_rate)
        score = miss[self.area] * self.member_weights + extra[self.area] * self.member_hits
        first, last = rising_runs(score, self.area, _ISLAND_SCORE)
        return self._candidates(self.area[first], self.member[first], self.member[last] + 1)

    def _candidates(self, area: IntColumn, first: IntColumn, stop: IntColumn) -> _Candidates:
        total, hits = self.pool.sums(first, stop)
        inside = log_likelihood(hits, total)
        outside = log_likelihood(self.hits[area] - hits, self.total[area] - total)
        return _Candidates(area, first, stop, 2 * (inside + outside - self.alone[area]))


def cut(areas: Areas, pool: Pool, most: int, turn: int) -> Areas:
    """Return areas cut around islands and at the best single places.

    Args:
        areas: The areas.
        pool: Their checks.
        most: How many areas there may be; if room is short, the best cuts are made.
        turn: A number that counts up, to take turns in what is looked for.
    """
    room = most - len(areas)
    search = _Search(areas, pool)
    if room <= 0 or not len(search.member):
        return areas
    single = search.single_cuts()
    best_single = np.zeros(len(areas))
    best_single[single.area] = single.gain
    taken = np.zeros(len(areas), dtype=np.bool_)
    positions, gains = [], []
    for least_rate, direction in (_EVERY_ISLAND, _TURN_ISLANDS[turn % len(_TURN_ISLANDS)]):
        island = search.islands(least_rate, direction)
        island = island.only(
            (island.gain > _ISLAND_RATIO)
            & (island.gain > best_single[island.area] + _ISLAND_ADVANTAGE)
            & ~taken[island.area]
        )
        taken[island.area] = True
        for edge in (island.first, island.stop):
            inside = (edge > search.bound[island.area]) & (edge < search.bound[island.area + 1])
            positions.append(edge[inside])
            gains.append(island.gain[inside])
    single = single.only((single.gain > _CUT_RATIO) & ~taken[single.area])
    position = np.concatenate((*positions, single.stop))
    gain = np.concatenate((*gains, single.gain))
    apart = pool.addresses[position] > pool.addresses[position - 1]
    position, gain = position[apart], gain[apart]
    if len(position) > room:
        position = position[np.argsort(-gain, kind="stable")[:room]]
    return areas.cut_at(pool.between(position)) if len(position) else areas


def merge(areas: Areas, pool: Pool, most: int, limit_bytes: int) -> Areas:
    """Return areas with neighbours joined that don't differ by more than chance.

    Args:
        areas: The areas.
        pool: Their checks.
        most: How many areas there may be at the end. To keep within it, neighbours least unlike
            are joined however large they become; only ranges apart stay apart.
        limit_bytes: The size that areas don't exceed otherwise.
    """
    for _ in range(_MERGE_PASSES):
        loss = _loss(areas, pool)
        joinable = areas.touching & (areas.end[1:] - areas.start[:-1] <= limit_bytes)
        join = joinable & (loss < _MERGE_RATIO)
        join |= _least(loss, joinable, len(areas) - int(most * _FULL_SHARE))
        if not join.any():
            break
        areas = areas.joined(join)
    while len(areas) > most and areas.touching.any():
        areas = areas.joined(_least(_loss(areas, pool), areas.touching, len(areas) - most))
    return areas


def _loss(areas: Areas, pool: Pool) -> FloatColumn:
    """Return what the border behind each area but the last gains."""
    bound = pool.bounds(areas)
    total, hits = pool.sums(bound[:-1], bound[1:])
    alone = log_likelihood(hits, total)
    together = log_likelihood(hits[1:] + hits[:-1], total[1:] + total[:-1])
    return 2 * (alone[1:] + alone[:-1] - together)


def _least(loss: FloatColumn, allowed: BoolColumn, count: int) -> BoolColumn:
    """Return which `count` of the allowed joins lose least."""
    least = np.zeros(len(loss), dtype=np.bool_)
    if count > 0:
        candidates = np.flatnonzero(allowed)
        least[candidates[np.argsort(loss[candidates], kind="stable")[:count]]] = True
    return least
