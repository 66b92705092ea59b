"""What PPO tells of a rollout and of an iteration: means over answers or over response tokens, never over padding."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.engine import ppo_maths
from training.engine.ppo_models import Batch


@dataclass
class Piece:
    """A micro-batch of a rollout with all that training needs; measured and trained in the same shape (detail 5)."""

    rows: list[int]  # places in the rollout
    batch: Batch
    score_B: Tensor  # normalised, before clipping and penalty
    ended_B: Tensor
    old: dict[str, Tensor]  # logprob_BR, reference_BR, entropy_BR, value_BR, kl_BR
    advantage_BR: Tensor
    return_BR: Tensor


class Clock:
    """Seconds and tokens of the parts of an iteration."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.tokens: dict[str, tuple[int, float]] = {}

    def lap(self, name: str, tokens: int) -> None:
        """What went on since the last lap was `name` and got through so many tokens."""
        now = time.monotonic()
        self.tokens[name] = (tokens, now - self.last)
        self.last = now

    def rates(self) -> dict[str, float]:
        """Seconds and tokens per second of each part."""
        found: dict[str, float] = {}
        for name, (tokens, seconds) in self.tokens.items():
            found[f"{name}_tokens_per_second"] = tokens / max(seconds, 1e-9)
            found[f"{name}_seconds"] = seconds
        return found


def describe_rollout(pieces: Sequence[Piece]) -> dict[str, float]:
    """Means over the answers of a rollout, or over their tokens; padding enters none of them."""
    masks = [piece.batch.is_response_BR for piece in pieces]

    def tokens(name: str) -> Tensor:
        return torch.cat([piece.old[name][mask] for piece, mask in zip(pieces, masks, strict=True)])

    score_B = torch.cat([piece.score_B for piece in pieces])
    answers, response_tokens = len(score_B), sum(int(mask.sum()) for mask in masks)
    k3_N = ppo_maths.kl_k3(tokens("logprob_BR"), tokens("reference_BR"))
    return {
        "score": float(score_B.mean()),
        "score_std": float(score_B.std(correction=0)),
        "kl": float(tokens("kl_BR").sum()) / answers,
        "kl_k3": float(k3_N.sum()) / answers,
        "kl_per_token": float(tokens("kl_BR").mean()),
        "entropy": float(tokens("entropy_BR").mean()),
        "response_tokens": response_tokens / answers,
        "share_ended": float(torch.cat([piece.ended_B for piece in pieces]).float().mean()),
    }


def describe_advantages(pieces: Sequence[Piece]) -> dict[str, float]:
    """Mean and spread of the advantages before they are standardised, and how well the value foresaw the returns."""
    masks = [piece.batch.is_response_BR for piece in pieces]
    advantage_N = torch.cat([piece.advantage_BR[mask] for piece, mask in zip(pieces, masks, strict=True)])
    return_N = torch.cat([piece.return_BR[mask] for piece, mask in zip(pieces, masks, strict=True)])
    value_N = torch.cat([piece.old["value_BR"][mask] for piece, mask in zip(pieces, masks, strict=True)])
    return {
        "advantage_mean": float(advantage_N.mean()),
        "advantage_std": float(advantage_N.std(correction=0)),
        "explained_variance": float(ppo_maths.explained_variance(value_N, return_N, torch.ones_like(value_N).bool())),
    }


def mean_of(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over the steps of an iteration."""
    names = steps[0] if steps else {}
    return {name: sum(item[name] for item in steps) / len(steps) for name in names}
