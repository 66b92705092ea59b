"""The mathematics of PPO as pure functions of tensors.

Axes: B sequences, R response positions. `is_response_BR` is True where a real response token stands. What stands in the
other places (padding) is arbitrary, NaN included, and never reaches a result: it is replaced by `torch.where` first.
Losses are sums over tokens divided by `tokens`, the number of response tokens of the whole minibatch across all
micro-batches and processes, so that adding up micro-batches gives the loss of the minibatch.
"""

from __future__ import annotations

import torch
from torch import Tensor

ENTROPY_ROWS = 256
LOG_RATIO_BOUND = 20.0  # e^20 is already a ratio that no step may take; beyond it exp overflows in half precision


def masked_sum(value_BR: Tensor, is_response_BR: Tensor) -> Tensor:
    """Sum over response tokens. (B, R), (B, R) -> ()."""
    return torch.where(is_response_BR, value_BR, 0.0).sum()


def masked_mean(value_BR: Tensor, is_response_BR: Tensor) -> Tensor:
    """Mean over all response tokens of the batch. (B, R), (B, R) -> (). At least one token must be there."""
    return masked_sum(value_BR, is_response_BR) / is_response_BR.sum()


def kl_k1(logprob: Tensor, reference_logprob: Tensor) -> Tensor:
    """log π − log π_ref per token, in nats; its mean over samples of π is KL(π‖π_ref). Any shape, kept.

    Estimator k1 of Schulman, "Approximating KL Divergence" (2020): unbiased, may be negative for one token.
    """
    return logprob - reference_logprob


def kl_k3(logprob: Tensor, reference_logprob: Tensor) -> Tensor:
    """(ρ − 1) − log ρ with ρ = π_ref/π, in nats: as k1 in the mean, never negative, of lower variance near ρ = 1.

    Estimator k3 of Schulman, "Approximating KL Divergence" (2020). Any shape, kept. Log-ratios are clamped to ±20.
    """
    log_ratio = (reference_logprob - logprob).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    return torch.expm1(log_ratio) - log_ratio


def token_rewards(score_B: Tensor, kl_BR: Tensor, is_response_BR: Tensor, *, beta: float) -> Tensor:
    """r_t = −β·kl_t, plus the score at the last response token; 0 at padding. (B,), (B, R), (B, R) -> (B, R).

    Ziegler et al. 2019 (1909.08593), eq. 2, with the penalty paid token by token.
    """
    reward_BR = torch.where(is_response_BR, -beta * kl_BR, 0.0)
    return torch.where(is_last_token(is_response_BR), reward_BR + score_B[:, None], reward_BR)


def is_last_token(is_response_BR: Tensor) -> Tensor:
    """True at the last response token of each row. (B, R) -> (B, R). Response tokens stand without gaps."""
    follows_BR = torch.nn.functional.pad(is_response_BR[:, 1:], (0, 1), value=False)
    return is_response_BR & ~follows_BR


def gae(
    reward_BR: Tensor, value_BR: Tensor, is_response_BR: Tensor, *, gamma: float, lambda_: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantages and returns; 0 at padding. (B, R) three times -> (B, R), (B, R).

    Schulman et al. 2015 (1506.02438), eq. 16. The value after the last token is 0.
    """
    reward_BR = torch.where(is_response_BR, reward_BR, 0.0)
    value_BR = torch.where(is_response_BR, value_BR, 0.0)
    # δ_t = r_t + γ·V_{t+1} − V_t
    next_value_BR = torch.nn.functional.pad(value_BR[:, 1:], (0, 1))
    delta_BR = reward_BR + gamma * next_value_BR - value_BR
    advantage_BR = torch.zeros_like(delta_BR)
    running_B = torch.zeros_like(delta_BR[:, 0])
    for t in reversed(range(delta_BR.shape[1])):
        # A_t = δ_t + γλ·A_{t+1}
        running_B = delta_BR[:, t] + gamma * lambda_ * running_B
        advantage_BR[:, t] = running_B
    # R_t = A_t + V_t
    return advantage_BR, advantage_BR + value_BR


def standardize(value_BR: Tensor, is_response_BR: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale so that the response tokens of the batch have mean 0 and variance 1; 0 at padding.

    (B, R), (B, R) -> (B, R). The whole rollout at once: 2404.10719, table 3. A constant batch becomes 0.
    """
    mean = masked_mean(value_BR, is_response_BR)
    centred_BR = torch.where(is_response_BR, value_BR - mean, 0.0)
    variance = masked_mean(centred_BR.square(), is_response_BR)
    return centred_BR * torch.rsqrt(variance + epsilon)


def clamped_log_ratio(logprob_BR: Tensor, old_logprob_BR: Tensor, is_response_BR: Tensor) -> Tensor:
    """log π − log π_old, clamped to ±20; 0 at padding. (B, R) three times -> (B, R)."""
    log_ratio_BR = torch.where(is_response_BR, logprob_BR - old_logprob_BR, 0.0)
    return log_ratio_BR.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def policy_loss(
    logprob_BR: Tensor,
    old_logprob_BR: Tensor,
    advantage_BR: Tensor,
    is_response_BR: Tensor,
    *,
    clip: float,
    tokens: int,
) -> Tensor:
    """The clipped surrogate, negated so that it is minimised. (B, R) four times -> ().

    Schulman et al. 2017 (1707.06347), eq. 7.
    """
    ratio_BR = clamped_log_ratio(logprob_BR, old_logprob_BR, is_response_BR).exp()
    # −min(ρ·A, clip(ρ, 1 − ε, 1 + ε)·A)
    loss_BR = torch.maximum(-ratio_BR * advantage_BR, -ratio_BR.clamp(1 - clip, 1 + clip) * advantage_BR)
    return masked_sum(loss_BR, is_response_BR) / tokens


def value_loss(
    value_BR: Tensor, old_value_BR: Tensor, return_BR: Tensor, is_response_BR: Tensor, *, clip: float, tokens: int
) -> Tensor:
    """Half the squared error of the value, or of the value kept within ±clip of the old one: the larger. (B, R) -> ().

    The clipping stands in no paper of PPO but in the code of its authors (openai/baselines, ppo2, 2017).
    """
    value_BR = torch.where(is_response_BR, value_BR, 0.0)
    old_value_BR = torch.where(is_response_BR, old_value_BR, 0.0)
    clipped_BR = old_value_BR + (value_BR - old_value_BR).clamp(-clip, clip)
    # ½·max((V − R)², (V_clipped − R)²)
    loss_BR = 0.5 * torch.maximum((value_BR - return_BR).square(), (clipped_BR - return_BR).square())
    return masked_sum(loss_BR, is_response_BR) / tokens


def movement(
    logprob_BR: Tensor, old_logprob_BR: Tensor, is_response_BR: Tensor, *, clip: float, tokens: int
) -> dict[str, Tensor]:
    """How far the policy has moved from the one that sampled; each is a sum over tokens divided by `tokens`.

    Mean ratio π/π_old, mean |ratio − 1|, the share of ratios outside 1 ± clip, and KL(π_old‖π) by k3.
    """
    ratio_BR = clamped_log_ratio(logprob_BR, old_logprob_BR, is_response_BR).exp()
    away_BR = (ratio_BR - 1).abs()
    per_token = {
        "ratio": ratio_BR,
        "ratio_deviation": away_BR,
        "clip_fraction": (away_BR > clip).float(),
        "approx_kl": kl_k3(old_logprob_BR, logprob_BR),
    }
    return {name: masked_sum(value_BR, is_response_BR) / tokens for name, value_BR in per_token.items()}


def entropy(logits_NV: Tensor) -> Tensor:
    """Entropy of each row's softmax in nats, (N, V) -> (N,), a few rows at a time to hold few copies of the logits."""
    # H = log Z − Σ p·z
    parts = torch.split(logits_NV, ENTROPY_ROWS)
    return torch.cat([part.logsumexp(-1) - (part.softmax(-1) * part).sum(-1) for part in parts])


def adapt_beta(beta: float, *, kl: float, target: float, horizon: int, answers: int) -> float:
    """The next β of the controller that steers the KL per answer to its target.

    Ziegler et al. 2019 (1909.08593), section 2.2: e = clip(KL/target − 1, ±0.2), β ← β·(1 + e·n/horizon).
    """
    error = min(max(kl / target - 1.0, -0.2), 0.2)
    return beta * (1.0 + error * answers / horizon)


def normalized_score(score_B: Tensor, *, mean: float, std: float, clip: float) -> Tensor:
    """(score − mean) / std, clipped to ±clip. (B,) -> (B,). `mean` and `std` come with the reward model."""
    return ((score_B - mean) / std).clamp(-clip, clip)


def explained_variance(value_BR: Tensor, return_BR: Tensor, is_response_BR: Tensor) -> Tensor:
    """1 − Var(R − V)/Var(R) over response tokens: 1 is a perfect value function, 0 no better than a constant."""
    returns, errors = return_BR[is_response_BR], (return_BR - value_BR)[is_response_BR]
    return 1.0 - errors.var(correction=0) / returns.var(correction=0).clamp_min(1e-8)
