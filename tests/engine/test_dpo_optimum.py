"""DPO against the optimum it is meant to reach: π_ref·e^{r/β}/Z, in a table and on a tiny transformer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor

from tests.engine.enumerable import ANSWERS, PROMPT, tiny_policy
from training.engine import dpo
from training.engine.config import DPOConfig
from training.engine.logprobs import sequence_logprobs
from training.engine.maths import dpo_loss, reward_loss, robust_dpo_loss
from training.engine.packing import Tokens
from training.engine.pairs import Pair

BETA = 0.3


def optimum(reference_logprob_Y: Tensor, reward_Y: Tensor) -> Tensor:
    """π* = π_ref·e^{r/β}/Z (Rafailov et al. 2023, eq. 4), (Y,), (Y,) -> (Y,)."""
    return torch.softmax(reference_logprob_Y + reward_Y / BETA, -1)


def total_variation(p_Y: Tensor, q_Y: Tensor) -> float:
    return float(0.5 * (p_Y - q_Y).abs().sum())


def least(parameter: Tensor, loss: Callable[[], Tensor]) -> None:
    """Set the parameter to the minimum of a smooth loss."""
    optimiser = torch.optim.LBFGS(
        [parameter], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("flip_rate", [0.0, 0.2])
def test_on_bradley_terry_votes_over_all_pairs_the_table_reaches_the_optimum(flip_rate: float) -> None:
    """With flipped votes among them the robust loss reaches it all the same, and plain DPO does not."""
    torch.manual_seed(0)
    reference_Y, reward_Y = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    first_B, second_B = torch.tensor(list(permutations(range(6), 2))).T
    p_first_wins_B = torch.sigmoid(reward_Y[first_B] - reward_Y[second_B])
    voted_first_B = (1 - flip_rate) * p_first_wins_B + flip_rate * (1 - p_first_wins_B)

    def fit(*, robust: bool) -> Tensor:
        logit_Y = reference_Y.clone().requires_grad_()

        def loss() -> Tensor:
            logprob_Y, base_Y = torch.log_softmax(logit_Y, -1), torch.log_softmax(reference_Y, -1)
            margins = logprob_Y[first_B] - logprob_Y[second_B], base_Y[first_B] - base_Y[second_B]
            if robust:
                loss_B = robust_dpo_loss(*margins, beta=BETA, flip_rate=flip_rate)
            else:
                loss_B = dpo_loss(*margins, beta=BETA)
            # Every ordered pair stands for itself won; the votes for its second answer come with the reversed pair.
            return (voted_first_B * loss_B).sum()

        least(logit_Y, loss)
        return torch.softmax(logit_Y.detach(), -1)

    expected_Y = optimum(reference_Y, reward_Y)
    assert total_variation(torch.softmax(reference_Y, -1), expected_Y) > 0.1
    assert total_variation(fit(robust=True), expected_Y) <= 1e-6
    plain = total_variation(fit(robust=False), expected_Y)
    assert plain <= 1e-6 if flip_rate == 0 else plain > 0.05


def test_tabular_dpo_is_the_reward_model_with_beta_squared_times_its_rate_step_by_step() -> None:
    """DPO with lr η gives, after every step, π_ref·e^{r/β}/Z of the reward model with lr ηβ² on the same votes."""
    torch.manual_seed(1)
    rate = 0.7
    reference_Y = torch.randn(5, dtype=torch.float64)
    base_Y = torch.log_softmax(reference_Y, -1)
    logit_Y, score_Y = reference_Y.clone().requires_grad_(), torch.zeros(5, dtype=torch.float64, requires_grad=True)
    moved = 0.0
    for _ in range(100):
        chosen_B, rejected_B = torch.randint(5, (2, 4))
        logprob_Y = torch.log_softmax(logit_Y, -1)
        policy_margin_B, base_margin_B = (
            logprob_Y[chosen_B] - logprob_Y[rejected_B],
            base_Y[chosen_B] - base_Y[rejected_B],
        )
        (gradient_Y,) = torch.autograd.grad(dpo_loss(policy_margin_B, base_margin_B, beta=BETA).mean(), logit_Y)
        (score_gradient_Y,) = torch.autograd.grad(reward_loss(score_Y[chosen_B], score_Y[rejected_B]).mean(), score_Y)
        with torch.no_grad():
            logit_Y -= rate * gradient_Y
            score_Y -= rate * BETA**2 * score_gradient_Y
        policy_Y, expected_Y = torch.softmax(logit_Y, -1), optimum(base_Y, score_Y)
        assert float((policy_Y - expected_Y).abs().max().detach()) <= 1e-12
        moved = total_variation(policy_Y.detach(), base_Y.exp())
    assert moved > 0.05


def test_a_transformer_trained_on_bradley_terry_votes_reaches_the_optimum() -> None:
    policy, device = tiny_policy(), torch.device("cpu")
    sequences = [Tokens(PROMPT, answer) for answer in ANSWERS]
    with torch.no_grad():
        reference_Y = sequence_logprobs(policy, sequences, device)
    assert float(reference_Y.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    reward_Y = torch.randn(len(ANSWERS), generator=torch.Generator().manual_seed(1)).clamp(-1.5, 1.5)
    expected_Y = optimum(reference_Y, reward_Y)
    assert total_variation(reference_Y.exp(), expected_Y) > 0.5

    chosen_B, rejected_B = torch.tensor(list(permutations(range(len(ANSWERS)), 2))).T
    pairs = [
        Pair(str(number), [], sequences[chosen], sequences[rejected], 0.0, 1.0)
        for number, (chosen, rejected) in enumerate(permutations(range(len(ANSWERS)), 2))
    ]
    reference_BK = torch.stack((reference_Y[chosen_B], reference_Y[rejected_B]), dim=1)
    p_chosen_wins_B = torch.sigmoid(reward_Y[chosen_B] - reward_Y[rejected_B])
    config = DPOConfig(beta=BETA)
    steps, peak = 300, 1e-2
    optimiser = torch.optim.Adam(policy.parameters(), lr=peak)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = peak * (1 - step / steps) ** 2
        optimiser.zero_grad()
        logprob_Y = sequence_logprobs(policy, sequences, device)
        loss_B, _ = dpo.losses(logprob_Y[chosen_B], logprob_Y[rejected_B], pairs, reference_BK, config)
        (p_chosen_wins_B * loss_B).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        reached_Y = sequence_logprobs(policy, sequences, device).exp()
    assert total_variation(reached_Y, expected_Y) <= 1e-3
