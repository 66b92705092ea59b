"""PPO's pure functions against numbers worked by hand, naive loops, and optima that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.engine import ppo_maths as maths


def _lengths_to_mask(lengths: list[int], width: int) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def _naive_advantages(rewards: list[float], values: list[float], gamma: float, lambda_: float) -> list[float]:
    """The definition, as a double sum over future steps."""
    deltas = [
        rewards[t] + gamma * (values[t + 1] if t + 1 < len(values) else 0.0) - values[t] for t in range(len(rewards))
    ]
    return [
        sum((gamma * lambda_) ** (later - t) * deltas[later] for later in range(t, len(deltas)))
        for t in range(len(deltas))
    ]


def test_gae_gives_the_numbers_worked_by_hand():
    # δ = (1 + 0.5·4 − 2, 0 + 0.5·6 − 4, 3 − 6) = (1, −1, −3); γλ = 0.25: A = (1 − 0.25·1.75, −1 − 0.75, −3)
    advantage, returns = maths.gae(
        torch.tensor([[1.0, 0.0, 3.0]]),
        torch.tensor([[2.0, 4.0, 6.0]]),
        torch.ones(1, 3, dtype=torch.bool),
        gamma=0.5,
        lambda_=0.5,
    )
    assert advantage.tolist() == [[0.5625, -1.75, -3.0]]
    assert returns.tolist() == [[2.5625, 2.25, 3.0]]


def test_gae_agrees_with_the_double_sum_for_rows_of_any_length():
    torch.manual_seed(0)
    lengths = [7, 1, 4, 6]
    reward_BR, value_BR = torch.randn(4, 7, dtype=torch.float64), torch.randn(4, 7, dtype=torch.float64)
    advantage_BR, return_BR = maths.gae(reward_BR, value_BR, _lengths_to_mask(lengths, 7), gamma=0.97, lambda_=0.9)
    expected_BR = torch.zeros(4, 7, dtype=torch.float64)
    for row, length in enumerate(lengths):
        rewards, values = reward_BR[row, :length].tolist(), value_BR[row, :length].tolist()
        expected_BR[row, :length] = torch.tensor(_naive_advantages(rewards, values, 0.97, 0.9), dtype=torch.float64)
    torch.testing.assert_close(advantage_BR, expected_BR, rtol=1e-12, atol=1e-12)
    is_response_BR = _lengths_to_mask(lengths, 7)
    expected_return_BR = torch.where(is_response_BR, expected_BR + value_BR, 0.0)
    torch.testing.assert_close(return_BR, expected_return_BR, rtol=1e-12, atol=1e-12)


def test_standardised_advantages_have_mean_0_and_variance_1_over_response_tokens():
    torch.manual_seed(0)
    is_response_BR = _lengths_to_mask([5, 2, 9], 9)
    result_BR = maths.standardize(torch.randn(3, 9) * 4 + 3, is_response_BR)
    tokens = result_BR[is_response_BR]
    assert tokens.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert tokens.var(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    assert result_BR[~is_response_BR].abs().sum() == 0


def test_advantages_that_are_all_equal_become_0_not_infinite():
    assert maths.standardize(torch.full((2, 3), 7.0), torch.ones(2, 3, dtype=torch.bool)).tolist() == [[0.0] * 3] * 2


def test_the_score_is_paid_at_the_last_token_and_the_kl_at_every_token():
    reward_BR = maths.token_rewards(
        torch.tensor([10.0, 20.0]),
        torch.tensor([[1.0, 2.0, 3.0], [4.0, math.nan, math.nan]]),
        _lengths_to_mask([3, 1], 3),
        beta=0.5,
    )
    assert reward_BR.tolist() == [[-0.5, -1.0, 8.5], [18.0, 0.0, 0.0]]


def test_both_kl_estimators_are_unbiased_and_k3_varies_less():
    torch.manual_seed(0)
    logits, reference_logits = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    logprob, reference = torch.log_softmax(logits, -1), torch.log_softmax(logits * 0.7 + reference_logits * 0.3, -1)
    policy = logprob.exp()
    kl = torch.nn.functional.kl_div(reference, logprob, log_target=True, reduction="sum").item()
    means, variances = [], []
    for estimator in (maths.kl_k1, maths.kl_k3):
        value = estimator(logprob, reference)
        mean = (policy * value).sum().item()  # the exact expectation over samples of the policy
        means.append(mean)
        variances.append((policy * (value - mean).square()).sum().item())
    assert kl > 0.01
    assert means == pytest.approx([kl, kl], rel=1e-12)
    assert variances[1] < variances[0] / 2


def test_k3_is_never_negative_and_stays_finite_far_away():
    logprob = torch.tensor([-1.0, -1000.0, 0.0])
    value = maths.kl_k3(logprob, torch.tensor([-1.1, 0.0, -1000.0]))
    assert bool((value >= 0).all())
    assert bool(value.isfinite().all())


def test_the_policy_loss_is_minus_the_mean_advantage_where_policies_agree():
    logprob_BR = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    is_response_BR = _lengths_to_mask([2, 1], 2)
    advantage_BR = torch.tensor([[1.0, -2.0], [4.0, 100.0]])
    loss = maths.policy_loss(logprob_BR, logprob_BR.detach(), advantage_BR, is_response_BR, clip=0.2, tokens=3)
    assert loss.item() == pytest.approx(-1.0)
    loss.backward()
    # ∂/∂logπ of −ρA/n at ρ = 1 is −A/n: what did better than expected is made more likely.
    torch.testing.assert_close(logprob_BR.grad, torch.tensor([[-1 / 3, 2 / 3], [-4 / 3, 0.0]]))


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "expected_loss", "moves"),
    [
        (math.log(1.5), 1.0, -1.2, False),  # already more likely than 1 + ε: no further
        (math.log(1.5), -1.0, 1.5, True),  # went the wrong way: comes back with full force
        (math.log(0.5), 1.0, -0.5, True),
        (math.log(0.5), -1.0, 0.8, False),
        (math.log(1.1), 1.0, -1.1, True),
        (50.0, -1.0, math.exp(20.0), False),  # the log-ratio is clamped
    ],
)
def test_the_objective_is_clipped_on_the_side_that_the_advantage_pulls_to(log_ratio, advantage, expected_loss, moves):
    logprob = torch.tensor([[log_ratio]], requires_grad=True)
    loss = maths.policy_loss(
        logprob, torch.zeros(1, 1), torch.tensor([[advantage]]), torch.ones(1, 1, dtype=torch.bool), clip=0.2, tokens=1
    )
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    assert (logprob.grad.item() != 0) == moves


def test_the_value_loss_takes_the_larger_of_clipped_and_unclipped_error():
    value_BR = torch.tensor([[1.0, 0.1, 1.0]])
    loss = maths.value_loss(
        value_BR,
        torch.zeros(1, 3),
        torch.tensor([[1.0, 1.0, 0.0]]),
        torch.ones(1, 3, dtype=torch.bool),
        clip=0.2,
        tokens=3,
    )
    # ½·(max(0², 0.8²) + 0.9² + max(1², 0.2²)) / 3
    assert loss.item() == pytest.approx(0.5 * (0.64 + 0.81 + 1.0) / 3, rel=1e-6)


def test_losses_of_micro_batches_add_up_to_the_loss_of_the_batch():
    torch.manual_seed(0)
    logprob_BR, old_BR, advantage_BR, value_BR, return_BR = torch.randn(5, 6, 8)
    lengths = [8, 1, 3, 5, 2, 7]
    is_response_BR = _lengths_to_mask(lengths, 8)
    tokens = sum(lengths)

    def both(rows: slice) -> Tensor:
        mask = is_response_BR[rows]
        return maths.policy_loss(
            logprob_BR[rows], old_BR[rows], advantage_BR[rows], mask, clip=0.2, tokens=tokens
        ) + maths.value_loss(value_BR[rows], old_BR[rows], return_BR[rows], mask, clip=0.2, tokens=tokens)

    parts = both(slice(0, 1)) + both(slice(1, 4)) + both(slice(4, 6))
    torch.testing.assert_close(parts, both(slice(0, 6)), rtol=1e-6, atol=1e-6)


def test_nan_in_padding_changes_no_result_and_no_gradient():
    torch.manual_seed(0)
    lengths = [3, 1, 2]
    is_response_BR = _lengths_to_mask(lengths, 4)

    def everything(padding: float) -> list[Tensor]:
        torch.manual_seed(1)
        tensors = [torch.where(is_response_BR, torch.randn(3, 4), padding) for _ in range(4)]
        logprob_BR, value_BR, old_BR, reward_BR = tensors
        logprob_BR.requires_grad_(), value_BR.requires_grad_()
        advantage_BR, return_BR = maths.gae(reward_BR, old_BR, is_response_BR, gamma=1.0, lambda_=0.9)
        standard_BR = maths.standardize(torch.where(is_response_BR, advantage_BR, padding), is_response_BR)
        loss = maths.policy_loss(
            logprob_BR,
            old_BR,
            torch.where(is_response_BR, standard_BR, padding),
            is_response_BR,
            clip=0.2,
            tokens=6,
        ) + maths.value_loss(value_BR, old_BR, return_BR, is_response_BR, clip=0.2, tokens=6)
        loss.backward()
        variance = maths.explained_variance(old_BR, reward_BR, is_response_BR)
        mean = maths.masked_mean(old_BR, is_response_BR)
        return [loss.detach(), logprob_BR.grad, value_BR.grad, advantage_BR, return_BR, variance, mean]

    clean, poisoned = everything(0.0), everything(math.nan)
    assert len(clean) == 7
    for one, other in zip(clean, poisoned, strict=True):
        assert bool(other.isfinite().all())
        assert torch.equal(one, other)


def test_beta_rises_when_kl_is_above_its_target_and_moves_slowly():
    options = {"target": 6.0, "horizon": 10_000, "answers": 1000}
    assert maths.adapt_beta(0.1, kl=60.0, **options) == pytest.approx(0.1 * 1.02)
    assert maths.adapt_beta(0.1, kl=0.0, **options) == pytest.approx(0.1 * 0.98)
    assert maths.adapt_beta(0.1, kl=6.6, **options) == pytest.approx(0.1 * 1.01)


def test_scores_are_normalised_then_clipped():
    score_B = maths.normalized_score(torch.tensor([3.0, 5.0, 1000.0, -1000.0]), mean=3.0, std=2.0, clip=10.0)
    assert score_B.tolist() == [0.0, 1.0, 10.0, -10.0]


def test_explained_variance_is_1_for_a_perfect_value_and_0_for_a_constant():
    return_BR, is_response_BR = torch.tensor([[1.0, 2.0, 5.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert maths.explained_variance(return_BR, return_BR, is_response_BR).item() == pytest.approx(1.0)
    assert maths.explained_variance(torch.full((1, 3), 9.0), return_BR, is_response_BR).item() == pytest.approx(0.0)


def _two_token_optimum(reference_logits_YV: Tensor, reward_YV: Tensor, beta: float) -> Tensor:
    """π*(a, b) ∝ π_ref(a, b)·e^{r(a, b)/β} over all answers of two tokens. Row 0 holds the first token's logits."""
    first_V = torch.log_softmax(reference_logits_YV[0], -1)
    second_VV = torch.log_softmax(reference_logits_YV[1:], -1)
    return torch.softmax((first_V[:, None] + second_VV + reward_YV / beta).flatten(), -1)


@pytest.mark.parametrize("standardised", [True, False])
def test_ppo_reaches_the_known_optimum_over_answers_of_two_tokens(standardised):
    """Tabular policy and value over a vocabulary of 4, trained with this module's functions on sampled answers."""
    torch.manual_seed(0)
    beta, size, batch = 0.5, 4, 2048
    reference_YV, reward_VV = torch.randn(size + 1, size), torch.randn(size, size)
    policy_YV = reference_YV.clone().requires_grad_()
    value_Y = torch.zeros(size + 1, requires_grad=True)
    optimizer = torch.optim.Adam([policy_YV, value_Y], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=250)
    is_response_BR = torch.ones(batch, 2, dtype=torch.bool)

    def logprobs(table_YV: Tensor, state_BR: Tensor, token_BR: Tensor) -> Tensor:
        return torch.log_softmax(table_YV, -1)[state_BR].gather(-1, token_BR[..., None])[..., 0]

    for _ in range(250):
        with torch.no_grad():
            first_B = torch.softmax(policy_YV[0], -1).multinomial(batch, replacement=True)
            second_B = torch.softmax(policy_YV[first_B + 1], -1).multinomial(1)[:, 0]
            token_BR = torch.stack([first_B, second_B], 1)
            state_BR = torch.stack([torch.zeros_like(first_B), first_B + 1], 1)
            old_BR = logprobs(policy_YV, state_BR, token_BR)
            kl_BR = maths.kl_k1(old_BR, logprobs(reference_YV, state_BR, token_BR))
            old_value_BR = value_Y[state_BR].clone()
            reward_BR = maths.token_rewards(reward_VV[first_B, second_B], kl_BR, is_response_BR, beta=beta)
            advantage_BR, return_BR = maths.gae(reward_BR, old_value_BR, is_response_BR, gamma=1.0, lambda_=0.95)
            if standardised:
                advantage_BR = maths.standardize(advantage_BR, is_response_BR)
        for _ in range(2):
            new_BR = logprobs(policy_YV, state_BR, token_BR)
            loss = maths.policy_loss(new_BR, old_BR, advantage_BR, is_response_BR, clip=0.2, tokens=2 * batch)
            loss = loss + maths.value_loss(
                value_Y[state_BR], old_value_BR, return_BR, is_response_BR, clip=0.2, tokens=2 * batch
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()

    reached = _two_token_optimum(policy_YV.detach(), torch.zeros(size, size), beta=1.0)
    optimum = _two_token_optimum(reference_YV, reward_VV, beta)
    start = _two_token_optimum(reference_YV, torch.zeros(size, size), beta=1.0)
    assert 0.5 * (start - optimum).abs().sum() > 0.4
    assert 0.5 * (reached - optimum).abs().sum() < 1e-2
    # J = E_π[r] − β·KL(π‖π_ref) is at most J* = β·log Z; what is missing is β·KL(π‖π*).
    best = beta * torch.logsumexp(start.log() + reward_VV.flatten() / beta, -1)
    gained = (reached * (reward_VV.flatten() - beta * (reached / start).log())).sum()
    at_start = (start * reward_VV.flatten()).sum()
    assert best > at_start + 0.1
    assert best - 0.01 * (best - at_start) < gained < best + 1e-6  # a hundredth, as above, of all there is to gain
