"""All numbers of a project together: who is marked, what is counted in which week."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from annotation.quality.bradley_terry import fit, posterior
from annotation.quality.reading import UNKNOWN, Reading, Repeats
from annotation.quality.report import numbers
from annotation.quality.votes import Ints
from tests.annotation.quality.simulation import Crowd, bradley_terry_crowd, flipping_crowd

FIRST_WEEK = date(2026, 3, 2).toordinal()
NOBODY = Repeats(*np.zeros((3, 0), dtype=np.int64))


def reading_of(crowd: Crowd, *, known_P: Ints | None = None, repeats: Repeats = NOBODY, weeks: int = 1) -> Reading:
    """The votes of a crowd as if read, spread evenly over weeks by pair, in the order of the pairs."""
    votes = crowd.votes
    return Reading(
        votes=votes,
        order_N=np.arange(len(votes.pair_N)),
        week_N=FIRST_WEEK + 7 * (votes.pair_N * weeks // votes.pairs),
        known_P=np.full(votes.pairs, UNKNOWN) if known_P is None else known_P,
        person_A=[100 + number for number in range(votes.annotators)],
        comparison_P=list(range(votes.pairs)),
        repeats=repeats,
    )


def report_of(reading: Reading) -> dict[str, Any]:
    parameters = fit(reading.votes)
    return numbers(reading, parameters, posterior(reading.votes, parameters))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_left_clicker_is_marked_and_honest_people_are_not(seed: int) -> None:
    """Six people judge 30 pairs each in the mean; the first follows the side alone."""
    position = [12.0] + [0.0] * 5
    crowd = bradley_terry_crowd(seed, ability_A=[1.0] * 6, pairs=90, overlap=2, position_A=position)
    found = report_of(reading_of(crowd))["people"]
    assert [("side" in person["flags"]) for person in found] == [True] + [False] * 5


def test_swapped_keys_and_missed_gold_are_marked() -> None:
    crowd = flipping_crowd(4, flip_A=[0.95, 0.1, 0.1, 0.1], pairs=160, overlap=3)
    gold_P = np.where(np.arange(160) < 60, crowd.truth_P, UNKNOWN)
    found = report_of(reading_of(crowd, known_P=gold_P))
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


def test_a_report_is_json_also_where_nothing_can_be_said() -> None:
    import json

    crowd = flipping_crowd(6, flip_A=[0.0, 0.0], pairs=2, overlap=1)
    found = report_of(reading_of(crowd))
    assert found["flip_rate"] is None
    assert found["label_smoothing"] is None
    json.dumps(found, allow_nan=False)
