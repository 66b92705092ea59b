"""Simulated people whose truth is known: what is found again of them, and how soon one who does not read is noticed.

Every claim is tried with several crowds; the worst of them has to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from annotation.quality.bias import clicks_by_side
from annotation.quality.bradley_terry import fit, posterior
from annotation.quality.flips import flip_rate
from annotation.quality.votes import FIRST, SECOND, Bools, Ints, Votes
from bench.quality.crowds import Crowd, bradley_terry_crowd, flipping_crowd

CORRELATION = 0.9
POINTS = 5.0  # that the share of wrong votes may be off by
VOTES_TO_NOTICE = 30
FALSE_ALARMS = 1.0  # percent of the careful, in 200 votes looked at one by one
PEOPLE = 2_000
ABILITIES = tuple(float(ability) for ability in np.linspace(0, 2, 20))  # from noise to twice the average
MIXED = (0.02, 0.05, 0.1, 0.15, 0.2, 0.2, 0.25, 0.3, 0.35, 0.38)  # wrong votes of ten people, 20 % in the mean

Claims = Iterator["Claim"]


@dataclass(frozen=True)
class Claim:
    """What was found in each crowd, and from where to where it has to lie, both ends included."""

    name: str
    unit: str
    found: Sequence[float]
    low: float
    high: float

    @property
    def holds(self) -> bool:
        return all(self.low <= value <= self.high for value in self.found)

    def __str__(self) -> str:
        values = f"mean {np.mean(self.found):.3g}, {min(self.found):.3g} to {max(self.found):.3g}"
        bounds = f"wanted {self.low:g} to {self.high:g}"
        return f"{'holds' if self.holds else 'FAILS'}  {self.name}: {values} {self.unit} ({bounds})"


def claims(seeds: Sequence[int]) -> Claims:
    yield from _of_people(seeds)
    yield from _of_labels(seeds)
    yield from _of_wrong_votes(seeds)
    yield from _of_sides()


def crowd_of_twenty(seed: int, *, pairs: int, overlap: int) -> Crowd:
    return bradley_terry_crowd(seed, ability_A=list(ABILITIES), pairs=pairs, overlap=overlap)


def correlation_of_abilities(crowd: Crowd) -> float:
    return float(np.corrcoef(fit(crowd.votes).ability_A, crowd.ability_A)[0, 1])


def correlation_of_differences(crowd: Crowd) -> float:
    found = posterior(crowd.votes, fit(crowd.votes)).difference_P
    return float(np.corrcoef(found, crowd.difference_P)[0, 1])


def by_majority(votes: Votes, rng: np.random.Generator) -> Ints:
    """FIRST or SECOND for every pair; a coin where the votes are even."""
    counts_P3 = votes.counts_by_outcome()
    lead_P = counts_P3[:, 0] - counts_P3[:, 2]
    return np.where(lead_P == 0, rng.choice([FIRST, SECOND], size=len(lead_P)), np.sign(lead_P))


def accuracies(crowd: Crowd, rng: np.random.Generator) -> tuple[float, float]:
    """The share of right labels by the model, and by the majority of the same votes."""
    soft_P = posterior(crowd.votes, fit(crowd.votes)).first_better_P
    ours_P = np.where(soft_P > 0.5, FIRST, SECOND)
    right = [np.mean(label_P == crowd.truth_P) for label_P in (ours_P, by_majority(crowd.votes, rng))]
    return float(right[0]), float(right[1])


def points_off(crowd: Crowd) -> float:
    """By how many points the estimated share of wrong votes is too high."""
    parameters = fit(crowd.votes)
    found = flip_rate(crowd.votes, parameters, posterior(crowd.votes, parameters))
    if found is None:
        raise ValueError("no pair of this crowd was judged twice")
    return 100 * (found.value - crowd.flip_rate())


def flagged_at(share: float, *, votes: int, seed: int) -> Bools:
    """For PEOPLE who vote left with this share: whether they were flagged at any look up to this many votes."""
    rng = np.random.default_rng(seed)
    left = np.cumsum(rng.random((PEOPLE, votes)) < share, axis=1)
    known = {(count, n): clicks_by_side(count, n - count) for n in range(1, votes + 1) for count in range(n + 1)}
    return np.array([any(known[int(count), n] for n, count in enumerate(row, 1)) for row in left])


def _of_people(seeds: Sequence[int]) -> Claims:
    for votes, overlap in ((400, 3), (300, 5)):
        crowds = (crowd_of_twenty(seed, pairs=20 * votes // overlap, overlap=overlap) for seed in seeds)
        name = f"reliability of 20 people, {votes} votes each, {overlap} on a pair"
        yield Claim(name, "correlation", [correlation_of_abilities(crowd) for crowd in crowds], CORRELATION, 1)


def _of_labels(seeds: Sequence[int]) -> Claims:
    crowds = (crowd_of_twenty(seed, pairs=300, overlap=15) for seed in seeds)
    found = [correlation_of_differences(crowd) for crowd in crowds]
    yield Claim("difference of the answers, 15 votes on a pair", "correlation", found, CORRELATION, 1)
    for overlap in (3, 5):
        rows = [
            accuracies(crowd_of_twenty(seed, pairs=3_000, overlap=overlap), np.random.default_rng(seed))
            for seed in seeds
        ]
        ours, majority = np.mean(rows, axis=0)
        name = f"right labels, {overlap} votes on a pair ({ours:.1%}) above the majority's ({majority:.1%})"
        yield Claim(name, "points", [100 * (mine - theirs) for mine, theirs in rows], 0, 100)


def _of_wrong_votes(seeds: Sequence[int]) -> Claims:
    for overlap in (2, 3, 5):
        alike = (flipping_crowd(seed, flip_A=[0.2] * 10, pairs=500, overlap=overlap) for seed in seeds)
        name = f"wrong votes, 20 % planted, {overlap} on a pair, off by"
        yield Claim(name, "points", [points_off(crowd) for crowd in alike], -POINTS, POINTS)
    mixed = (flipping_crowd(seed, flip_A=list(MIXED), pairs=500, overlap=3) for seed in seeds)
    name = "wrong votes, 2 to 38 % planted in ten people, 3 on a pair, off by"
    yield Claim(name, "points", [points_off(crowd) for crowd in mixed], -POINTS, POINTS)


def _of_sides() -> Claims:
    until = next(n for n in range(1, 1_000) if clicks_by_side(n, 0))
    yield Claim("somebody who always clicks left is flagged after", "votes", [until], 1, VOTES_TO_NOTICE)
    nearly = 100 * _share_flagged(0.95, votes=VOTES_TO_NOTICE)
    yield Claim("of those who click left 19 times of 20, flagged within 30 votes", "%", [nearly], 90, 100)
    for share in (0.5, 0.6):
        careful = 100 * _share_flagged(share, votes=200)
        name = f"of those whose share of left is {share:.0%}, ever flagged in 200 votes"
        yield Claim(name, "%", [careful], 0, FALSE_ALARMS)


def _share_flagged(share: float, *, votes: int) -> float:
    return float(np.mean([flagged_at(share, votes=votes, seed=seed) for seed in (1, 2, 3)]))
