"""Borders between areas: moving them, cutting new ones, and merging similar areas.

All compare the likelihood of two rates, one on each side of a border, with that of a single rate.
The gain of a border is twice the difference of the two log likelihoods.
"""

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from damon_core.memory.regions import FloatColumn, IntColumn
from damon_core.memory.samples import BoolColumn
from damon_core.policies.evidence.areas import Areas
from damon_core.policies.evidence.division import Division
from damon_core.policies.evidence.pool import CAPACITY
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

#: The least gain of a cut. All places are tried in each aggregation: 8 is common by chance.
_CUT_RATIO = 10.5
#: The least gain of an island, which has two free ends, and how much more than the best single
#: cut it must gain.
_ISLAND_RATIO = 12.0
_ISLAND_ADVANTAGE = 2.0
#: The log odds from which an island's gain is worth computing.
_ISLAND_SCORE = 2.0
#: Each search for islands makes two assumptions about them (least rate, direction). Hot islands
#: matter most and are always searched for; the others take turns, which saves half of the time.
_EVERY_ISLAND = (0.9, 1)
_TURN_ISLANDS = ((0.35, 1), (0.9, -1), (0.35, -1))
#: An aggregation searches about this many checks for cuts; with more, areas take turns.
_SEARCHED_CHECKS = 2_000
#: Neighbours are merged if their border gains less than this: well below the gain of a cut, so
#: that areas aren't cut and merged alternately.
_MERGE_RATIO = 4.0
#: Merging makes room when more than this share of the allowed areas exists.
_FULL_SHARE = 0.95
#: Each pass joins only pairs; longer runs are joined over several aggregations.
_MERGE_PASSES = 2
#: The largest error of rounding.
_NEARLY = 1e-9


def slide(division: Division) -> Division:
    """Return the division with each border at its most likely place.

    The place is searched between the middles of the two areas, so that borders can't pass each
    other. Without this a border would keep its first, inexact place until the error is large
    enough for another cut.
    """
    areas, pool, bound = division.areas, division.pool, division.bound
    mixed = division.mixed
    # Between areas whose checks all agree, no place is better.
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
    weights, hits = pool.weights_and_hits(check)
    score = (miss[owner] * weights + extra[owner] * hits).cumsum()
    best = best_of_each(score, np.cumsum(span) - span)
    left = pair[owner[best]]
    position = check[best] + 1  # the border is after the best check
    moved = (position <= middle[left + 1]) & (position != bound[left + 1])
    left, position = left[moved], position[moved]
    apart = pool.addresses[position] > pool.addresses[position - 1]
    return division.with_borders(left[apart], position[apart])


@frozen(eq=False)
class _Candidates:
    """Stretches of checks that may differ from the rest of their area.

    Attributes:
        owner: The area of each, as an index into the areas searched.
        first: The position of its first check in the pool.
        stop: The position after its last check.
        gain: The gain of separating it from the rest.
    """

    owner: IntColumn
    first: IntColumn
    stop: IntColumn
    gain: FloatColumn

    def only(self, kept: BoolColumn) -> "_Candidates":
        return _Candidates(self.owner[kept], self.first[kept], self.stop[kept], self.gain[kept])


class _Search:
    """A search for cuts in the areas that could gain from one.

    Args:
        division: The areas and their checks.
        turn: A number that counts up, for areas to take turns.

    Attributes:
        turns: The number of turns until all areas have been searched.
        begin: The position of the first check of each area searched.
        end: The position after its last check.
    """

    def __init__(self, division: Division, turn: int) -> None:
        self._pool = division.pool
        total, hits = division.sums
        # A cut raises an area's log likelihood to at most 0: excludes areas that can't gain enough.
        area = division.mixed.nonzero()[0]
        alone = log_likelihood(hits[area], total[area])
        area, alone = area[-2 * alone > _CUT_RATIO], alone[-2 * alone > _CUT_RATIO]
        count = division.bound[area + 1] - division.bound[area]
        until = np.cumsum(count)
        # More checks than usual are forgotten sooner: their areas are searched as much sooner.
        searched = max(_SEARCHED_CHECKS, int(np.count_nonzero(division.pool.age == 0)))
        self.turns = int(until[-1]) // searched + 1 if len(until) else 1
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
        """Return the best place to cut each area in two, as the stretch before the cut.

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

    def islands(self, assumptions: Sequence[tuple[float, int]]) -> tuple[_Candidates, IntColumn]:
        """Return stretches that are accessed more (1) or less (-1) than the rest of their area.

        Args:
            assumptions: Least change of the rate, and direction, of the islands to find.

        Returns:
            The stretches, and the index of the assumption that each was found with.
        """
        size, checks = len(self), len(self._check)
        # All assumptions at once: a row for each.
        least_change = np.array([[least] for least, _ in assumptions])
        direction = np.array([[direction] for _, direction in assumptions])
        miss, extra = log_odds((self._hits + 0.5) / (self._total + 1), direction, least_change)
        weights, hits = self._pool.weights_and_hits(self._check)
        score = miss[:, self._owner] * weights + extra[:, self._owner] * hits
        owner = (np.arange(len(assumptions))[:, None] * size + self._owner).ravel()
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
    """Return the division cut around islands and at the best single places.

    Args:
        division: The areas and their checks.
        most: The largest number of areas allowed; if it is reached, only the best cuts are made.
        turn: A number that counts up, for areas and kinds of islands to take turns.
    """
    room = most - len(division.areas)
    if room <= 0:
        return division
    search = _Search(division, turn)
    if not len(search):
        return division
    # Among more places, chance makes a larger gain.
    more = 2 * np.log(max(1.0, len(division.pool) / CAPACITY))
    single = search.single_cuts()
    best_single = np.zeros(len(search))
    best_single[single.owner] = single.gain
    kind = turn // search.turns % len(_TURN_ISLANDS)
    island, number = search.islands((_EVERY_ISLAND, _TURN_ISLANDS[kind]))
    good = (island.gain > _ISLAND_RATIO + more) & (
        island.gain > best_single[island.owner] + _ISLAND_ADVANTAGE
    )
    island, number = island.only(good), number[good]
    # In one area only islands of one assumption: those of different ones may overlap.
    number_of = np.full(len(search), len(_TURN_ISLANDS))
    np.minimum.at(number_of, island.owner, number)
    island = island.only(number == number_of[island.owner])
    taken = np.zeros(len(search), dtype=np.bool_)
    taken[island.owner] = True
    single = single.only((single.gain > _CUT_RATIO + more) & ~taken[single.owner])
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
    """Return the division with neighbours joined that don't differ by more than chance.

    Args:
        division: The areas, with rates from their checks.
        most: The largest number of areas allowed. To keep it, the most similar neighbours are
            joined, however large they become, unless there is a gap between them.
        limit_bytes: The size that areas don't exceed otherwise.
    """
    areas = division.areas
    for _ in range(_MERGE_PASSES):
        surplus = len(areas) - int(most * _FULL_SHARE)
        pair = (areas.touching & (areas.end[1:] - areas.start[:-1] <= limit_bytes)).nonzero()[0]
        if surplus <= 0:
            pair = pair[_may_be_similar(areas, pair)]
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


def _may_be_similar(areas: Areas, left: IntColumn) -> BoolColumn:
    """Return whether the border after each area may gain too little, without using logarithms.

    By Pinsker's inequality a border gains at least 4 times the square of the step between the
    rates, times half of the harmonic mean of the checks.
    """
    total, other = areas.weight[left], areas.weight[left + 1]
    step = areas.rate[left] - areas.rate[left + 1]
    similar: BoolColumn = 4 * step * step * total * other < _MERGE_RATIO * (total + other) + _NEARLY
    return similar


def _loss(areas: Areas, left: IntColumn) -> FloatColumn:
    """Return the gain of the border after each of these areas: the loss of merging there."""
    total, other = areas.weight[left], areas.weight[left + 1]
    return gain_of_two(areas.rate[left] * total, total, areas.rate[left + 1] * other, other)


def _least(loss: FloatColumn, count: int) -> IntColumn:
    """Return the positions of the `count` smallest losses, or all if there are fewer."""
    if count >= len(loss):
        return np.arange(len(loss))
    return np.argpartition(loss, count - 1)[:count] if count > 0 else np.zeros(0, dtype=np.int64)
