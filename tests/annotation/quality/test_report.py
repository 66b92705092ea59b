"""All numbers of a project together: who is marked, what is counted in which week."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from annotation.quality.bradley_terry import fit, posterior
from annotation.quality.reading import NOT_GOLD, Reading, Repeats
from annotation.quality.report import numbers
from annotation.quality.votes import TIE, UNKNOWN, Bools
from bench.quality.crowds import Crowd, bradley_terry_crowd, flipping_crowd

FIRST_WEEK = date(2026, 3, 2).toordinal()
NOBODY = Repeats(*np.zeros((3, 0), dtype=np.int64))


def reading_of(crowd: Crowd, *, is_gold_P: Bools | None = None, repeats: Repeats = NOBODY, weeks: int = 1) -> Reading:
    """The votes of a crowd as if read, spread evenly over weeks by pair, in the order of the pairs."""
    is_gold_P = np.zeros(crowd.votes.pairs, dtype=np.bool_) if is_gold_P is None else is_gold_P
    votes = replace(crowd.votes, expected_P=np.where(is_gold_P, crowd.truth_P, UNKNOWN))
    right_N = (votes.outcome_N == crowd.truth_P[votes.pair_N]).astype(np.int64)
    return Reading(
        votes=votes,
        order_N=np.arange(len(votes.pair_N)),
        week_N=FIRST_WEEK + 7 * (votes.pair_N * weeks // votes.pairs),
        gold_N=np.where(is_gold_P[votes.pair_N], right_N, NOT_GOLD),
        person_A=[100 + number for number in range(votes.annotators)],
        comparison_P=list(range(votes.pairs)),
        repeats=repeats,
    )


def report_of(reading: Reading) -> dict[str, Any]:
    parameters = fit(reading.votes)
    return numbers(reading, parameters, posterior(reading.votes, parameters))


def test_a_label_that_is_kept_as_even_is_counted_as_even() -> None:
    """Ten ties on pairs of long and short answers, among votes that all follow the length."""
    crowd = bradley_terry_crowd(1, ability_A=[1.0], pairs=80, overlap=1)
    said_P = np.sign(np.random.default_rng(1).normal(size=80))
    length_P = np.where(np.arange(80) < 70, said_P, 2.0)
    outcome_N = np.where(np.arange(80) < 70, said_P, TIE).astype(np.int64)
    votes = replace(crowd.votes, outcome_N=outcome_N, log_length_ratio_P=length_P)
    found = report_of(reading_of(replace(crowd, votes=votes)))
    assert found["certainty"][0] == 10


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_left_clicker_is_marked_and_honest_people_are_not(seed: int) -> None:
    """Six people judge 30 pairs each in the mean; the first follows the side alone."""
    position = [12.0] + [0.0] * 5
    crowd = bradley_terry_crowd(seed, ability_A=[1.0] * 6, pairs=90, overlap=2, position_A=position)
    found = report_of(reading_of(crowd))["people"]
    assert [("side" in person["flags"]) for person in found] == [True] + [False] * 5


def test_swapped_keys_and_missed_gold_are_marked() -> None:
    crowd = flipping_crowd(4, flip_A=[0.95, 0.1, 0.1, 0.1], pairs=160, overlap=3)
    found = report_of(reading_of(crowd, is_gold_P=np.arange(160) < 60))
    swapped, *careful = found["people"]
    assert set(swapped["flags"]) == {"gold", "against"}
    assert [person["flags"] for person in careful] == [[], [], []]
    assert swapped["ability"]["high"] < 0 < min(person["ability"]["low"] for person in careful)
    is_gold_N = crowd.votes.pair_N < 60
    right = np.sum(crowd.votes.outcome_N[is_gold_N] == crowd.truth_P[crowd.votes.pair_N[is_gold_N]])
    assert found["gold"]["n"] == is_gold_N.sum()
    assert found["gold"]["value"] == pytest.approx(right / is_gold_N.sum(), abs=1e-5)


def test_weeks_hold_every_vote_once_and_repeats_in_the_week_they_came() -> None:
    crowd = flipping_crowd(5, flip_A=[0.2] * 4, pairs=40, overlap=2)
    repeats = Repeats(np.array([0, 0, 1]), FIRST_WEEK + np.array([0, 7, 7]), np.array([1, 0, 1]))
    found = report_of(reading_of(crowd, repeats=repeats, weeks=2))
    assert [(week["week"], week["votes"]) for week in found["weeks"]] == [("2026-03-02", 40), ("2026-03-09", 40)]
    assert [(week["consistency"]["value"], week["consistency"]["n"]) for week in found["weeks"]] == [(1.0, 1), (0.5, 2)]
    assert found["consistency"]["n"] == 3
    first = found["people"][0]
    assert [week["consistency"]["value"] for week in first["weeks"]] == [1.0, 0.0]
    assert sum(week["votes"] for person in found["people"] for week in person["weeks"]) == 80


def test_agreement_and_wrong_votes_leave_gold_out_and_agreement_by_lot_all_that_came_otherwise() -> None:
    crowd = flipping_crowd(8, flip_A=[0.3] * 4, pairs=60, overlap=2)
    is_gold_P = np.arange(60) < 20
    by_lot_N = np.isin(crowd.votes.pair_N, [10, 30, 31, 59]) & (np.arange(120) % 2 == 0)
    drawn = replace(crowd, votes=replace(crowd.votes, is_drawn_N=by_lot_N))
    found = report_of(reading_of(drawn, is_gold_P=is_gold_P))
    assert (found["percent"]["n"], found["alpha"]["n"], found["percent_drawn"]["n"]) == (40, 40, 3)
    assert [week["alpha"]["n"] for week in found["weeks"]] == [40]
    assert found["flip_rate"]["n"] == 80
    assert sum(found["certainty"]) == 40
    agreed_P = crowd.votes.outcome_N[::2] == crowd.votes.outcome_N[1::2]
    assert found["percent_drawn"]["value"] == pytest.approx(agreed_P[[30, 31, 59]].mean(), abs=1e-5)


def test_a_report_is_json_also_where_nothing_can_be_said() -> None:
    import json

    crowd = flipping_crowd(6, flip_A=[0.0, 0.0], pairs=2, overlap=1)
    found = report_of(reading_of(crowd))
    assert found["flip_rate"] is None
    assert found["label_smoothing"] is None
    json.dumps(found, allow_nan=False)
