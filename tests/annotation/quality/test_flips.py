"""The share of wrong votes, which is what DPO smooths its labels by."""

import numpy as np
import pytest

from annotation.quality.bradley_terry import fit, posterior
from annotation.quality.flips import HIGHEST_SMOOTHING, LEAST_SHARED, flip_rate, label_smoothing
from annotation.quality.intervals import Estimate
from annotation.quality.votes import FIRST, SECOND, TIE, Votes
from bench.quality.crowds import Crowd, bradley_terry_crowd, flipping_crowd, votes_of
from bench.quality.proof import MIXED, points_off

SEEDS = [1, 2]  # `python -m bench.quality` tries twelve
FIVE_POINTS = 5


def flips(votes: Votes) -> Estimate | None:
    parameters = fit(votes)
    return flip_rate(votes, parameters, posterior(votes, parameters))


def estimated(crowd: Crowd) -> Estimate:
    found = flips(crowd.votes)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("overlap", [2, 3])
def test_one_vote_in_five_planted_wrong_is_found_within_five_points(seed: int, overlap: int) -> None:
    """Ten people who each turn one vote in five round."""
    crowd = flipping_crowd(seed, flip_A=[0.2] * 10, pairs=500, overlap=overlap)
    assert abs(points_off(crowd)) <= FIVE_POINTS


@pytest.mark.parametrize("seed", SEEDS)
def test_one_vote_in_five_is_found_when_some_are_careful_and_some_are_not(seed: int) -> None:
    """From one in fifty to two in five, one in five in the mean."""
    crowd = flipping_crowd(seed, flip_A=list(MIXED), pairs=500, overlap=3)
    assert abs(points_off(crowd)) <= FIVE_POINTS


@pytest.mark.parametrize("seed", SEEDS)
def test_where_pairs_are_close_and_people_tie_it_is_found_too(seed: int) -> None:
    crowd = bradley_terry_crowd(seed, ability_A=[0.6, 0.8, 1.0, 1.0, 1.2, 1.4], pairs=500, overlap=3)
    assert abs(points_off(crowd)) <= FIVE_POINTS


def test_it_counts_the_votes_for_one_answer() -> None:
    votes = votes_of([[(0, FIRST), (1, SECOND)]] * LEAST_SHARED + [[(0, TIE), (1, FIRST)], [(0, SECOND)]])
    found = flips(votes)
    assert found is not None
    assert found.n == 2 * LEAST_SHARED + 2
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_before_ten_pairs_with_two_votes_for_an_answer_nothing_is_known() -> None:
    others = [[(0, FIRST)], [(0, SECOND), (1, TIE)]] * 20
    twice = [(0, FIRST), (1, FIRST)]
    assert flips(votes_of([*others, *[twice] * 9])) is None
    assert flips(votes_of([*others, *[twice] * 10])) is not None
    assert label_smoothing(None) is None


@pytest.mark.parametrize(("rate", "smoothing"), [(0.2137, 0.21), (0.49, HIGHEST_SMOOTHING), (0.0, 0.0)])
def test_the_smoothing_is_the_rate_in_whole_percents_below_one_half(rate: float, smoothing: float) -> None:
    assert label_smoothing(Estimate(rate, 100, rate - 0.1, rate + 0.1 - 1e-9)) == smoothing


def test_no_smoothing_is_proposed_from_a_handful_of_votes() -> None:
    assert label_smoothing(Estimate(0.35, 7, 0.16, 0.55)) is None
    assert label_smoothing(estimated(flipping_crowd(3, flip_A=[0.2] * 4, pairs=10, overlap=2))) is None


def test_more_votes_make_the_interval_narrower() -> None:
    few, many = (estimated(flipping_crowd(3, flip_A=[0.2] * 10, pairs=pairs, overlap=3)) for pairs in (100, 900))

    def width(found: Estimate) -> float:
        assert found.low is not None
        assert found.high is not None
        return found.high - found.low

    assert width(many) < width(few)
    assert np.isfinite(width(few))
