"""Borders between areas: sliding them, cutting new ones, and merging areas that are alike.

All compare likelihoods, as twice the gain of their logarithm: that of two rates, one on each
side, with that of a single rate on both.
"""

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from damon_core.memory.regions import FloatColumn, IntColumn
from damon_core.memory.samples import BoolColumn
from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.division import Division
from damon_core.policies.evidence.statistics import (
    LEAST_RATE,
    best_of_each,
    first_of_each,
    gain_of_two,
    log_likelihood,
    log_odds,
    ragged,
    rising_runs,
)

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
#: Cuts are looked for among about this many checks in an aggregation: with more, areas take turns.
_SEARCHED_CHECKS = 2_000
#: Neighbours that a border gains less for are merged: well below the ratio of a cut, so that
#: areas aren't cut and merged in turn.
_MERGE_RATIO = 4.0
#: Merging begins to make room when more than this part of the areas allowed is used.
_FULL_SHARE = 0.95
#: Each pass joins pairs only; longer runs are joined over some aggregations.
_MERGE_PASSES = 2
#: Rounding may lose this much.
_NEARLY = 1e-9


def slide(division: Division) -> Division:
    """Return areas with each border at its most likely place.

    It is looked for between the middles of the two areas, so that borders can't pass each
    other. Without this a border would stay at its first, coarse place until the error were
    large enough for a cut of its own.
    """
    areas, pool, bound = division.areas, division.pool, division.bound
    mixed = division.mixed
    # Between areas that are each alike all through, no place is better.
    if not mixed.any():
        return division
    count = bound[1:] - bound[:-1]
    pair = np.flatnonzero(
        areas.touching
        & (np.minimum(count[:-1], count[1:]) >= 2)
        & (mixed[:-1] | mixed[1:])
        # Equal rates have no best place.
        & (np.abs(areas.rate[:-1] - areas.rate[1:]) > LEAST_RATE)
    )
    if not len(pair):
        return division
    middle = (bound[:-1] + bound[1:]) // 2
    rate = np.minimum(np.maximum(areas.rate, LEAST_RATE), 1 - LEAST_RATE)
    left_rate, right_rate = rate[pair], rate[pair + 1]
    miss = np.log((1 - left_rate) / (1 - right_rate))
    extra = np.log(left_rate / right_rate) - miss
    span = middle[pair + 1] - middle[pair]
    check = ragged(middle[pair], span)
    owner = np.repeat(np.arange(len(pair)), span)
    weights, hits = pool.told_by(check)
    score = (miss[owner] * weights + extra[owner] * hits).cumsum()
    best = best_of_each(score, np.cumsum(span) - span)
    left = pair[owner[best]]
    position = check[best] + 1  # the border is behind the best check
    moved = (position <= middle[left + 1]) & (position != bound[left + 1])
    left, position = left[moved], position[moved]
    apart = pool.addresses[position] > pool.addresses[position - 1]
    return division.with_borders(left[apart], position[apart])


@frozen(eq=False)
class _Candidates:
    """Stretches of checks that may differ from the rest of their area.

    Attributes:
        owner: The area of each, as an index of those searched.
        first: The position of its first check in the pool.
        stop: The position behind its last.
        gain: Of telling it from the rest.
    """

    owner: IntColumn
    first: IntColumn
    stop: IntColumn
    gain: FloatColumn

    def only(self, kept: BoolColumn) -> "_Candidates":
        return _Candidates(self.owner[kept], self.first[kept], self.stop[kept], self.gain[kept])


class _Search:
    """A search for cuts: what is known of the areas that could gain from any.

    Args:
        division: The areas and their checks.
        turn: A number that counts up, to take turns in where is looked.

    Attributes:
        turns: After how many turns all areas were searched.
        begin: The position of the first check of each area searched.
        end: The position behind its last.
    """

    def __init__(self, division: Division, turn: int) -> None:
        self._pool = division.pool
        total, hits = division.sums
        # No cut can gain more than the likelihood of an area lacks: all that are alike inside
        # are done with here.
        area = division.mixed.nonzero()[0]
        alone = log_likelihood(hits[area], total[area])
        area, alone = area[-2 * alone > _CUT_RATIO], alone[-2 * alone > _CUT_RATIO]
        count = division.bound[area + 1] - division.bound[area]
        until = np.cumsum(count)
        self.turns = int(until[-1]) // _SEARCHED_CHECKS + 1 if len(until) else 1
        if self.turns > 1:
            mine = (until - 1) * self.turns // until[-1] == turn % self.turns
            area, alone, count = area[mine], alone[mine], count[mine]
        self.begin = division.bound[area]
        self.end = self.begin + count
        self._total, self._hits, self._alone = total[area], hits[area], alone
        self._owner = np.repeat(np.arange(len(area)), count)
        self._check = ragged(self.begin, count)

    def __len__(self) -> int:
        return len(self.begin)

    def single_cuts(self) -> _Candidates:
        """Return the best place to cut each area in two, as the stretch from its start.

        The likelihood is largest where results change, so only places between a hit and a miss
        are tried.
        """
        hit = self._pool.evidence[self._check] > 0
        change = ((hit[1:] != hit[:-1]) & (self._owner[1:] == self._owner[:-1])).nonzero()[0] + 1
        owner = self._owner[change]
        found = self._candidates(owner, self.begin[owner], self._check[change])
        best = np.zeros(len(change), dtype=np.bool_)
        best[best_of_each(found.gain, first_of_each(owner))] = True
        return found.only(best)

    def islands(self, ideas: Sequence[tuple[float, int]]) -> tuple[_Candidates, IntColumn]:
        """Return stretches that are accessed more (1) or less (-1) than the rest of their area.

        Args:
            ideas: The least change of the rate, and the direction, of those that are looked for.

        Returns:
            The stretches, and the number of the idea that each was found with.
        """
        size, checks = len(self), len(self._check)
        # All ideas at once: a row for each.
        least_change = np.array([[idea[0]] for idea in ideas])
        direction = np.array([[idea[1]] for idea in ideas])
        miss, extra = log_odds((self._hits + 0.5) / (self._total + 1), direction, least_change)
        weights, hits = self._pool.told_by(self._check)
        score = miss[:, self._owner] * weights + extra[:, self._owner] * hits
        owner = (np.arange(len(ideas))[:, None] * size + self._owner).ravel()
        first, last = rising_runs(score.ravel(), owner, _ISLAND_SCORE)
        found = self._candidates(
            owner[first] % size, self._check[first % checks], self._check[last % checks] + 1
        )
        return found, owner[first] // size

    def _candidates(self, owner: IntColumn, first: IntColumn, stop: IntColumn) -> _Candidates:
        count = len(owner)
        total, hits = self._pool.sums(first, stop)
        likelihood = log_likelihood(
            np.concatenate((hits, self._hits[owner] - hits)),
            np.concatenate((total, self._total[owner] - total)),
        )
        gain = 2 * (likelihood[:count] + likelihood[count:] - self._alone[owner])
        return _Candidates(owner, first, stop, gain)


def cut(division: Division, most: int, turn: int) -> Division:
    """Return areas cut around islands and at the best single places.

    Args:
        division: The areas and their checks.
        most: How many areas there may be; if room is short, the best cuts are made.
        turn: A number that counts up, to take turns in where and what is looked for.
    """
    room = most - len(division.areas)
    if room <= 0:
        return division
    search = _Search(division, turn)
    if not len(search):
        return division
    single = search.single_cuts()
    best_single = np.zeros(len(search))
    best_single[single.owner] = single.gain
    idea = turn // search.turns % len(_TURN_ISLANDS)
    island, number = search.islands((_EVERY_ISLAND, _TURN_ISLANDS[idea]))
    good = (island.gain > _ISLAND_RATIO) & (
        island.gain > best_single[island.owner] + _ISLAND_ADVANTAGE
    )
    island, number = island.only(good), number[good]
    # In one area those of one idea: two would cut each other.
    idea_of = np.full(len(search), len(_TURN_ISLANDS))
    np.minimum.at(idea_of, island.owner, number)
    island = island.only(number == idea_of[island.owner])
    taken = np.zeros(len(search), dtype=np.bool_)
    taken[island.owner] = True
    single = single.only((single.gain > _CUT_RATIO) & ~taken[single.owner])
    position = np.concatenate((island.first, island.stop, single.stop))
    gain = np.concatenate((island.gain, island.gain, single.gain))
    owner = np.concatenate((island.owner, island.owner, single.owner))
    inside = (position > search.begin[owner]) & (position < search.end[owner])
    position, gain = position[inside], gain[inside]
    addresses = division.pool.addresses
    apart = addresses[position] > addresses[position - 1]
    position, gain = position[apart], gain[apart]
    if len(position) > room:
        position = position[np.argpartition(-gain, room - 1)[:room]]
    return division.cut_at(position) if len(position) else division


def merge(division: Division, most: int, limit_bytes: int) -> Division:
    """Return areas with neighbours joined that don't differ by more than chance.

    Args:
        division: The areas, with rates that their checks tell.
        most: How many areas there may be at the end. To keep within it, neighbours least unlike
            are joined however large they become; only ranges apart stay apart.
        limit_bytes: The size that areas don't exceed otherwise.
    """
    areas = division.areas
    for _ in range(_MERGE_PASSES):
        surplus = len(areas) - int(most * _FULL_SHARE)
        pair = (areas.touching & (areas.end[1:] - areas.start[:-1] <= limit_bytes)).nonzero()[0]
        if surplus <= 0:
            pair = pair[_may_be_alike(areas, pair)]
        if not len(pair):
            break
        loss = _loss(areas, pair)
        join = np.concatenate((pair[loss < _MERGE_RATIO], pair[_least(loss, surplus)]))
        if not len(join):
            break
        areas = areas.joined(join)
    while len(areas) > most and areas.touching.any():
        pair = areas.touching.nonzero()[0]
        areas = areas.joined(pair[_least(_loss(areas, pair), len(areas) - most)])
    return division if areas is division.areas else Division.of(areas, division.pool)


def _may_be_alike(areas: Areas, left: IntColumn) -> BoolColumn:
    """Return behind which areas the border may gain too little, without taking logarithms.

    By Pinsker's inequality it gains at least 4 times the square of the step between the rates,
    times half of the harmonic mean of the checks.
    """
    total, other = areas.believed[left], areas.believed[left + 1]
    step = areas.rate[left] - areas.rate[left + 1]
    alike: BoolColumn = 4 * step * step * total * other < _MERGE_RATIO * (total + other) + _NEARLY
    return alike


def _loss(areas: Areas, left: IntColumn) -> FloatColumn:
    """Return what the borders behind these areas gain."""
    total, other = areas.believed[left], areas.believed[left + 1]
    return gain_of_two(areas.rate[left] * total, total, areas.rate[left + 1] * other, other)


def _least(loss: FloatColumn, count: int) -> IntColumn:
    """Return the positions of the `count` smallest losses, of all if there are fewer."""
    if count >= len(loss):
        return np.arange(len(loss))
    return np.argpartition(loss, count - 1)[:count] if count > 0 else np.zeros(0, dtype=np.int64)
