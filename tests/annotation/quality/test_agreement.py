"""Percent, Cohen's and Fleiss' kappa, Krippendorff's alpha, and the intervals around them."""

import numpy as np
import pytest

from annotation.quality.agreement import agreement, alpha, cohen_kappa, fleiss_kappa, judged_twice, percent
from annotation.quality.annotators import against_the_rest
from annotation.quality.intervals import jackknife, proportion
from annotation.quality.votes import FIRST, SECOND, TIE
from bench.quality.crowds import votes_of

NO_VARIETY = np.array([[3, 0, 0], [2, 0, 0]])


def test_percent_counts_couples_of_votes() -> None:
    # Three of three couples agree, then one of three ({first, first} against first-second twice), then none of one.
    assert percent(np.array([[3, 0, 0], [2, 0, 1], [1, 0, 1]])) == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_fleiss_kappa_of_a_table_worked_by_hand() -> None:
    # Shares 1/2 and 1/2, so chance is 1/2; the pairs agree in 1, 1, 1/3, 1/3: (2/3 - 1/2) / (1/2) = 1/3.
    assert fleiss_kappa(np.array([[3, 0], [0, 3], [2, 1], [1, 2]])) == pytest.approx(1 / 3)


def test_cohen_kappa_of_a_table_worked_by_hand() -> None:
    # Agreed 35 of 50; chance (25·30 + 25·20) / 50² = 1/2: (0.7 - 0.5) / 0.5 = 0.4.
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)


def test_alpha_of_votes_worked_by_hand() -> None:
    # Coincidences: first-first 2, second-second 2, first-second 1+1. Observed disagreement 2·4/6, expected (9+9)·4/30.
    counts = np.array([[2, 0, 0], [0, 0, 2], [1, 0, 1]])
    assert alpha(counts) == pytest.approx(1 - (2 * 4 / 6) / (18 * 4 / 30))


def test_a_tie_is_half_a_disagreement_to_alpha() -> None:
    against_a_tie, against_the_other = (
        np.array([[9, 0, 0], [0, 0, 9], [1, 1, 0]]),
        np.array([[9, 0, 0], [0, 0, 9], [1, 0, 1]]),
    )
    assert alpha(against_a_tie) > alpha(against_the_other)
    # Coincidences: first-first 2, second-second 2, first-tie 1+1. Observed 2·1/6; expected, of three firsts, one tie
    # and two seconds, (2·3·1 + 2·1·2 + 2·3·2·4)/30.
    assert alpha(np.array([[2, 0, 0], [0, 0, 2], [1, 1, 0]])) == pytest.approx(1 - (2 / 6) / (58 / 30))
    assert percent(against_a_tie) == percent(against_the_other)


def test_what_only_one_person_judged_tells_nothing() -> None:
    assert judged_twice(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])).tolist() == [[1, 1, 0]]
    assert agreement(np.array([[1, 0, 0], [0, 0, 1]])) == {"percent": None, "kappa": None, "alpha": None}


def test_where_everybody_always_says_the_same_chance_cannot_be_told_from_agreement() -> None:
    found = agreement(NO_VARIETY)
    assert (found["kappa"], found["alpha"]) == (None, None)
    assert found["percent"] is not None
    assert (found["percent"].value, found["percent"].low) == (1, None)


def test_wilsons_interval_solves_its_own_equation() -> None:
    """Its ends are the shares p that lie z standard errors, by p itself, from what was seen."""
    found = proportion(14, 20)
    assert found is not None
    for end in (found.low, found.high):
        assert end is not None
        assert abs(0.7 - end) / np.sqrt(end * (1 - end) / 20) == pytest.approx(1.959964, abs=1e-6)
    assert proportion(0, 0) is None


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 4, size=(60, 1))
    found = jackknife(lambda rows: float(rows.mean()) / 10, values)
    assert found is not None
    assert found.low == pytest.approx(values.mean() / 10 - 1.959964 * values.std(ddof=1) / 10 / np.sqrt(60), abs=1e-6)


def test_the_interval_of_alpha_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 projects of 150 pairs with three votes each, right with probability 0.8: the limit of α is 0.36 + O(1/n).

    α for two equally frequent outcomes is the correlation of two votes, (2·0.8 - 1)² = 0.36. 95 % of 200 is 190; the
    binomial's 1 % to 99 % range is 182 to 196, a few are left for the small sample.
    """
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        right = rng.binomial(3, 0.8, size=150)
        first = np.where(rng.random(150) < 0.5, right, 3 - right)
        found = agreement(np.stack([first, 0 * first, 3 - first], axis=1))["alpha"]
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.36 <= found.high
    assert 180 <= covered <= 197


def test_no_share_is_below_zero_and_no_kappa_below_minus_one() -> None:
    found = agreement(np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [2, 0, 0]]))
    for name, lowest in (("percent", 0.0), ("kappa", -1.0), ("alpha", -1.0)):
        estimate = found[name]
        assert estimate is not None
        assert estimate.low is not None
        assert lowest <= estimate.low < estimate.value


def test_an_annotator_is_held_against_the_majority_of_the_others() -> None:
    votes = votes_of(
        [
            [(0, FIRST), (1, FIRST), (2, FIRST)],
            [(0, FIRST), (1, SECOND), (2, SECOND)],
            [(0, TIE), (1, FIRST)],
            [(0, FIRST)],
        ]
    )
    odd, even, _ = (found.percent for found in against_the_rest(votes))
    assert odd is not None
    assert even is not None
    # The first agrees once, is alone twice, and judged one pair that nobody else did.
    assert (odd.value, odd.n) == (pytest.approx(1 / 3), 3)
    # For the second the others are split on the second pair, which has no majority to hold against.
    assert (even.value, even.n) == (pytest.approx(1 / 2), 2)


def test_who_says_the_opposite_of_the_others_is_marked_when_chance_does_not_explain_it() -> None:
    # 2^n / (n + 1) passes 100 between n = 10 (93.1) and n = 11 (170.7).
    for pairs, marked in ((10, False), (11, True)):
        votes = votes_of([[(0, SECOND), (1, FIRST), (2, FIRST)]] * pairs)
        assert [found.opposite for found in against_the_rest(votes)] == [marked, False, False]
    ties = votes_of([[(0, TIE), (1, FIRST)]] * 50)
    assert [found.opposite for found in against_the_rest(ties)] == [False, False]


def test_against_the_rest_kappa_is_that_of_the_table() -> None:
    pairs = [[(0, FIRST), (1, FIRST)]] * 20 + [[(0, SECOND), (1, SECOND)]] * 15
    pairs += [[(0, FIRST), (1, SECOND)]] * 5 + [[(0, SECOND), (1, FIRST)]] * 10
    kappa = against_the_rest(votes_of(pairs))[0].kappa
    assert kappa is not None
    assert (kappa.value, kappa.n) == (pytest.approx(0.4), 50)
