"""Calibration of a reward model: bins, error and groups worked by hand."""

import json
import math

import pytest
import torch

from training.engine.calibration import BINS, calibration, calibration_error, length_group, reliability
from training.engine.packing import Tokens
from training.engine.pairs import Pair


def pair(chosen: int = 5, rejected: int = 5, strength: float = 0.0) -> Pair:
    """Answers of so many tokens."""
    return Pair("1", [], Tokens([1], [2] * chosen), Tokens([1], [3] * rejected), strength, 1.0)


def differences(*groups: tuple[float, int, int]) -> torch.Tensor:
    """For each (confidence, right, wrong) so many pairs whose favourite wins with this probability."""
    found = []
    for confidence, right, wrong in groups:
        apart = math.log(confidence / (1 - confidence))
        found += [apart] * right + [-apart] * wrong
    return torch.tensor(found, dtype=torch.float64)


def test_a_favourite_that_wins_as_often_as_its_score_says_is_calibrated() -> None:
    bins = reliability(differences((7 / 9, 7, 2), (0.92, 23, 2)))
    assert [(item["from"], item["to"], item["pairs"]) for item in bins] == [(0.75, 0.8, 9), (0.9, 0.95, 25)]
    assert [item["accuracy"] for item in bins] == pytest.approx([7 / 9, 0.92])
    assert [item["confidence"] for item in bins] == pytest.approx([7 / 9, 0.92])
    assert calibration_error(bins) == pytest.approx(0.0, abs=1e-6)


def test_the_error_is_the_mean_distance_weighted_by_pairs() -> None:
    # 6 pairs at 0.92 of which half are right: 0.42 apart; 2 at 0.77, none right: 0.77 apart. (6·0.42 + 2·0.77) / 8
    bins = reliability(differences((0.92, 3, 3), (0.77, 0, 2)))
    assert calibration_error(bins) == pytest.approx(0.5075, abs=1e-6)


def test_equal_scores_are_a_coin_and_half_right() -> None:
    assert reliability(torch.zeros(3)) == [{"from": 0.5, "to": 0.55, "pairs": 3, "confidence": 0.5, "accuracy": 0.5}]


def test_a_score_that_is_certain_falls_into_the_last_bin() -> None:
    (only,) = reliability(torch.tensor([1000.0, -1000.0]))
    assert (only["to"], only["pairs"], only["accuracy"]) == (1.0, 2, 0.5)
    assert only["from"] == pytest.approx(1 - 0.5 / BINS)


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        (10, 10, "about equal"),
        (10, 9, "about equal"),
        (9, 10, "about equal"),
        (10, 8, "longer"),
        (8, 10, "shorter"),
        (1, 2, "shorter"),
    ],
)
def test_lengths_are_about_equal_up_to_a_tenth_of_the_longer(chosen: int, rejected: int, expected: str) -> None:
    assert length_group(pair(chosen, rejected)) == expected


def test_accuracy_is_told_by_strength_and_by_length_with_the_pairs_behind_it() -> None:
    pairs = [pair(9, 3, 1.0), pair(9, 3, 3.0), pair(3, 9, 3.0), pair(5, 5, 0.0), pair(9, 3, 3.0)]
    found = calibration(torch.tensor([1.0, -1.0, 2.0, 0.0, 0.5]), pairs)
    assert found["accuracy_by_strength"] == [
        {"strength": 0, "pairs": 1, "accuracy": 0.5},
        {"strength": 1, "pairs": 1, "accuracy": 1.0},
        {"strength": 3, "pairs": 3, "accuracy": pytest.approx(2 / 3)},
    ]
    assert found["accuracy_by_length"] == [
        {"chosen": "longer", "pairs": 3, "accuracy": pytest.approx(2 / 3)},
        {"chosen": "about equal", "pairs": 1, "accuracy": 0.5},
        {"chosen": "shorter", "pairs": 1, "accuracy": 1.0},
    ]
    assert sum(item["pairs"] for item in found["reliability"]) == 5
    assert found["ece"] == calibration_error(found["reliability"])
    assert json.loads(json.dumps(found)) == found
