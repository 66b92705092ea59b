"""The share of left and of the longer answer, and when a side is proof."""

from dataclasses import replace
from itertools import product
from math import comb, exp, log

import numpy as np
import pytest
from scipy.special import betaln

from annotation.quality.bias import (
    clicks_by_side,
    longer_shares,
    overall_left,
    overall_longer,
    side_shares,
)
from annotation.quality.intervals import FALSE_ALARMS, share_is_outside
from annotation.quality.votes import FIRST, LEFT, RIGHT, SECOND, TIE, UNSEEN
from bench.quality.crowds import votes_of
from bench.quality.proof import PEOPLE, flagged_at


def test_somebody_who_always_clicks_left_is_flagged_after_fifteen_votes() -> None:
    # 0.6^-n / (n + 1) passes 100 between n = 14 (85.6) and n = 15 (133).
    assert [clicks_by_side(n, 0) for n in (14, 15)] == [False, True]
    assert [clicks_by_side(0, n) for n in (14, 15)] == [False, True]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_left_clicker_is_flagged_within_thirty_votes(seed: int) -> None:
    """One who clicks left nineteen times out of twenty is: 27 of 30 suffice, which happens 93.9 % of the time.

    Three standard errors of 2,000 people are allowed. One who always clicks left is flagged by the test above.
    """
    enough = sum(comb(30, left) * 0.95**left * 0.05 ** (30 - left) for left in (27, 28, 29, 30))
    assert clicks_by_side(27, 3)
    assert flagged_at(0.95, votes=30, seed=seed).mean() >= enough - 3 * np.sqrt(enough * (1 - enough) / PEOPLE)


@pytest.mark.parametrize(("share", "seed"), [(0.5, 1), (0.5, 2), (0.6, 3), (0.4, 4)])
def test_honest_people_are_hardly_ever_flagged_though_every_vote_is_looked_at(share: float, seed: int) -> None:
    """At most FALSE_ALARMS in 200 votes, three standard errors of 2,000 people allowed."""
    most = FALSE_ALARMS + 3 * np.sqrt(FALSE_ALARMS * (1 - FALSE_ALARMS) / PEOPLE)
    assert flagged_at(share, votes=200, seed=seed).mean() <= most


def test_all_gold_missed_is_proof_after_six() -> None:
    # 0.3^-n / (n + 1) passes 100 between n = 5 (68.6) and n = 6 (196).
    assert [share_is_outside((0.7, 1.0), 0, n) for n in (0, 5, 6)] == [False, False, True]
    assert not share_is_outside((0.7, 1.0), 500, 0)


def test_the_ratio_is_a_fair_bet_against_the_fairest_share() -> None:
    """Its mean over all sequences of n votes is at most 1 at the edge of the fair band: the claim behind the alarm."""
    n = 10
    mean = 0.0
    for votes in product((0, 1), repeat=n):
        left = sum(votes)
        fairest = min(max(left / n, 0.4), 0.6)
        ratio = exp(betaln(1 + left, 1 + n - left) - left * log(fairest) - (n - left) * log(1 - fairest))
        mean += 0.6**left * 0.4 ** (n - left) * ratio
    assert mean <= 1


def test_the_side_is_what_was_seen_and_ties_have_none() -> None:
    votes = votes_of([[(0, FIRST)], [(0, SECOND)], [(0, SECOND)], [(0, TIE)], [(1, FIRST)]])
    votes = replace(votes, first_on_N=np.array([LEFT, RIGHT, LEFT, LEFT, UNSEEN]))
    mine, theirs = side_shares(votes)
    assert mine.left is not None
    assert (mine.left.value, mine.left.n) == (pytest.approx(2 / 3), 3)
    assert theirs.left is None
    assert not theirs.flagged
    assert overall_left(votes) == mine.left


def test_the_longer_answer_is_counted_where_one_is_longer() -> None:
    votes = votes_of([[(0, FIRST), (1, SECOND)], [(0, FIRST)], [(0, FIRST)], [(0, TIE)]])
    votes = replace(votes, log_length_ratio_P=np.array([1.0, -1.0, 0.0, 1.0]))
    mine, theirs = longer_shares(votes)
    assert mine is not None
    assert theirs is not None
    assert (mine.value, mine.n, theirs.value, theirs.n) == (0.5, 2, 0.0, 1)
    everybody = overall_longer(votes)
    assert everybody is not None
    assert (everybody.value, everybody.n) == (pytest.approx(1 / 3), 3)
