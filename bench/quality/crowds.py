"""Votes by hand, and votes of simulated annotators whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotation.quality.votes import LEFT, RIGHT, UNKNOWN, Floats, Ints, Votes


def votes_of(pairs: list[list[tuple[int, int]]]) -> Votes:
    """Votes as (annotator, outcome) for each pair; the first answer stands on the left."""
    rows = [(pair, annotator, outcome) for pair, votes in enumerate(pairs) for annotator, outcome in votes]
    pair, annotator, outcome = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Votes(
        pair_N=pair,
        annotator_N=annotator,
        outcome_N=outcome,
        first_on_N=np.full(len(rows), LEFT),
        seconds_N=np.zeros(len(rows)),
        is_drawn_N=np.zeros(len(rows), dtype=np.bool_),
        expected_P=np.full(len(pairs), UNKNOWN),
        log_length_ratio_P=np.zeros(len(pairs)),
        characters_P=np.full(len(pairs), 1000.0),
        annotators=int(annotator.max()) + 1,
    )


@dataclass(frozen=True)
class Crowd:
    """What simulated annotators said, and the truth behind it: the pairs' differences and the votes turned round."""

    votes: Votes
    difference_P: Floats
    ability_A: Floats

    @property
    def truth_P(self) -> Ints:
        return np.where(self.difference_P > 0, 1, -1)

    def flip_rate(self) -> float:
        """The share of decided votes that contradict the truth."""
        decided = self.votes.outcome_N != 0
        return float(np.mean(self.votes.outcome_N[decided] != self.truth_P[self.votes.pair_N][decided]))


def assign(rng: np.random.Generator, *, pairs: int, annotators: int, overlap: int) -> tuple[Ints, Ints]:
    """Every pair goes to `overlap` different people, drawn evenly."""
    chosen = np.stack([rng.choice(annotators, size=overlap, replace=False) for _ in range(pairs)])
    return np.repeat(np.arange(pairs), overlap), chosen.ravel()


def flipping_crowd(seed: int, *, flip_A: list[float], pairs: int, overlap: int) -> Crowd:
    """Each person turns the truth round with their own probability; there are no ties and no easy pairs."""
    rng = np.random.default_rng(seed)
    difference_P = rng.choice([-1.0, 1.0], size=pairs)
    pair_N, annotator_N = assign(rng, pairs=pairs, annotators=len(flip_A), overlap=overlap)
    turned_N = rng.random(len(pair_N)) < np.array(flip_A)[annotator_N]
    outcome_N = difference_P[pair_N].astype(np.int64) * np.where(turned_N, -1, 1)
    return _crowd(rng, pair_N, annotator_N, outcome_N, difference_P, 1 - np.array(flip_A))


def bradley_terry_crowd(
    seed: int,
    *,
    ability_A: list[float],
    pairs: int,
    overlap: int,
    spread: float = 2.0,
    tie: float = 0.4,
    position_A: list[float] | None = None,
    length_A: list[float] | None = None,
) -> Crowd:
    """Votes drawn from Davidson's model with ability, position and length terms."""
    rng = np.random.default_rng(seed)
    people = len(ability_A)
    difference_P = rng.normal(0, spread, size=pairs)
    length_P = rng.normal(0, 0.7, size=pairs)
    pair_N, annotator_N = assign(rng, pairs=pairs, annotators=people, overlap=overlap)
    first_on_N = rng.choice([LEFT, RIGHT], size=len(pair_N))
    utility_N = (
        np.array(ability_A)[annotator_N] * difference_P[pair_N]
        + np.array(position_A or [0.0] * people)[annotator_N] * first_on_N
        + np.array(length_A or [0.0] * people)[annotator_N] * length_P[pair_N]
    )
    weights_N3 = np.stack([np.exp(utility_N / 2), np.full(len(pair_N), tie), np.exp(-utility_N / 2)], axis=1)
    drawn_N = rng.random(len(pair_N)) * weights_N3.sum(axis=1)
    outcome_N = 1 - (drawn_N[:, None] > np.cumsum(weights_N3, axis=1)).sum(axis=1)
    return _crowd(rng, pair_N, annotator_N, outcome_N, difference_P, np.array(ability_A), first_on_N, length_P)


def _crowd(
    rng: np.random.Generator,
    pair_N: Ints,
    annotator_N: Ints,
    outcome_N: Ints,
    difference_P: Floats,
    ability_A: Floats,
    first_on_N: Ints | None = None,
    length_P: Floats | None = None,
) -> Crowd:
    votes = Votes(
        pair_N=pair_N,
        annotator_N=annotator_N,
        outcome_N=outcome_N,
        first_on_N=rng.choice([LEFT, RIGHT], size=len(pair_N)) if first_on_N is None else first_on_N,
        seconds_N=np.zeros(len(pair_N)),
        is_drawn_N=np.zeros(len(pair_N), dtype=np.bool_),
        expected_P=np.full(len(difference_P), UNKNOWN),
        log_length_ratio_P=np.zeros(len(difference_P)) if length_P is None else length_P,
        characters_P=np.full(len(difference_P), 1000.0),
        annotators=len(ability_A),
    )
    return Crowd(votes=votes, difference_P=difference_P, ability_A=ability_A)
