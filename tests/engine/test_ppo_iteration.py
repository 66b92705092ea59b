"""One iteration of PPO, detail by detail as numbered at the head of ppo.py, and its guards."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch

from tests.engine.ppo_runs import (
    CPU,
    ROWS,
    chosen_prompts,
    events_of,
    make_spec,
    pieces_of,
    prepared,
    rollout_of,
    start_run,
)
from training.engine import ppo as ppo_module
from training.engine import ppo_maths
from training.engine.errors import EngineError
from training.engine.generate import Sample
from training.engine.ppo import accumulate, check_first, standardize_all
from training.engine.ppo_models import PPOModels
from training.engine.ppo_rollout import cut_minibatches, over_tokens

# Details 2 and 5: the first ratio.


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backbone", ["shared", "own"])
def test_the_first_pass_of_training_repeats_the_rollout_bit_for_bit(tmp_path, ppo_models, precision, backbone):
    options = {"value_backbone": backbone, "rollout_batch": 16, "minibatches": 3, "tokens_per_pass": 128}
    ppo = prepared(tmp_path, make_spec(ppo_models, precision=precision, epochs=1, **options))
    ppo_module.iterate(ppo)  # from here on the policy is not the base
    seen = []
    plain = ppo_module.accumulate

    def spy(run, minibatch):
        seen.append((len(minibatch), plain(run, minibatch)))
        return seen[-1][1]

    ppo_module.accumulate = spy
    try:
        ppo_module.iterate(ppo)
    finally:
        ppo_module.accumulate = plain
    pieces, first = seen[0]
    assert pieces > 1
    assert (first["ratio_deviation"], first["clip_fraction"], first["approx_kl"]) == (0.0, 0.0, 0.0)
    assert seen[1][1]["ratio_deviation"] > 0


def test_the_alarm_sounds_when_the_first_pass_does_not_repeat_the_rollout(tmp_path, ppo_models, monkeypatch, capsys):
    passes = PPOModels.policy

    def noisy(self, batch):
        found = passes(self, batch)
        return replace(found, logprob_BR=found.logprob_BR + 1e-3 * torch.rand_like(found.logprob_BR))

    monkeypatch.setattr(PPOModels, "policy", noisy)
    _, code = start_run(tmp_path, make_spec(ppo_models))
    assert code == 2
    assert "no step was taken" in capsys.readouterr().err


def test_the_alarm_is_silent_at_ratio_one():
    check_first({"ratio_deviation": 0.0, "clip_fraction": 0.0, "approx_kl": 0.0}, "here")
    with pytest.raises(EngineError, match="here: the policy's log-probs are not"):
        check_first({"ratio_deviation": 2e-5, "clip_fraction": 0.0, "approx_kl": 0.0}, "here")


@pytest.mark.parametrize("broken", ["ratio_deviation", "clip_fraction", "approx_kl"])
def test_each_number_of_the_alarm_is_looked_at(broken):
    with pytest.raises(EngineError, match="not reproducible"):
        check_first({"ratio_deviation": 0.0, "clip_fraction": 0.0, "approx_kl": 0.0} | {broken: 2e-5}, "here")


# Detail 4: the sampler.


def test_every_rollout_is_sampled_at_the_temperature_with_a_seed_of_its_own(tmp_path, ppo_models, monkeypatch):
    ppo = prepared(tmp_path, make_spec(ppo_models, temperature=0.7, epochs=1, minibatches=1))
    asked = []
    plain = ppo_module.generate

    def spy(*args, **options):
        asked.append(options)
        return plain(*args, **options)

    monkeypatch.setattr(ppo_module, "generate", spy)
    for _ in range(2):
        ppo_module.iterate(ppo)
    assert [options["temperature"] for options in asked] == [0.7, 0.7]
    assert not {"top_p", "top_k"} & set(asked[0])
    assert asked[0]["seed"] != asked[1]["seed"]
    assert ppo_module.answer(ppo, chosen_prompts(ppo), seed=1) != ppo_module.answer(ppo, chosen_prompts(ppo), seed=2)


# Details 6 to 9: rewards.


def test_an_unended_answer_pays_the_penalty_and_the_score_is_paid_at_its_last_token(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, missing_eos_penalty=1.5, gae_lambda=1.0))
    [piece] = pieces_of(ppo, [Sample([5, 6, 7], ended=True), Sample([5, 6], ended=False)])
    scores = dict(zip(piece.rows, piece.score_B.tolist(), strict=True))
    returns = dict(zip(piece.rows, piece.return_BR.tolist(), strict=True))
    # KL and values are 0 at the start, γ = λ = 1: the return of every token is the penalised score.
    assert returns[0] == pytest.approx([scores[0]] * 3, abs=1e-5)
    assert returns[1] == pytest.approx([scores[1] - 1.5] * 2 + [0.0], abs=1e-5)


def test_scores_are_normalised_with_the_numbers_stored_with_the_reward_model(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models))
    [piece] = rollout_of(ppo)
    raw_B = ppo.models.scores(piece.batch)
    torch.testing.assert_close(piece.score_B, (raw_B - 1.25) / 0.25)


def test_scores_are_clipped_after_they_are_normalised(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, reward_clip=0.2))
    [piece] = rollout_of(ppo)
    normal_B = (ppo.models.scores(piece.batch) - 1.25) / 0.25
    assert normal_B.abs().max() > 0.2
    torch.testing.assert_close(piece.score_B, normal_B.clamp(-0.2, 0.2))


def test_every_token_pays_its_log_ratio_to_the_reference(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, beta=0.5, gae_lambda=1.0, missing_eos_penalty=0.0))
    with torch.no_grad():
        for item in ppo.models.policy_parameters().values():
            item.add_(0.02)
    [piece] = pieces_of(ppo, [Sample([5, 6, 7], ended=True)])
    # γ = λ = 1 and values of 0: what is still to come is the score less β times the log-ratios still to come.
    log_ratio_R = (piece.old_logprob_BR - piece.reference_logprob_BR)[0]
    assert log_ratio_R.abs().max() > 0.01
    to_come = [float(piece.score_B[0]) - 0.5 * float(log_ratio_R[place:].sum()) for place in range(3)]
    assert piece.return_BR[0].tolist() == pytest.approx(to_come, rel=1e-5, abs=1e-5)


def test_discount_lambda_and_the_beta_of_the_hour_make_the_advantages(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, beta=0.5, gamma=0.9, gae_lambda=0.6, missing_eos_penalty=0.0))
    with torch.no_grad():
        for item in ppo.models.policy_parameters().values():
            item.add_(0.02)
    ppo.beta = 2.0  # where adaptive_beta has brought it
    [piece] = pieces_of(ppo, [Sample([5, 6, 7], ended=True)])
    kl_R = piece.kl_BR[0].tolist()
    assert min(map(abs, kl_R)) > 1e-4
    rewards = [-2.0 * kl for kl in kl_R]
    rewards[-1] += float(piece.score_B[0])
    # The values are 0, so δ = r, and what is later counts less by γλ = 0.54 a token.
    expected = [sum(0.54 ** (later - t) * rewards[later] for later in range(t, 3)) for t in range(3)]
    assert piece.advantage_BR[0].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_an_adaptive_beta_moves_and_is_told(tmp_path, ppo_models):
    run_dir, _ = start_run(tmp_path, make_spec(ppo_models, adaptive_beta=True, kl_horizon=80, kl_target=6.0))
    betas = [event["metrics"]["beta"] for event in events_of(run_dir, "step")]
    # The first rollout has KL 0: error −0.2, 8 answers of a horizon of 80.
    assert betas[:2] == pytest.approx([0.05, 0.05 * (1 - 0.2 * 8 / 80)])


# Details 10 and 11: the rollout as a whole.


def test_advantages_are_standardised_over_the_whole_rollout_not_piece_by_piece(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models))
    pieces = rollout_of(ppo, tokens_per_pass=60)
    assert len(pieces) > 2
    before_N = over_tokens(pieces, lambda piece: piece.advantage_BR)
    standardize_all(pieces)
    after_N = over_tokens(pieces, lambda piece: piece.advantage_BR)
    assert after_N.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert after_N.var(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(after_N, (before_N - before_N.mean()) / before_N.std(correction=0), rtol=1e-4, atol=1e-5)
    assert max(abs(over_tokens([piece], lambda item: item.advantage_BR).mean().item()) for piece in pieces) > 0.05


def test_what_is_trained_on_are_the_standardised_advantages(tmp_path, ppo_models, monkeypatch):
    ppo = prepared(tmp_path, make_spec(ppo_models, rollout_batch=16, minibatches=3, epochs=1, max_approx_kl=1e3))
    seen = []
    plain = ppo_module.accumulate

    def spy(run, minibatch):
        seen.append(over_tokens(minibatch, lambda piece: piece.advantage_BR))
        return plain(run, minibatch)

    monkeypatch.setattr(ppo_module, "accumulate", spy)
    ppo_module.iterate(ppo)
    assert len(seen) == 3
    every_N = torch.cat(seen)
    assert every_N.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert every_N.var(correction=0).item() == pytest.approx(1.0, abs=1e-4)
    assert max(abs(part_N.mean().item()) for part_N in seen) > 0.01


def test_minibatches_are_random_parts_of_the_rollout_that_leave_nobody_out(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, rollout_batch=13))
    prompts = chosen_prompts(ppo)
    samples = [Sample([5] * (place % 4 + 1), ended=True) for place in range(13)]

    def rows(seed):
        parts = cut_minibatches(prompts, samples, 4, 64, CPU, seed=seed)
        return [sorted(row for piece in part for row in piece.rows) for part in parts]

    assert sorted(map(len, rows(0))) == [3, 3, 3, 4]
    assert sorted(row for part in rows(0) for row in part) == list(range(13))
    assert rows(0) == rows(0)
    assert rows(0) != rows(1)


def test_every_prompt_comes_once_before_any_comes_twice(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, rollout_batch=3))
    ids = [prompt.id for iteration in range(8) for prompt in chosen_prompts(ppo, iteration)]
    assert all(sorted(ids[turn * 8 : turn * 8 + 8]) == sorted(row["id"] for row in ROWS) for turn in range(3))
    assert ids[:8] != ids[8:16]


# Details 13 to 15: steps.


def test_policy_and_value_have_their_own_learning_rates_and_adams_epsilon(tmp_path, ppo_models):
    spec = make_spec(ppo_models, learning_rate=1e-4, value_learning_rate=1e-2, schedule="linear", iterations=4)
    ppo = prepared(tmp_path, spec)
    ppo.iteration = 1  # three quarters of the way are left
    assert ppo_module.set_learning_rates(ppo) == pytest.approx(0.75e-4)
    policy, value = ppo.optimizer.param_groups
    assert (policy["lr"], value["lr"]) == (pytest.approx(0.75e-4), pytest.approx(0.75e-2))
    assert (policy["eps"], value["eps"]) == (1e-5, 1e-5)
    assert {id(item) for item in value["params"]} == {id(item) for item in ppo.models.value_parameters().values()}
    assert not {id(item) for item in value["params"]} & {id(item) for item in policy["params"]}


def test_both_learning_rates_rise_over_the_warm_up(tmp_path, ppo_models):
    spec = make_spec(ppo_models, learning_rate=1e-4, value_learning_rate=1e-2, warmup_share=0.5, iterations=4)
    ppo = prepared(tmp_path, spec)
    assert ppo_module.set_learning_rates(ppo) == pytest.approx(0.5e-4)
    assert ppo.optimizer.param_groups[1]["lr"] == pytest.approx(0.5e-2)


def test_gradients_of_policy_and_value_are_clipped_apart(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, max_grad_norm=0.5))
    policy, value = ppo.models.policy_parameters().values(), ppo.models.value_parameters().values()
    seen = {}

    def look(*args, **kwargs):
        seen["policy"] = math.sqrt(sum(float(item.grad.square().sum()) for item in policy))
        seen["value"] = math.sqrt(sum(float(item.grad.square().sum()) for item in value))

    ppo.optimizer.step = look
    for item in policy:
        item.grad = torch.full_like(item, 3.0)
    for item in value:
        item.grad = torch.full_like(item, 2.0)
    told = ppo_module.step(ppo, "here")
    assert told == pytest.approx(3.0 * math.sqrt(sum(item.numel() for item in policy)), rel=1e-4)
    assert seen["policy"] == pytest.approx(0.5, rel=1e-4)
    assert seen["value"] == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("backbone", ["shared", "own"])
def test_while_the_value_warms_up_the_policy_stands_still(tmp_path, ppo_models, backbone):
    ppo = prepared(tmp_path, make_spec(ppo_models, value_warmup=1, value_backbone=backbone, max_approx_kl=1e3))
    before = {name: item.detach().clone() for name, item in ppo.models.trainable().items()}
    values = set(ppo.models.value_parameters())
    ppo_module.iterate(ppo)
    moved = {name for name, item in ppo.models.trainable().items() if not torch.equal(item, before[name])}
    assert moved == values
    ppo_module.iterate(ppo)
    moved = {name for name, item in ppo.models.trainable().items() if not torch.equal(item, before[name])}
    assert moved > values


def test_the_losses_have_the_clips_and_the_coefficient_of_the_config(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, clip=0.01, value_clip=0.02, value_coefficient=0.7))
    pieces = rollout_of(ppo)
    standardize_all(pieces)
    with torch.no_grad():
        for item in ppo.models.policy_parameters().values():
            item.add_(0.01)
        ppo.models.value_head.bias.fill_(0.3)
        [piece] = pieces
        policy = ppo.models.policy(piece.batch)
        value_BR = ppo.models.values(piece.batch, policy.hidden_NH)
    told = accumulate(ppo, pieces)
    ratio_N, advantage_N, value_N, old_N, return_N = (
        item_BR[piece.batch.is_response_BR].double()
        for item_BR in (
            (policy.logprob_BR - piece.old_logprob_BR).exp(),
            piece.advantage_BR,
            value_BR,
            piece.old_value_BR,
            piece.return_BR,
        )
    )
    assert (ratio_N - 1).abs().max() > 0.02
    assert (value_N - old_N).abs().max() > 0.2
    surrogate = -torch.minimum(ratio_N * advantage_N, ratio_N.clamp(0.99, 1.01) * advantage_N).mean().item()
    near_N = old_N + (value_N - old_N).clamp(-0.02, 0.02)
    error = 0.5 * torch.maximum((value_N - return_N) ** 2, (near_N - return_N) ** 2).mean().item()
    assert told["policy_loss"] == pytest.approx(surrogate, rel=1e-4, abs=1e-6)
    assert told["value_loss"] == pytest.approx(error, rel=1e-4)
    assert told["loss"] == pytest.approx(surrogate + 0.7 * error, rel=1e-4, abs=1e-6)
    assert told["clip_fraction"] == pytest.approx(((ratio_N - 1).abs() > 0.01).double().mean().item(), abs=1e-6)


def test_a_moving_reference_moves_after_every_step(tmp_path, ppo_models, monkeypatch):
    ppo = prepared(tmp_path, make_spec(ppo_models, ema_rate=1.0, epochs=1, minibatches=2, max_approx_kl=1e3))
    before = {name: item.detach().clone() for name, item in ppo.models.moving_reference().items()}
    rates = []
    plain = PPOModels.move_reference
    monkeypatch.setattr(PPOModels, "move_reference", lambda self, rate: (rates.append(rate), plain(self, rate)))
    assert ppo_module.iterate(ppo)["optimizer_steps"] == 2
    assert rates == [1.0, 1.0]
    policy = ppo.models.policy_parameters()
    for name, item in ppo.models.moving_reference().items():  # at a rate of 1 it is the policy
        assert torch.equal(item, policy[name.replace(".reference.", ".default.")])
    assert any(not torch.equal(item, before[name]) for name, item in ppo.models.moving_reference().items())


def test_micro_batches_give_the_gradient_of_the_whole(tmp_path, ppo_models):
    gradients = []
    for place, tokens in enumerate((100_000, 60)):
        ppo = prepared(tmp_path / str(place), make_spec(ppo_models))
        pieces = rollout_of(ppo, tokens_per_pass=tokens)
        assert (len(pieces) > 3) == (tokens == 60)
        accumulate(ppo, pieces)
        gradients.append({n: p.grad for n, p in ppo.models.trainable().items() if p.grad is not None})
    whole, parts = gradients
    assert set(whole) == set(parts)
    assert len(whole) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


# Detail 16: guards.


def _drift_after_the_first_step(monkeypatch, by):
    """From the second step on, every log-prob that training sees is off by so much."""
    plain, taken = ppo_module.accumulate, {"steps": 0}
    policy = PPOModels.policy

    def drifting(self, batch):
        found = policy(self, batch)
        return replace(found, logprob_BR=found.logprob_BR + by) if taken["steps"] else found

    def counting(run, minibatch):
        metrics = plain(run, minibatch)
        taken["steps"] += 1
        return metrics

    monkeypatch.setattr(PPOModels, "policy", drifting)
    monkeypatch.setattr(ppo_module, "accumulate", counting)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_ratio_deviation": 0.6, "max_approx_kl": 1e3}, 1),  # |e^0.5 − 1| = 0.65
        ({"max_ratio_deviation": 0.7, "max_approx_kl": 1e3}, 6),
        ({"max_ratio_deviation": 1e3, "max_approx_kl": 0.14}, 1),  # e^0.5 − 1 − 0.5 = 0.149
        ({"max_ratio_deviation": 1e3, "max_approx_kl": 0.16}, 6),
    ],
)
def test_epochs_end_before_the_step_that_finds_the_policy_too_far(tmp_path, ppo_models, monkeypatch, options, steps):
    ppo = prepared(tmp_path, make_spec(ppo_models, learning_rate=1e-9, epochs=3, minibatches=2, **options))
    _drift_after_the_first_step(monkeypatch, 0.5)
    metrics = ppo_module.iterate(ppo)
    assert metrics["optimizer_steps"] == steps
    assert all(item.grad is None for item in ppo.models.trainable().values())


def test_a_policy_that_runs_away_ends_its_epochs_by_itself(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, learning_rate=0.05, epochs=10, minibatches=4))
    assert 1 <= ppo_module.iterate(ppo)["optimizer_steps"] < 40


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_place(tmp_path, ppo_models, monkeypatch, capsys):
    monkeypatch.setattr(ppo_maths, "value_loss", lambda *args, **kwargs: args[0].sum() * math.nan)
    _, code = start_run(tmp_path, make_spec(ppo_models))
    assert code == 2
    told = capsys.readouterr().err
    named = re.search(r"iteration 1, epoch 1, minibatch \d \(rows (.*)\): loss is not finite", told)
    assert named
    assert len(named[1].split(", ")) == 4  # a rollout of 8 in two minibatches
    assert set(named[1].split(", ")) < {row["id"] for row in ROWS}


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models))
    before = {name: item.detach().clone() for name, item in ppo.models.trainable().items()}
    accumulate(ppo, rollout_of(ppo))
    next(iter(ppo.models.policy_parameters().values())).grad[0, 0] = math.inf
    with pytest.raises(EngineError, match="here: gradient is not finite; lower the learning rate"):
        ppo_module.step(ppo, "here")
    assert all(torch.equal(item, before[name]) for name, item in ppo.models.trainable().items())


def test_a_gradient_of_zero_in_the_first_step_stops_the_run(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models))
    for item in ppo.models.trainable().values():
        item.grad = torch.zeros_like(item)
    with pytest.raises(EngineError, match="gradient is 0, so nothing would be learnt"):
        ppo_module.step(ppo, "here")


# What is logged.


def test_padding_enters_no_mean_that_is_told(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models))
    with torch.no_grad():
        for item in ppo.models.policy_parameters().values():
            item.add_(0.02)
    samples = [Sample([5, 6, 7, 8, 9, 10], ended=True), Sample([5], ended=False)]
    pieces = pieces_of(ppo, samples)
    apart = pieces_of(ppo, samples, tokens_per_pass=1)
    assert (len(pieces), len(apart)) == (1, 2)
    told, expected = ppo_module.describe_rollout(pieces), ppo_module.describe_rollout(apart)
    told |= ppo_module.describe_advantages(pieces)
    expected |= ppo_module.describe_advantages(apart)
    assert told == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert (told["response_tokens"], told["share_ended"]) == (3.5, 0.5)
    log_ratio_N = torch.cat([(p.old_logprob_BR - p.reference_logprob_BR)[p.batch.is_response_BR] for p in apart])
    assert told["kl"] == pytest.approx(log_ratio_N.sum().item() / 2, rel=1e-4)
    assert told["kl_per_token"] == pytest.approx(log_ratio_N.mean().item(), rel=1e-4)
    k3_N = torch.expm1(-log_ratio_N) + log_ratio_N
    assert told["kl_k3"] == pytest.approx(k3_N.sum().item() / 2, rel=1e-3)
    assert told["kl_k3_per_token"] == pytest.approx(k3_N.mean().item(), rel=1e-3)
