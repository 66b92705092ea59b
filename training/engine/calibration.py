"""How far a reward model's scores can be believed, on held-out pairs: calibration, and accuracy in groups of pairs.

σ(score difference) is the probability that one answer beats another. Of every pair the answer with the higher score is
the favourite; it should win as often as σ(|difference|) says. The tables are lists of plain numbers, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from training.engine.maths import share_won
from training.engine.pairs import Pair

Table = list[dict[str, Any]]
BINS = 10  # of equal width, from 0.5, a coin, to 1
LIKE_LENGTH = 0.1  # answers are about equally long when they differ by at most this share of the longer one


def calibration(won_by_B: Tensor, pairs: Sequence[Pair]) -> dict[str, Any]:
    """ece, reliability, accuracy_by_strength and accuracy_by_length of (B,) chosen - rejected scores.

    Strengths are whole numbers, 0 where a vote has none; others are rounded.
    """
    bins = reliability(won_by_B)
    right_B = share_won(won_by_B)
    strengths = sorted({round(pair.margin) for pair in pairs})
    lengths = [length_group(pair) for pair in pairs]
    return {
        "ece": calibration_error(bins),
        "reliability": bins,
        "accuracy_by_strength": [
            {"strength": strength, **_accuracy(right_B, [round(pair.margin) == strength for pair in pairs])}
            for strength in strengths
        ],
        "accuracy_by_length": [
            {"chosen": name, **_accuracy(right_B, [item == name for item in lengths])}
            for name in ("longer", "about equal", "shorter")
            if name in lengths
        ],
    }


def reliability(won_by_B: Tensor) -> Table:
    """The bins that hold pairs: how sure the scores were of the favourite, and how often it was the chosen answer.

    (B,) chosen - rejected scores. A pair of equal scores counts as half right at a confidence of one half.
    """
    confidence_B = torch.sigmoid(won_by_B.double().abs())
    right_B = share_won(won_by_B)
    bin_B = ((confidence_B - 0.5) * 2 * BINS).long().clamp(max=BINS - 1)
    found: Table = []
    for place in sorted(set(bin_B.tolist())):
        inside_B = bin_B == place
        found.append(
            {
                "from": 0.5 + place / (2 * BINS),
                "to": 0.5 + (place + 1) / (2 * BINS),
                "pairs": int(inside_B.sum()),
                "confidence": float(confidence_B[inside_B].mean()),
                "accuracy": float(right_B[inside_B].mean()),
            }
        )
    return found


def calibration_error(bins: Table) -> float:
    """Expected calibration error: mean distance of accuracy and confidence (Guo et al. 2017, 1706.04599, eq. 3)."""
    # Σ_b n_b/n · |accuracy_b - confidence_b|
    total = sum(item["pairs"] for item in bins)
    return float(sum(item["pairs"] / total * abs(item["accuracy"] - item["confidence"]) for item in bins))


def length_group(pair: Pair) -> str:
    """Whether the chosen answer is longer, about equal or shorter than the rejected one, in response tokens."""
    chosen, rejected = len(pair.chosen.response_ids), len(pair.rejected.response_ids)
    if abs(chosen - rejected) <= LIKE_LENGTH * max(chosen, rejected):
        return "about equal"
    return "longer" if chosen > rejected else "shorter"


def _accuracy(right_B: Tensor, is_member: Sequence[bool]) -> dict[str, Any]:
    chosen_B = right_B[torch.tensor(is_member)]
    return {"pairs": chosen_B.numel(), "accuracy": float(chosen_B.mean())}
