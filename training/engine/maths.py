"""Losses and log-probabilities as pure functions of tensors. Axes: B pairs or sequences, N response tokens, H, V.

All log-probabilities are natural and in fp32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor
from torch.utils.checkpoint import checkpoint

HEAD_ROWS = 2048  # rows of logits held at once; smaller chunks cost time, larger ones memory


def token_logprobs(hidden_NH: Tensor, token_N: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """log p of each token under its hidden state, (N, H), (N,) -> (N,).

    The head maps (n, H) to logits (n, V). It is applied in chunks whose logits are computed again in the backward
    pass, so at most HEAD_ROWS × V of them exist at a time.
    """
    pieces = []
    for start in range(0, max(1, len(token_N)), HEAD_ROWS):
        hidden, token = hidden_NH[start : start + HEAD_ROWS], token_N[start : start + HEAD_ROWS]
        if len(token_N) > HEAD_ROWS and torch.is_grad_enabled():
            pieces.append(checkpoint(_chunk_logprobs, hidden, token, head, use_reentrant=False))
        else:
            pieces.append(_chunk_logprobs(hidden, token, head))
    return torch.cat(pieces)


def _chunk_logprobs(hidden_NH: Tensor, token_N: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    return -F.cross_entropy(head(hidden_NH).float(), token_N, reduction="none")


def sum_by_row(value_N: Tensor, row_N: Tensor, rows: int) -> Tensor:
    """Sum of the values of each row, (N,), (N,) -> (rows,)."""
    return torch.zeros(rows, dtype=value_N.dtype, device=value_N.device).index_add(0, row_N, value_N)


def dpo_loss(
    policy_margin_B: Tensor,
    reference_margin_B: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    offset_B: Tensor | float = 0.0,
) -> Tensor:
    """Negative log-likelihood that the chosen answer wins, per pair (Rafailov et al. 2023, eq. 7). (B,), (B,) -> (B,).

    A margin is log p(chosen) - log p(rejected) in nats, summed over response tokens. ``label_smoothing`` is the share
    of votes taken to be flipped (conservative DPO), ``offset_B`` what the chosen answer must win by (2402.10571).
    """
    logit_B = beta * (policy_margin_B - reference_margin_B) - offset_B
    # (1 - ε)·[-log σ(βΔ - δ)] + ε·[-log σ(-(βΔ - δ))]
    return -(1 - label_smoothing) * F.logsigmoid(logit_B) - label_smoothing * F.logsigmoid(-logit_B)


def reward_loss(
    score_chosen_B: Tensor, score_rejected_B: Tensor, *, margin_B: Tensor | float = 0.0, centring: float = 0.0
) -> Tensor:
    """Bradley-Terry with margin and centring, per pair, (B,), (B,) -> (B,)."""
    # -log σ(r_w - r_l - m) + c·(r_w + r_l)²
    preference_B = -F.logsigmoid(score_chosen_B - score_rejected_B - margin_B)
    return preference_B + centring * (score_chosen_B + score_rejected_B) ** 2


def share_won(difference_B: Tensor) -> Tensor:
    """1 where the difference is above 0, a half where it is 0, else 0; (B,) -> (B,). Its mean is the accuracy."""
    return (difference_B > 0).float() + 0.5 * (difference_B == 0).float()
