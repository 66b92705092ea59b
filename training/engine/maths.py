"""Losses and log-probabilities as pure functions of tensors. Axes: B pairs or sequences, N response tokens, H, V.

All log-probabilities are natural and in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor
from torch.utils.checkpoint import checkpoint

HEAD_ROWS = 512  # rows of logits held at once

Head = Callable[[Tensor], Tensor]  # hidden states (n, H) to logits (n, V)


def token_logprobs(hidden_NH: Tensor, token_N: Tensor, head: Head, *, frozen: bool) -> Tensor:
    """log p of each token under its hidden state, (N, H), (N,) -> (N,). At most HEAD_ROWS × V logits exist at a time.

    ``frozen`` says that nothing in the head learns. Then the gradient of each log-prob is computed beside it, while its
    logits are at hand; else the backward pass computes the logits again.
    """
    chunks = _chunks(hidden_NH, token_N)
    if not torch.is_grad_enabled():
        return torch.cat([_chunk_logprobs(hidden, token, head) for hidden, token in chunks])
    if frozen:
        return cast(Tensor, _FrozenHead.apply(hidden_NH, token_N, head))  # type: ignore[no-untyped-call]
    if len(chunks) == 1:
        return _chunk_logprobs(hidden_NH, token_N, head)
    return torch.cat([checkpoint(_chunk_logprobs, *chunk, head, use_reentrant=False) for chunk in chunks])


def _chunks(hidden_NH: Tensor, token_N: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(torch.split(hidden_NH, HEAD_ROWS), torch.split(token_N, HEAD_ROWS), strict=True))


def _chunk_logprobs(hidden_NH: Tensor, token_N: Tensor, head: Head) -> Tensor:
    return -F.cross_entropy(head(hidden_NH).float(), token_N, reduction="none")


class _FrozenHead(torch.autograd.Function):
    """A row's log-prob depends on its own hidden state alone, so one gradient per row, (N, H), is all there is to keep:
    no logits outlive their chunk, and none are computed twice."""

    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, token_N: Tensor, head: Head) -> Tensor:
        logprobs: list[Tensor] = []
        gradients: list[Tensor] = []
        for hidden, token in _chunks(hidden_NH, token_N):
            leaf = hidden.detach().requires_grad_()
            with torch.enable_grad():
                logits_NV = head(leaf)
            logprob_NV = torch.log_softmax(logits_NV.detach().float(), -1)
            logprobs.append(logprob_NV.gather(1, token[:, None])[:, 0])
            # ∂ log p(token) / ∂ logits = [is token] - p, in the memory of log p: a step has no larger tensors.
            slope_NV = logprob_NV.exp_().neg_()
            slope_NV.scatter_add_(1, token[:, None], torch.ones_like(slope_NV[:, :1]))
            gradients += torch.autograd.grad(logits_NV, leaf, slope_NV.to(logits_NV.dtype))
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(logprobs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient_NH,) = ctx.saved_tensors
        return grads[0][:, None].to(gradient_NH.dtype) * gradient_NH, None, None


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

    A margin is log p(chosen) - log p(rejected) in nats, summed over response tokens or averaged. ``label_smoothing`` is
    the share of votes taken to be flipped (conservative DPO: Mitchell 2023, "A note on DPO with noisy preferences"),
    ``offset_B`` what the chosen answer must win by (Amini et al. 2024, arXiv 2402.10571).
    """
    logit_B = beta * (policy_margin_B - reference_margin_B) - offset_B
    # (1 - ε)·[-log σ(βΔ - δ)] + ε·[-log σ(-(βΔ - δ))]
    return -(1 - label_smoothing) * F.logsigmoid(logit_B) - label_smoothing * F.logsigmoid(-logit_B)


def robust_dpo_loss(policy_margin_B: Tensor, reference_margin_B: Tensor, *, beta: float, flip_rate: float) -> Tensor:
    """DPO made unbiased under flipped votes, per pair (Chowdhury et al. 2024, arXiv 2403.00409). (B,), (B,) -> (B,).

    Its mean over votes of which a share ``flip_rate`` (ε, below 1/2) is flipped is plain DPO's over the true ones. It
    may be negative.
    """
    logit_B = beta * (policy_margin_B - reference_margin_B)
    # [(1 - ε)·(-log σ(βΔ)) - ε·(-log σ(-βΔ))] / (1 - 2ε)
    return (flip_rate * F.logsigmoid(-logit_B) - (1 - flip_rate) * F.logsigmoid(logit_B)) / (1 - 2 * flip_rate)


def ipo_loss(policy_margin_B: Tensor, reference_margin_B: Tensor, *, beta: float) -> Tensor:
    """Squared distance to a margin of 1/(2β), per pair (Azar et al. 2023, arXiv 2310.12036, eq. 17; β is its τ).

    (B,), (B,) -> (B,). Margins as in :func:`dpo_loss`. Where every vote goes one way the margin stays finite.
    """
    # (Δ - 1/(2β))²
    return (policy_margin_B - reference_margin_B - 1 / (2 * beta)) ** 2


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
