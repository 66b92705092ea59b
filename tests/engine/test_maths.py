"""The losses as pure functions: numbers by hand, gradients, invariances."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.engine import maths
from training.engine.maths import (
    dpo_loss,
    ipo_loss,
    preference_loss,
    reward_loss,
    robust_dpo_loss,
    share_won,
    sum_by_row,
    token_logprobs,
)
from training.engine.schedule import apply_step, learning_rate, make_optimiser

LN2 = math.log(2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("beta", [0.01, 0.1, 5.0])
def test_dpo_loss_is_ln_2_where_policy_and_reference_agree(beta: float, smoothing: float) -> None:
    margin_B = torch.tensor([-30.0, 0.0, 12.5], dtype=torch.float64)
    loss_B = dpo_loss(margin_B, margin_B, beta=beta, label_smoothing=smoothing)
    torch.testing.assert_close(loss_B, torch.full((3,), LN2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_dpo_gradient_is_minus_half_beta_where_policy_and_reference_agree() -> None:
    margin_B = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    dpo_loss(margin_B, torch.tensor([3.0], dtype=torch.float64), beta=0.3).sum().backward()
    assert margin_B.grad is not None
    assert margin_B.grad.item() == pytest.approx(-0.15, abs=1e-12)


def test_dpo_loss_worked_by_hand() -> None:
    # β 0.5, Δ = 2 - (-2) = 4, δ = 1: -log σ(2 - 1) = 0.313262. A smoothing of 0.1 asks for 0.8·δ: 2 - 0.8 = 1.2,
    # -log σ(1.2) = 0.263282, -log σ(-1.2) = 1.463282.
    policy_B, reference_B, offset_B = torch.tensor([2.0]), torch.tensor([-2.0]), torch.tensor([1.0])
    loss_B = dpo_loss(policy_B, reference_B, beta=0.5, offset_B=offset_B)
    assert loss_B.item() == pytest.approx(0.313262, abs=1e-5)
    smoothed_B = dpo_loss(policy_B, reference_B, beta=0.5, label_smoothing=0.1, offset_B=offset_B)
    assert smoothed_B.item() == pytest.approx(0.9 * 0.263282 + 0.1 * 1.463282, abs=1e-5)


@pytest.mark.parametrize("flip_rate", [0.0, 0.1, 0.49])
def test_robust_loss_is_ln_2_where_policy_and_reference_agree(flip_rate: float) -> None:
    margin_B = torch.tensor([-30.0, 12.5], dtype=torch.float64)
    loss_B = robust_dpo_loss(margin_B, margin_B, beta=0.7, flip_rate=flip_rate)
    torch.testing.assert_close(loss_B, torch.full((2,), LN2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_robust_loss_worked_by_hand() -> None:
    # β 0.5, Δ = 2: -log σ(1) = 0.313262, -log σ(-1) = 1.313262; ε 0.1: (0.9·0.313262 - 0.1·1.313262) / 0.8
    loss_B = robust_dpo_loss(torch.tensor([2.0]), torch.tensor([0.0]), beta=0.5, flip_rate=0.1)
    assert loss_B.item() == pytest.approx(0.188262, abs=1e-5)


@pytest.mark.parametrize("flip_rate", [0.05, 0.3])
def test_flipped_votes_leave_the_mean_robust_loss_and_its_gradient_those_of_the_true_votes(flip_rate: float) -> None:
    reference_B = torch.tensor([0.5, -2.0, 4.0], dtype=torch.float64)
    true_B = torch.tensor([3.0, -1.0, 0.2], dtype=torch.float64, requires_grad=True)
    expected_B = dpo_loss(true_B, reference_B, beta=0.4)
    as_voted_B = robust_dpo_loss(true_B, reference_B, beta=0.4, flip_rate=flip_rate)
    flipped_B = robust_dpo_loss(-true_B, -reference_B, beta=0.4, flip_rate=flip_rate)
    mean_B = (1 - flip_rate) * as_voted_B + flip_rate * flipped_B
    torch.testing.assert_close(mean_B, expected_B, rtol=0, atol=1e-12)
    gradient_B, expected_gradient_B = (torch.autograd.grad(item.sum(), true_B)[0] for item in (mean_B, expected_B))
    torch.testing.assert_close(gradient_B, expected_gradient_B, rtol=0, atol=1e-12)


def test_conservative_loss_is_least_where_the_chosen_answer_wins_with_one_minus_the_smoothing() -> None:
    # σ(βΔ) = 1 - ε at βΔ = log((1 - ε)/ε)
    margin_B = torch.tensor([math.log(0.8 / 0.2) / 0.3], dtype=torch.float64, requires_grad=True)
    zero_B = torch.zeros(1, dtype=torch.float64)
    (gradient_B,) = torch.autograd.grad(dpo_loss(margin_B, zero_B, beta=0.3, label_smoothing=0.2).sum(), margin_B)
    assert gradient_B.item() == pytest.approx(0.0, abs=1e-12)
    (plain_B,) = torch.autograd.grad(dpo_loss(margin_B, zero_B, beta=0.3).sum(), margin_B)
    assert plain_B.item() == pytest.approx(-0.3 * 0.2, abs=1e-12)


def test_a_soft_label_is_a_label_smoothing_for_its_own_pair() -> None:
    policy_B, reference_B = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-2.0, 0.0, 0.5])
    for smoothing in (0.0, 0.1, 0.5):
        smoothed_B = dpo_loss(policy_B, reference_B, beta=0.5, label_smoothing=smoothing, offset_B=2.0)
        labelled_B = dpo_loss(policy_B, reference_B, beta=0.5, label_B=torch.full((3,), 1 - smoothing), offset_B=2.0)
        torch.testing.assert_close(labelled_B, smoothed_B)
    mixed_B = dpo_loss(policy_B, reference_B, beta=0.5, label_B=torch.tensor([1.0, 0.9, 0.5]))
    # -log σ(2) = 0.126928; βΔ = -0.5: 0.9·0.974077 + 0.1·0.474077; βΔ = 0: ln 2
    torch.testing.assert_close(mixed_B, torch.tensor([0.126928, 0.924077, LN2]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("label", [0.02, 0.3, 0.5, 0.55, 0.9])
def test_a_loss_with_label_and_margin_is_least_at_the_log_odds_and_the_margin_to_expect(
    label: float, margin: float
) -> None:
    """There it is the entropy of the label, which no model's cross-entropy is below; a step to either side is worse."""
    best = math.log(label / (1 - label)) + (2 * label - 1) * margin
    lead_B = torch.tensor([best - 0.01, best, best + 0.01], dtype=torch.float64, requires_grad=True)
    loss_B = preference_loss(lead_B, label, margin)
    (gradient_B,) = torch.autograd.grad(loss_B.sum(), lead_B)
    assert gradient_B[1].item() == pytest.approx(0, abs=1e-12)
    assert gradient_B[0] < 0 < gradient_B[2]
    entropy = -label * math.log(label) - (1 - label) * math.log(1 - label)
    assert loss_B[1].item() == pytest.approx(entropy, abs=1e-12)


def test_it_does_not_matter_which_answer_is_called_the_chosen_one() -> None:
    lead_B, label_B = torch.tensor([2.0, -0.3, 0.0, 4.0]), torch.tensor([0.9, 0.4, 0.5, 1.0])
    margin_B = torch.tensor([1.0, 2.0, 3.0, 0.5])
    torch.testing.assert_close(
        preference_loss(lead_B, label_B, margin_B), preference_loss(-lead_B, 1 - label_B, margin_B)
    )
    named = {"policy_margin_B": lead_B, "reference_margin_B": torch.zeros(4), "beta": 0.5}
    turned = named | {"policy_margin_B": -lead_B}
    for loss, more in (
        (dpo_loss, {"label_smoothing": 0.2, "offset_B": margin_B}),
        (robust_dpo_loss, {"flip_rate": 0.2}),
        (ipo_loss, {}),
    ):
        torch.testing.assert_close(loss(**named, **more, label_B=label_B), loss(**turned, **more, label_B=1 - label_B))


def test_a_soft_label_and_a_smoothing_are_flips_of_flips() -> None:
    # 0.9 right, then 0.2 flipped: 0.9·0.8 + 0.1·0.2 = 0.74. Of nothing known, nothing is known.
    policy_B, reference_B = torch.tensor([3.0, 3.0]), torch.tensor([1.0, 1.0])
    both_B = dpo_loss(policy_B, reference_B, beta=0.5, label_smoothing=0.2, label_B=torch.tensor([0.9, 0.5]))
    # βΔ = 1: -log σ(1) = 0.313262, -log σ(-1) = 1.313262
    expected = [0.74 * 0.313262 + 0.26 * 1.313262, 0.5 * 0.313262 + 0.5 * 1.313262]
    assert both_B.tolist() == pytest.approx(expected, abs=1e-5)
    undone_B = robust_dpo_loss(policy_B, reference_B, beta=0.5, flip_rate=0.2, label_B=torch.tensor([0.74, 0.5]))
    expected[0] = 0.9 * 0.313262 + 0.1 * 1.313262
    assert undone_B.tolist() == pytest.approx(expected, abs=1e-5)


def test_ipo_of_a_soft_label_wants_its_share_of_the_margin() -> None:
    # β 0.25 wants 2 for the one and -2 for the other: least at 0.8·2 + 0.2·(-2) = 1.2.
    policy_B = torch.tensor([1.2], requires_grad=True)
    loss_B = ipo_loss(policy_B, torch.zeros(1), beta=0.25, label_B=torch.tensor([0.8]))
    loss_B.sum().backward()
    assert loss_B.item() == pytest.approx(0.8 * 0.8**2 + 0.2 * 3.2**2, abs=1e-5)
    assert policy_B.grad is not None
    assert policy_B.grad.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("beta", [0.01, 0.1, 5.0])
def test_ipo_loss_is_a_quarter_over_beta_squared_where_policy_and_reference_agree(beta: float) -> None:
    margin_B = torch.tensor([-30.0, 12.5], dtype=torch.float64)
    expected_B = torch.full((2,), 1 / (4 * beta**2), dtype=torch.float64)
    torch.testing.assert_close(ipo_loss(margin_B, margin_B, beta=beta), expected_B, rtol=1e-12, atol=0)


def test_ipo_loss_worked_by_hand_and_least_at_its_margin() -> None:
    # β 0.25 wants Δ = 2. Δ = 2 - (-3) = 5: (5 - 2)² = 9, gradient 2·3; Δ = 2: 0 and 0
    policy_B = torch.tensor([2.0, -1.0], requires_grad=True)
    loss_B = ipo_loss(policy_B, torch.tensor([-3.0, -3.0]), beta=0.25)
    loss_B.sum().backward()
    assert loss_B.tolist() == [9.0, 0.0]
    assert policy_B.grad is not None
    assert policy_B.grad.tolist() == [6.0, 0.0]


def test_reward_loss_of_equal_scores_is_ln_2_plus_centring() -> None:
    score_B = torch.tensor([0.0, 3.0])
    loss_B = reward_loss(score_B, score_B, centring=0.01)
    torch.testing.assert_close(loss_B, torch.tensor([LN2, LN2 + 0.36]))


def test_reward_loss_with_margin_worked_by_hand() -> None:
    # r_w - r_l - m = 2 - 0.5 - 0.5 = 1
    loss_B = reward_loss(torch.tensor([2.0]), torch.tensor([0.5]), margin_B=torch.tensor([0.5]))
    assert loss_B.item() == pytest.approx(0.313262, abs=1e-5)


def test_reward_loss_with_label_and_margin_worked_by_hand() -> None:
    # r_w - r_l = 1.5, p 0.75, so half of the margin of 1: beyond it by 1; centring 0.01·2.5².
    loss_B = reward_loss(torch.tensor([2.0]), torch.tensor([0.5]), margin_B=1.0, centring=0.01, label_B=0.75)
    assert loss_B.item() == pytest.approx(0.75 * 0.313262 + 0.25 * 1.313262 + 0.0625, abs=1e-5)


def test_losses_stay_finite_far_out() -> None:
    far_B = torch.tensor([1e4, -1e4])
    assert torch.isfinite(dpo_loss(far_B, -far_B, beta=1.0)).all()
    assert torch.isfinite(robust_dpo_loss(far_B, -far_B, beta=1.0, flip_rate=0.2)).all()
    assert torch.isfinite(reward_loss(far_B, -far_B)).all()


def test_a_tie_counts_as_half_a_win() -> None:
    assert share_won(torch.tensor([1.0, 0.0, -1.0])).tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_token_logprobs_and_gradients_are_those_of_all_logits_at_once(
    monkeypatch: pytest.MonkeyPatch, chunk: int, frozen: bool
) -> None:
    monkeypatch.setattr(maths, "HEAD_ROWS", chunk)
    torch.manual_seed(0)
    weight = torch.randn(11, 6)
    hidden_NH = torch.randn(7, 6, requires_grad=True)
    token_N = torch.tensor([0, 10, 3, 3, 5, 1, 2])

    logprob_N = token_logprobs(hidden_NH, token_N, lambda item: item @ weight.T, frozen=frozen)
    (ours_NH,) = torch.autograd.grad(logprob_N.pow(2).sum(), hidden_NH)
    expected_N = torch.log_softmax(hidden_NH @ weight.T, -1)[torch.arange(7), token_N]
    (expected_NH,) = torch.autograd.grad(expected_N.pow(2).sum(), hidden_NH)
    torch.testing.assert_close(logprob_N, expected_N, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours_NH, expected_NH, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(token_logprobs(hidden_NH, token_N, lambda item: item @ weight.T, frozen=frozen), logprob_N)


def test_a_head_that_learns_gets_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maths, "HEAD_ROWS", 3)
    torch.manual_seed(0)
    weight = torch.randn(11, 6, requires_grad=True)
    hidden_NH, token_N = torch.randn(7, 6), torch.tensor([0, 10, 3, 3, 5, 1, 2])
    logprob_N = token_logprobs(hidden_NH, token_N, lambda item: item @ weight.T, frozen=False)
    (ours,) = torch.autograd.grad(logprob_N.sum(), weight)
    expected_N = torch.log_softmax(hidden_NH @ weight.T, -1)[torch.arange(7), token_N]
    torch.testing.assert_close(ours, torch.autograd.grad(expected_N.sum(), weight)[0], rtol=1e-5, atol=1e-5)


def test_sums_by_row_of_rows_without_tokens_are_zero() -> None:
    assert sum_by_row(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 0, 2]), 4).tolist() == [2.0, 0.0, 5.0, 0.0]


@given(
    total=st.integers(1, 300),
    warmup=st.floats(0, 1),
    shape=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_the_learning_rate_is_never_zero_nor_above_its_peak(total: int, warmup: float, shape: str) -> None:
    rates = [learning_rate(s, total, peak=0.5, warmup_share=warmup, shape=shape) for s in range(1, total + 1)]
    assert all(0 < rate <= 0.5 for rate in rates)
    assert max(rates) == 0.5


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(step, 10, peak=1.0, warmup_share=0.2, shape="linear") for step in range(1, 11)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    from training.engine.errors import EngineError

    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = make_optimiser([weight], weight_decay=0.0)
    weight.grad = torch.tensor([float("nan"), 1.0])
    with pytest.raises(EngineError, match="step 7 is not finite"):
        apply_step(optimiser, rate=0.1, max_grad_norm=1.0, step=7)
    assert weight.tolist() == [1.0, 1.0]


def test_a_first_gradient_of_zero_stops_the_run() -> None:
    from training.engine.errors import EngineError

    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = make_optimiser([weight], weight_decay=0.0)
    weight.grad = torch.zeros(2)
    with pytest.raises(EngineError, match="nothing would be learned"):
        apply_step(optimiser, rate=0.1, max_grad_norm=1.0, step=1)


def test_gradients_above_the_limit_are_scaled_down_to_it() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.SGD([weight], lr=0.0)
    weight.grad = torch.tensor([3.0, 4.0])
    assert apply_step(optimiser, rate=1.0, max_grad_norm=1.0, step=1) == pytest.approx(5.0)
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.6, -0.8]))
